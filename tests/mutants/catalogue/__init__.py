"""The mutants of each part of jobq, together."""

from tests.mutants.catalogue import (
    claims,
    crashes,
    enqueuing,
    holding,
    http,
    limits,
    paid,
    schedules,
)
from tests.mutants.catalogue.mutant import SOURCE_TEXT, Mutant, Rotten

__all__ = ["MUTANTS", "SOURCE_TEXT", "Mutant", "Rotten"]

MUTANTS = (
    *holding.MUTANTS,
    *crashes.MUTANTS,
    *claims.MUTANTS,
    *enqueuing.MUTANTS,
    *limits.MUTANTS,
    *schedules.MUTANTS,
    *http.MUTANTS,
    *paid.MUTANTS,
)
