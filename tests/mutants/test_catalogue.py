"""Mutants that no longer fit the source would prove nothing."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.mutants.catalogue import MUTANTS, SOURCE_TEXT, Mutant
from tests.mutants.trial import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_patches_one_place_and_still_compiles(mutant: Mutant) -> None:
    source = (ROOT / "jobq" / mutant.file).read_text()
    compile(mutant.patched(source), mutant.file, "exec")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_names_tests_that_exist_and_read_no_source(mutant: Mutant) -> None:
    assert mutant.tests or mutant.faults
    for name in (*mutant.tests, *mutant.faults):
        file, _, test = name.partition("::")
        assert f"tests/{file}" not in SOURCE_TEXT
        assert f"def {test}(" in (ROOT / "tests" / file).read_text()


def test_every_mutant_has_a_name_of_its_own() -> None:
    assert set(Counter(mutant.name for mutant in MUTANTS).values()) == {1}


def test_what_reads_source_text_exists() -> None:
    assert all((ROOT / path).is_file() for path in SOURCE_TEXT)
