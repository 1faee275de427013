"""`jobq webhooks`: see which are disabled, and enable them."""

from __future__ import annotations

import json

import pytest

import jobq
from jobq.backends import ops
from tests.cli.conftest import Run
from tests.conformance.situations import run


@pytest.fixture
def disabled(queue: jobq.Queue) -> None:
    """A webhook that answered 410."""
    run(queue, ops.disable_webhook, "shop", "hash", "webhook 'shop' answered 410")


def test_without_webhooks_it_says_so(on: Run) -> None:
    assert on("webhooks") == (0, "no webhooks; the app names them in Queue(webhooks=…)\n", "")


def test_a_disabled_webhook_is_shown_with_its_reason(on: Run, disabled: None) -> None:
    code, out, _ = on("webhooks")
    assert code == 0
    head, row = out.splitlines()
    assert head.split() == ["WEBHOOK", "STATE", "SINCE", "REASON"]
    assert row.split()[:2] == ["shop", "disabled"]
    assert row.endswith("webhook 'shop' answered 410")
    code, out, _ = on("webhooks", "--json")
    [found] = json.loads(out)
    assert found.pop("disabledAt").endswith("Z")
    assert found == {"name": "shop", "known": False, "reason": "webhook 'shop' answered 410"}


def test_a_disabled_webhook_can_be_enabled(on: Run, disabled: None) -> None:
    assert on("webhooks", "enable", "shop") == (0, "enabled shop\n", "")
    assert on("webhooks", "--json") == (0, "[]\n", "")
    code, _, err = on("webhooks", "enable", "shop")
    assert code == 2
    assert "not disabled" in err
