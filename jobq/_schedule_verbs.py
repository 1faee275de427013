"""What a queue can do about schedules; verbs as those of `_verbs`."""

from __future__ import annotations

from typing import Any

from jobq import backends
from jobq._checks import short_text
from jobq._config import Config
from jobq._cron import ScheduleInfo
from jobq._errors import OptionError
from jobq._steps import Do
from jobq._verbs import Verb


def schedules(config: Config) -> Verb[list[ScheduleInfo]]:  # noqa: ARG001  every verb takes it
    return (yield Do(backends.ops.all_schedules))  # type: ignore[no-any-return]


def pause_schedule(config: Config, name: Any) -> Verb[None]:  # noqa: ARG001
    known = yield Do(backends.ops.pause_schedule, name=_name(name))
    _refuse_unknown(name, known)


def resume_schedule(config: Config, name: Any) -> Verb[None]:  # noqa: ARG001
    known = yield Do(backends.ops.resume_schedule, name=_name(name))
    _refuse_unknown(name, known)


def _name(name: Any) -> str:
    text = short_text(name, "name", limit=200)
    if text is None:
        raise OptionError("the name of a schedule is text, not None")
    return text


def _refuse_unknown(name: str, known: bool) -> None:
    if not known:
        raise OptionError(f"there is no schedule {name!r}; `jobq schedules` lists them")
