"""The five systems check themselves, on both databases; and their checks can miss."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SYSTEMS = ("scenergy_studio", "ai_worker", "photo_worker", "leora_scan", "carousel")


def checked(system: str, *options: str, url: str = "") -> tuple[int, str]:
    """The exit code of a check, and its table."""
    run = subprocess.run(
        [sys.executable, "-m", f"examples.{system}", "--check", *options],
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    print(run.stdout, run.stderr)
    return run.returncode, run.stdout


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_passes_its_check_on_its_own_database(system: str) -> None:
    assert checked(system)[0] == 0


@pytest.mark.parametrize("system", [name for name in SYSTEMS if name != "photo_worker"])
def test_a_system_passes_its_check_on_postgresql(system: str, postgres: str) -> None:
    assert checked(system, url=postgres)[0] == 0


@pytest.mark.parametrize("system", SYSTEMS)
def test_without_limits_the_provider_refuses(system: str) -> None:
    code, table = checked(system, "--broken", "limits")
    assert code == 1
    assert any("429s" in line and "MISSED" in line for line in table.splitlines())


@pytest.mark.parametrize("system", SYSTEMS)
def test_without_the_fence_there_are_rows_of_late_workers(system: str) -> None:
    code, table = checked(system, "--broken", "fence")
    assert code == 1
    assert any("rows" in line and "MISSED" in line for line in table.splitlines())
