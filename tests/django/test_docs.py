"""The page about Django is a project that works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobq.contrib.django import _settings
from jobq.contrib.django._task_api import IN_DJANGO

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "howto" / "django.md").read_text()
MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
execute_from_command_line(sys.argv)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The page's blocks as files; one without a name goes on with the settings."""
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        name = re.match(r"# ([\w/]+\.py)\n", block)
        path = tmp_path / (name[1] if name else "mysite/settings.py")
        path.parent.mkdir(exist_ok=True)
        (path.parent / "__init__.py").touch()
        with path.open("a") as file:
            file.write(block if IN_DJANGO else block.replace("django.tasks", "django_tasks"))
    (tmp_path / "manage.py").write_text(MANAGE)
    return tmp_path


def manage(site: Path, *args: str) -> str:
    run = subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    return run.stdout


ENQUEUE = """
from jobq.contrib.django import queue
from shop.tasks import add
from shop.models import Order
order = Order.objects.create(total=7)
queue.enqueue("write_receipt", {"order": order.pk})
add.enqueue(1, 2)
"""
LOOK = """
from jobq.contrib.django import queue
print(sorted((job.type, job.status.value, str(job.result)) for job in queue.list().jobs))
"""


@pytest.mark.timeout(240)
def test_the_project_of_the_page_works(site: Path) -> None:
    manage(site, "migrate", "--run-syncdb")
    assert "no issues" in manage(site, "check", "--database", "default")
    assert "OK" in manage(site, "test")
    manage(site, "shell", "-c", ENQUEUE)
    manage(site, "jobq_worker", "--burst")
    said = manage(site, "shell", "-c", LOOK)
    assert "('task:default:shop.tasks.add', 'completed', '3')" in said
    assert "('write_receipt', 'completed', \"{'length': 16}\")" in said


def test_every_setting_and_check_is_in_the_page() -> None:
    assert [name for name in _settings.KNOWN if f"`{name}`" not in PAGE] == []
    folder = Path(_settings.__file__).parent
    ids = {
        id for path in folder.glob("*.py") for id in re.findall(r"jobq\.[EW]\d+", path.read_text())
    }
    assert ids
    assert [id for id in ids if f"`{id}`" not in PAGE] == []
