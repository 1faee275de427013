"""The five systems, as far as that can be seen without running them."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import examples
from examples.trial import Table
from examples.trial.program import BROKEN
from jobq.cli._parser import build_parser

FOLDER = Path(examples.__file__).parent
SYSTEMS = ("scenergy_studio", "ai_worker", "photo_worker", "leora_scan", "carousel")
TYPES = """
import json
from importlib import import_module
from jobq._routing import default_router
found = {}
for module in ("ai_worker.web", "carousel.app", "photo_worker.app", "scenergy_studio.web"):
    import_module(f"examples.{module}")
    found[module.partition(".")[0]] = sorted(default_router.types)
    default_router._handlers.clear()  # each is an app of its own
print(json.dumps(found))
"""


def python(*arguments: str, **env: str) -> str:
    """What a Python process prints that ends well."""
    run = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": str(FOLDER.parent)} | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_the_apps_can_be_imported_and_have_the_types_of_their_documents(tmp_path: Path) -> None:
    found = json.loads(python("-c", TYPES, DATABASE_URL=f"sqlite:///{tmp_path}/jobs.db"))
    assert found == {
        "ai_worker": ["image_generation"],
        "photo_worker": ["photo_generation"],
        "scenergy_studio": ["description", "image_edit", "image_generation"],
        "carousel": [
            "ai_image_generation",
            "ai_text_generation",
            "carousel_creation",
            "carousel_reel",
            "scheduled_publish",
            "social_publish_facebook",
            "social_publish_instagram",
            "web_scraping",
        ],
    }


def test_the_django_project_is_sound_and_its_migrations_are_complete(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    manage = ("-m", "examples.leora_scan.manage")
    assert "no issues" in python(*manage, "check", "--database", "default", DATABASE_URL=url)
    python(*manage, "makemigrations", "--check", "--dry-run", DATABASE_URL=url)


# --- the table ----------------------------------------------------------------------------------


def test_a_table_names_what_was_missed() -> None:
    table = Table()
    table.equal("429s", 0, 0)
    table.at_most("seconds", 36, 39.5, " s")
    table.at_least("of the possible rate", 98, 99.1, " %")
    table.between("a second", 9, 10, 10.5)
    assert table.missed == ["seconds", "a second"]
    assert [line.endswith("MISSED") for line in str(table).splitlines()] == [
        False,
        False,
        True,
        False,
        True,
    ]


def test_every_breakage_that_may_be_asked_for_is_known() -> None:
    known = "from examples.trial.broken import BROKEN; print(*BROKEN)"
    assert tuple(python("-c", known).split()) == BROKEN


# --- files beside the code ----------------------------------------------------------------------


def files(*names: str) -> list[Any]:
    found = sorted(path for name in names for path in FOLDER.rglob(name))
    return [pytest.param(path, id=str(path.relative_to(FOLDER))) for path in found]


COMMAND = re.compile(r'(?:^|[/ "\[])jobq"?,? "?([a-z][^\n\]]*)', re.MULTILINE)


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of the jobq commands in a file."""
    for match in COMMAND.finditer(text):
        words = re.sub(r'[",]', " ", match[1])
        if not words.startswith("worker") or "examples." in words:
            yield shlex.split(words, comments=True)


@pytest.mark.parametrize(
    "path", files("Dockerfile", "Procfile", "*.service", "crontab", "run-local.sh")
)
def test_the_commands_in_a_file_are_known_and_name_a_module(path: Path) -> None:
    found = [words for words in commands(path.read_text()) if words[0] == "worker"]
    assert found
    for words in found:
        arguments = build_parser().parse_args(words)
        module, _, name = arguments.app.partition(":")
        source = FOLDER.parent / f"{module.replace('.', '/')}.py"
        assert f"\n{name} = " in source.read_text()


@pytest.mark.parametrize("path", files("Dockerfile"))
def test_a_container_runs_as_nobody_and_hears_signals(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line and line[0] not in " #"]
    known = {"FROM", "WORKDIR", "RUN", "COPY", "USER", "ENV", "CMD"}
    assert {line.split()[0] for line in lines} <= known
    assert lines[0].startswith("FROM python:3")
    assert "USER nobody" in lines
    assert isinstance(json.loads(lines[-1].removeprefix("CMD ")), list)  # no shell takes SIGTERM


@pytest.mark.parametrize("path", files("*.service"))
def test_a_unit_restarts_and_waits_longer_than_the_grace(path: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text())
    service = unit["Service"]
    grace = float(service["ExecStart"].partition("--grace ")[2])
    assert float(service["TimeoutStopSec"]) > grace
    assert service["Restart"] == "always"
    assert unit["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.parametrize("path", files("vercel.json"))
def test_vercel_calls_a_path_that_takes_get(path: Path) -> None:
    [cron] = json.loads(path.read_text())["crons"]
    assert cron["path"].endswith("/cron")
    assert len(cron["schedule"].split()) == 5


@pytest.mark.parametrize("path", files("job-processor.yml"))
def test_a_workflow_calls_the_endpoint_with_its_secret(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert workflow[True]["schedule"]  # `on` is a boolean in YAML
    [job] = workflow["jobs"].values()
    [step] = job["steps"]
    words = shlex.split(step["run"])
    assert words[:4] == ["curl", "--fail", "-X", "POST"]
    assert "x-api-key: ${{ secrets.JOB_PROCESSOR_API_KEY }}" in words


@pytest.mark.parametrize("path", files("cloudbuild.yaml"))
def test_a_build_builds_pushes_migrates_and_deploys(path: Path) -> None:
    build = yaml.safe_load(path.read_text())
    assert [step["id"] for step in build["steps"]] == ["build", "push", "migrate", "deploy"]
    used = set(re.findall(r"\$(_\w+)", path.read_text()))
    assert used == set(build["substitutions"])
    available = {secret["env"] for secret in build["availableSecrets"]["secretManager"]}
    assert {name for step in build["steps"] for name in step.get("secretEnv", [])} <= available
    deploy = build["steps"][-1]["args"]
    assert {"--no-cpu-throttling", "--min-instances=1"} <= set(deploy)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_line_counts_in_a_readme_are_true(name: str) -> None:
    readme = (FOLDER / name / "README.md").read_text()
    counted = re.findall(r"`([\w.]+)` \((\d+) lines", readme)
    assert counted
    for file, lines in counted:
        assert len((FOLDER / name / file).read_text().splitlines()) == int(lines), file
