"""What a release must not change by the way: what users name, and what extras there are."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.release import probe
from tests.release.api import LISTING, listing

ROOT = Path(__file__).parent.parent

TO_DO = """
`jobq`'s public names differ from tests/release/api.txt.

A line that is new: run `python -m tests.release.api`; docs/reference/api.md describes the name.
A line that is gone or different: whoever uses it breaks. Keep the old spelling working with a
DeprecationWarning, as docs/reference/versions.md says; before 1.0 a `breaking` fragment in
changelog.d/ may do. Then run `python -m tests.release.api`.
"""


def test_nothing_that_users_can_name_has_changed_unnoticed():
    frozen, found = LISTING.read_text().splitlines(), listing()
    gone = [f"- {line}" for line in frozen if line not in found]
    new = [f"+ {line}" for line in found if line not in frozen]
    assert gone + new == [], "\n".join([TO_DO, *gone, *new])
    assert found == frozen, TO_DO


def test_each_extra_is_tried_alone_before_a_release():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(probe.EXTRAS) == extras.keys() - {"all"}
    assert probe.PACKAGES.keys() <= extras.keys()
    assert all(f"{name}," in f"{extras['all'][0][5:-1]}," for name in probe.EXTRAS)
