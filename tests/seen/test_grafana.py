"""The dashboard for Grafana asks for metrics and labels that there are, and for all of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from jobq.contrib import grafana
from jobq.contrib.prometheus import METRICS, Described

NAME = re.compile(r"\bjobq_\w+")
SUFFIX = {"histogram": "_bucket", "counter": "", "gauge": ""}


def expressions() -> list[list[str]]:
    """Those of each panel."""
    return [
        [target["expr"] for target in panel["targets"]] for panel in grafana.dashboard()["panels"]
    ]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_has_a_panel_that_asks_for_it_by_its_own_labels(metric: Described):
    name = metric.name + SUFFIX[metric.kind]
    [mine] = [some for some in expressions() if name in NAME.findall(some[0])]
    known = {*metric.labels, "le"} if metric.kind == "histogram" else {*metric.labels}
    for expression in mine:
        assert NAME.findall(expression) == [name]
        assert expression.count("(") == expression.count(")")
        by = re.findall(r"by \(([^)]*)\)", expression)
        assert {label for labels in by for label in labels.split(", ")} <= known
        assert ("$queue" in expression) == ("queue" in metric.labels)


def test_panels_do_not_overlap():
    places = [panel["gridPos"] for panel in grafana.dashboard()["panels"]]
    corners = {(place["x"], place["y"]) for place in places}
    assert len(corners) == len(places)
    assert all(x % grafana.WIDTH == 0 and y % grafana.HEIGHT == 0 for x, y in corners)
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_legends_name_labels_that_the_expression_keeps():
    for panel in grafana.dashboard()["panels"]:
        for target in panel["targets"]:
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"by \([^)]*\b{label}\b", target["expr"])


def test_the_module_prints_the_file_that_is_imported():
    command = [sys.executable, "-m", "jobq.contrib.grafana"]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert json.loads(printed) == json.loads(json.dumps(grafana.dashboard()))
