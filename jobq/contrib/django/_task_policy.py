"""How a task is tried: as Django's own backends do, unless it says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from jobq._clock import to_span
from jobq._errors import ConfigurationError, OptionError
from jobq._limits import Limit
from jobq._limits.declared import check_limits
from jobq._retry import Backoff, Exponential, Fixed, Retry
from jobq._routing import timeout_seconds

POLICY = ("max_attempts", "backoff", "limits", "timeout")


class UnstorableResult(TypeError):
    """What a task returned cannot be stored; another attempt would not change that."""


@frozen(kw_only=True)
class Policy:
    """The options of a task's handler."""

    retry: Retry
    limits: tuple[Limit, ...] = ()
    timeout: float | None = None

    @classmethod
    def of(cls, task: Any, options: Mapping[str, Any]) -> Policy:
        """What the settings say of a task, or else the task itself."""
        own = {name: getattr(task, name, None) for name in POLICY}
        return cls.checked(task.module_path, **{**own, **options})

    @classmethod
    def checked(
        cls,
        path: str,
        *,
        max_attempts: int | None = None,
        backoff: Any = None,
        limits: Any = None,
        timeout: Any = None,
    ) -> Policy:
        """The policy that these options are. Raises `ConfigurationError`."""
        try:
            return cls(
                retry=_retry(max_attempts, backoff),
                limits=check_limits(f"task {path!r}", limits),
                timeout=timeout_seconds(timeout),
            )
        except OptionError as error:
            raise ConfigurationError(f"task {path!r}: {error}") from None


def _retry(max_attempts: int | None, backoff: Any) -> Retry:
    rests = _backoff(backoff)
    rules: dict[type[BaseException], Backoff | None] = {UnstorableResult: None}
    if max_attempts is None:  # once is once: no refusal of a provider is waited for
        return Retry(max_attempts=1, backoff=rests, rules={**rules, BaseException: rests})
    return Retry(max_attempts=max_attempts, backoff=rests, rules=rules)


def _backoff(value: Any) -> Backoff:
    if value is None:
        return Exponential()
    if callable(getattr(value, "delay", None)):
        return value  # type: ignore[no-any-return]
    return Fixed(to_span(value, name="backoff") / 1_000_000)
