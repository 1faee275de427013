"""What the checks of the examples share: real processes, a database, the provider, a table.

An example's check is a function of a `Trial`. It starts the example's processes as its author
would, sends real requests, and compares what came of it with what should have:

    def check(trial: Trial) -> None:
        gemini = trial.provider(Options(rpm=60, speed=10))
        trial.worker("examples.ai_worker.app:queue", GEMINI_URL=gemini.url)
        …
        trial.table.equal("429s", 0, gemini.ledger.outcomes()["rate_limited"])
"""

from examples.trial.processes import Process, Site, answers, eventually, free_port, wait_until
from examples.trial.program import main
from examples.trial.served import Quiet, Served
from examples.trial.table import Table
from examples.trial.trial import Trial, letting_go, under_way

__all__ = [
    "Process",
    "Quiet",
    "Served",
    "Site",
    "Table",
    "Trial",
    "answers",
    "eventually",
    "free_port",
    "letting_go",
    "main",
    "under_way",
    "wait_until",
]
