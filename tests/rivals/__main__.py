"""Play the faults on every system and print what they did: `python -m tests.rivals saq zombie`.

Words: names of systems and of faults; all by default. The run judges nobody: it fails only where
a trial could not be played.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from attrs import frozen

from jobq.testing._postgres import PostgresServer
from tests.pages import between, table
from tests.rivals.environments import NotInstalled
from tests.rivals.faults import FAULTS, Fault, Outcome
from tests.rivals.systems import NAMES, System, adapter, install
from tests.rivals.trial import Trial

BEGIN, END = "<!-- rivals:begin -->", "<!-- rivals:end -->"


@frozen
class Cell:
    """What all trials of a fault saw on a system."""

    fault: Fault
    system: System
    outcomes: list[Outcome | str]

    @property
    def failures(self) -> list[str]:
        return [outcome for outcome in self.outcomes if isinstance(outcome, str)]

    @property
    def text(self) -> str:
        if not self.outcomes:
            return "not applicable: there is no server and no connection"
        told = [one if isinstance(one, str) else one.text for one in self.outcomes]
        seen = Counter(told).most_common()
        texts = [
            text if len(seen) == 1 else f"{count} of {len(told)}: {text}" for text, count in seen
        ]
        counts: Counter[str] = Counter()
        for outcome in self.outcomes:
            if isinstance(outcome, Outcome):
                counts.update(outcome.counts)
        numbers = ", ".join(f"{count} {what}" for what, count in counts.items())
        return "; ".join(texts) + (f" ({numbers})" if numbers else "")

    @property
    def seconds(self) -> str:
        taken = sorted(
            one.seconds
            for one in self.outcomes
            if isinstance(one, Outcome) and one.seconds is not None
        )
        if not taken:
            return "-"
        first, last = f"{taken[0]:.1f}", f"{taken[-1]:.1f}"
        return first if first == last else f"{first}-{last}"


# --- playing --------------------------------------------------------------------------------------


def play(faults: Sequence[Fault], systems: Sequence[System], trials: int) -> Iterator[Cell]:
    """Play trials side by side, each on a database of its own."""
    for fault in faults:
        for system in systems:
            outcomes: list[Outcome | str] = []
            if system.store in fault.stores:
                one = partial(play_one, fault, system)
                with ThreadPoolExecutor(trials) as pool:
                    outcomes = list(pool.map(one, range(1, trials + 1)))
            cell = Cell(fault, system, outcomes)
            print(f"{fault.name} | {system.title}: {cell.text} [{cell.seconds} s]", flush=True)
            yield cell


def play_one(fault: Fault, system: System, number: int) -> Outcome | str:
    """Play one trial; its folder stays where it could not be played."""
    folder = Path(tempfile.mkdtemp(prefix=f"rivals-{system.name}-{fault.name}-{number}-"))
    try:
        with server(system) as started, Trial(system, folder, number, started) as trial:
            outcome = fault.play(trial)
    except Exception as error:  # noqa: BLE001  one that cannot be played stops no other
        return f"not played: {type(error).__name__}: {error} (see {folder})"
    shutil.rmtree(folder)
    return outcome


@contextmanager
def server(system: System) -> Iterator[PostgresServer | None]:
    """A durable server of the trial's own, where the system uses one."""
    if system.store != "PostgreSQL":
        yield None
        return
    with PostgresServer.start(durable=True) as started:
        yield started


# --- the table ------------------------------------------------------------------------------------


def markdown(cells: Sequence[Cell], missing: Sequence[tuple[str, str]]) -> str:
    """The results as tables: what happened, and with which settings."""
    parts = []
    for fault in {cell.fault.name: cell.fault for cell in cells}.values():
        mine = [cell for cell in cells if cell.fault == fault]
        rows = [(c.system.title, c.text, c.seconds, str(len(c.outcomes) or "-")) for c in mine]
        head = ("System", "What happened", f"Seconds {fault.measured}", "Trials")
        parts.append(f"**{fault.number}, {fault.name}.** {fault.done}\n\n{table(head, rows)}")
    systems = {cell.system.name: cell.system for cell in cells}.values()
    settings = [
        (
            system.adapter.TITLE,
            system.version,
            "; ".join(f"{name}: {value}" for name, value in system.adapter.SETTINGS.items()),
        )
        for system in systems
    ]
    parts.append(table(("System", "Version", "Settings"), settings))
    parts += [f"{adapter(name).TITLE} was not tried: {reason}" for name, reason in missing]
    return "\n\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.rivals", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="NAME")
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--environments", type=Path, help="a folder to install the systems in")
    parser.add_argument("--write", type=Path, help="a file to put the tables into")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave no process behind
    chosen = [name for name in NAMES if name in options.words] or NAMES
    faults = [FAULTS[name] for name in FAULTS if name in options.words] or list(FAULTS.values())
    systems: list[System] = []
    missing = []
    with tempfile.TemporaryDirectory(prefix="rivals-") as temporary:
        folder = (options.environments or Path(temporary)).absolute()
        for name in chosen:
            try:
                systems += install(name, folder)
            except NotInstalled as error:
                missing.append((name, str(error)))
        cells = list(play(faults, systems, options.trials))
    text = markdown(cells, missing)
    print(f"\n{text}")
    if options.write:
        page = options.write.read_text()
        options.write.write_text(between(page, BEGIN, END, text, options.write))
    return 1 if any(cell.failures for cell in cells) else 0


if __name__ == "__main__":
    sys.exit(main())
