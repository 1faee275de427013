"""What a mutant is: what it takes out, the promise that this breaks, who should notice first."""

from __future__ import annotations

from attrs import frozen

SOURCE_TEXT = (
    "tests/test_docs.py",
    "tests/test_public_api.py",
    "tests/conformance/test_claim_cost.py",
)
"""Tests that read source, or the text of plans. They may not speak against a mutant."""


@frozen(kw_only=True)
class Mutant:
    """One patch: `old` occurs exactly once in `file` (of the package), and becomes `new`."""

    name: str
    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """What is asked first, named as pytest does it, below `tests`: the narrowest that know."""
    faults: tuple[str, ...] = ()
    """Scenarios of `tests.processes`, named alike; none where real processes tell nothing more."""

    def patched(self, source: str) -> str:
        """The file's text with the patch; an error where it does not fit exactly once."""
        found = source.count(self.old)
        if found != 1:
            raise Rotten(f"{self.name}: its text occurs {found} times in {self.file}, not once")
        return source.replace(self.old, self.new)


class Rotten(Exception):
    """The source has moved on, and a mutant with it must."""
