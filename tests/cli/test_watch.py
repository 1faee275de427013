"""What a terminal shows: bars, screens that are drawn anew, tables that fit."""

from __future__ import annotations

import json
import os
import pty
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, redirect_stdout

import pytest

import jobq
from jobq.cli import _queue, _terminal, _watch
from tests.cli.conftest import Run, Start


@pytest.fixture
def url(sqlite: str) -> str:
    """One database will do: what is shown is not theirs."""
    return sqlite


class Screen:
    """A terminal of 70 columns in the place of standard output."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self.out = os.fdopen(slave, "w", encoding="utf-8")

    def shows(self) -> AbstractContextManager[object]:
        """Be the standard output meanwhile."""
        return redirect_stdout(self.out)

    def shown(self) -> str:
        """What was written since the last look."""
        self.out.write("\0")
        self.out.flush()
        read = b""
        while not read.endswith(b"\0"):
            read += os.read(self._master, 65536)
        return read[:-1].decode().replace("\r\n", "\n")

    def close(self) -> None:
        self.out.close()
        os.close(self._master)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Screen]:
    screen = Screen()
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("LINES", "24")
    yield screen
    screen.close()


def moving(*moves: Callable[[], object]) -> Callable[[float], None]:
    """A rest in which something happens, each time the next."""
    left = iter(moves)
    return lambda _: next(left)() and None


# --- watch --------------------------------------------------------------------------------------


def test_on_a_terminal_a_bar_follows_the_job_to_its_end(queue: jobq.Queue, screen: Screen) -> None:
    job = queue.enqueue("image_edit", {})
    view = _watch.Bar()
    rest = moving(
        lambda: queue.set_progress(job.id, 50, "drawing the door"),
        lambda: queue.set_status(job.id, "completed", result={}),
    )
    with screen.shows():
        ended = _watch.follow(queue, job.id, view.show, rest=rest)
        view.end()
    assert ended.status == "completed"
    first, second, third = screen.shown().strip().split("\r")
    assert first == f"image_edit  {'░' * 23}    0 %  pending\x1b[K"
    assert second == f"image_edit  {'█' * 11}{'░' * 12}   50 %  pending       drawing th…\x1b[K"
    assert third == f"image_edit  {'█' * 23}  100 %  completed     drawing th…\x1b[K"


def test_the_message_stands_where_there_is_room(queue: jobq.Queue) -> None:
    job = queue.enqueue("image_edit", {})
    shown = _watch.bar(queue.set_progress(job.id, 50, "drawing\x1b[31m the door"), 110)
    assert shown.endswith("50 %  pending       drawing\\x1b[31m the door")
    for room in (20, 40, 60, 80, 100):
        assert _terminal.width(_watch.bar(queue.get(job.id), room)) < room


def test_a_terminal_without_unicode_gets_letters(queue: jobq.Queue) -> None:
    job = queue.enqueue("image_edit", {})
    shown = _watch.bar(queue.set_progress(job.id, 25), 60, unicode=False)
    assert shown == "image_edit  #####---------------   25 %  pending"


def test_the_exit_code_tells_how_the_job_ended(queue: jobq.Queue, on: Run, screen: Screen) -> None:
    codes = {}
    for status in ("completed", "failed", "cancelled"):
        job = queue.enqueue("mail", {})
        queue.set_status(job.id, status, error="no\nroom" if status == "failed" else None)
        with screen.shows():
            codes[status] = on("watch", job.id).code
    assert codes == {"completed": 0, "failed": 1, "cancelled": 1}
    assert "failed\x1b[K\nno\n" in screen.shown()


def test_who_waits_no_longer_gets_an_exit_code_of_its_own(queue: jobq.Queue, on: Run) -> None:
    job = queue.enqueue("mail", {})
    ran = on("watch", job.id, "--timeout", "0")
    assert ran.code == 4
    assert "pending" in ran.err


def test_a_job_that_is_deleted_meanwhile_ends_the_watch(queue: jobq.Queue, on: Run) -> None:
    job = queue.cancel(queue.enqueue("mail", {}))
    queue.delete(job.id)
    assert on("watch", job.id).code == 1


def test_elsewhere_each_change_is_a_line(queue: jobq.Queue, start: Start) -> None:
    job = queue.enqueue("mail", {})
    url = queue._config.url
    with start("watch", job.id, "--url", url) as watching:
        watching.until("pending  0 %")
        queue.set_progress(job.id, 30, "half an hour")
        watching.until("pending  30 %  half an hour")
        queue.set_status(job.id, "failed", error="no paper", error_code="Paper")
        assert watching.ends() == 1
    assert watching.lines[-2:] == [watching.lines[-2], "Paper: no paper\n"]
    assert len(watching.lines) == 4
    assert "\x1b" not in watching.output


def test_programs_get_a_line_of_json_for_each_change(
    queue: jobq.Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    job = queue.enqueue("mail", {})
    _watch.follow(
        queue,
        job.id,
        _watch.JsonLines().show,
        rest=moving(lambda: None, lambda: queue.set_status(job.id, "completed", result={"a": 1})),
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["status"] for line in lines] == ["pending", "completed"]
    assert lines[-1] == queue.get(job.id).to_dict()


# --- status --watch -----------------------------------------------------------------------------


def interrupted() -> None:
    raise KeyboardInterrupt


def test_the_status_is_drawn_in_its_place(queue: jobq.Queue, screen: Screen) -> None:
    for n in range(30):
        queue.enqueue("mail", {}, queue=f"q{n:02}")
    rest = moving(lambda: queue.enqueue("mail", {}), interrupted)
    with screen.shows():
        _queue.keep_showing(queue, 1.0, as_json=False, rest=rest)
    first, second = screen.shown().split(_terminal.CLEAR)[1:]
    assert "pending       30\n" in first
    assert "pending       31\n" in second
    assert len(first.splitlines()) == 23


def test_elsewhere_the_status_is_printed_again(
    queue: jobq.Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    _queue.keep_showing(queue, 1.0, as_json=False, rest=moving(lambda: None, interrupted))
    shown = capsys.readouterr().out
    assert shown.count("no workers\n\n") == 2
    assert "\x1b" not in shown
    _queue.keep_showing(queue, 1.0, as_json=True, rest=moving(lambda: None, interrupted))
    states = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [state["counts"]["pending"] for state in states] == [0, 0]


# --- tables -------------------------------------------------------------------------------------


def test_a_table_fits_the_terminal_and_keeps_its_ids_whole(
    queue: jobq.Queue, on: Run, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue.enqueue("a_type_with_a_rather_long_name", {}, queue="and_a_queue_too")
    queue.set_progress(job.id, 10, "a message of many words, more than any line has room for")
    monkeypatch.setenv("COLUMNS", "130")
    with screen.shows():
        assert on("list").code == 0
    header, row = screen.shown().splitlines()
    assert row.startswith(f"{job.id}  a_type")
    assert len(header) <= 130
    assert len(row) <= 130
    assert row.endswith("…")


def test_where_nobody_looks_no_cell_is_cut(queue: jobq.Queue, on: Run) -> None:
    queue.enqueue("t" * 100, {}, queue="q" * 100)
    assert f"{'t' * 100}  {'q' * 100}" in on("list").out


def test_wide_letters_take_two_columns() -> None:
    assert _terminal.filled("日本", 6) == "日本  "
    assert _terminal.cut("日本語", 5) == "日本…"
    assert _terminal.cut("e\u0301tude", 5) == "e\u0301tude"
    assert _terminal.cut("word", 0) == ""


def test_columns_are_narrowed_from_the_widest_on_but_not_below_their_heads() -> None:
    assert _terminal.fitted([36, 50, 9], [2, 4, 6], 80) == [36, 31, 9]
    assert _terminal.fitted([36, 20, 20], [2, 8, 8], 60) == [36, 10, 10]
    assert _terminal.fitted([36, 20, 20], [2, 8, 8], 10) == [36, 8, 8]
    assert _terminal.fitted([3, 3], [2, 2], 80) == [3, 3]
