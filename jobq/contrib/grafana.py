"""A dashboard for Grafana, made from the list of metrics.

`python -m jobq.contrib.grafana > jobq.json` writes the file that Grafana imports (Dashboards, New,
Import). It shows what `jobq.contrib.prometheus` counts, for the queues that are chosen above it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from jobq.contrib.prometheus import DATABASE, DURATION, METRICS, WAIT, Described

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
LINES = {DURATION.name: ("type",), WAIT.name: ("queue",), DATABASE.name: ("op",)}
"""By what quantiles are told apart: by all labels they would be too many to read."""
WIDTH, HEIGHT = 12, 8
"""Of a panel, on Grafana's grid of 24 columns."""


def dashboard(title: str = "jobq") -> dict[str, Any]:
    """The dashboard as the JSON that Grafana imports, with a panel for each metric.

    >>> dashboard()["panels"][0]["title"]
    'Jobs that this process has stored'
    """
    return {
        "title": title,
        "uid": "jobq",
        "tags": ["jobq"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_SOURCES, _QUEUES]},
        "panels": [_panel(number, metric) for number, metric in enumerate(METRICS)],
    }


_SOURCES = {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
}
_QUEUES = {
    "name": "queue",
    "label": "Queue",
    "type": "query",
    "datasource": SOURCE,
    "query": {"query": "label_values(jobq_queue_jobs, queue)", "refId": "queue"},
    "refresh": 2,
    "sort": 1,
    "multi": True,
    "includeAll": True,
    "allValue": ".*",
    "current": {"text": ["All"], "value": ["$__all"]},
}


def _panel(number: int, metric: Described) -> dict[str, Any]:
    line, column = divmod(number, 24 // WIDTH)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": metric.help,
        "description": f"`{metric.name}`",
        "datasource": SOURCE,
        "gridPos": {"x": column * WIDTH, "y": line * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": _unit(metric), "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
            for n, (expr, legend) in enumerate(_queries(metric))
        ],
    }


def _queries(metric: Described) -> Iterator[tuple[str, str]]:
    """The expressions of a panel, each with its legend."""
    chosen = '{queue=~"$queue"}' if "queue" in metric.labels else ""
    legend = " ".join(f"{{{{{label}}}}}" for label in metric.labels)
    by = f" by ({', '.join(metric.labels)})" if metric.labels else ""
    if metric.kind == "histogram":
        lines = LINES.get(metric.name, metric.labels)
        among = ", ".join(("le", *lines))
        rate = f"sum by ({among}) (rate({metric.name}_bucket{chosen}[$__rate_interval]))"
        for quantile in (0.5, 0.95):
            name = " ".join(f"{{{{{label}}}}}" for label in lines)
            yield f"histogram_quantile({quantile}, {rate})", f"{name} p{quantile * 100:.0f}"
    elif metric.kind == "counter":
        yield f"sum{by} (rate({metric.name}{chosen}[$__rate_interval]))", legend
    else:  # a gauge is the queue's, the same from every process
        yield f"max{by} ({metric.name}{chosen})", legend or metric.name


def _unit(metric: Described) -> str:
    if "_seconds" in metric.name:
        return "s"
    return "ops" if metric.kind == "counter" else "short"


if __name__ == "__main__":
    json.dump(dashboard(), sys.stdout, indent=2)
    sys.stdout.write("\n")


__all__ = ["dashboard"]
