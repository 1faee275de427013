"""Who may do what: policies, and what they come to.

A policy looks at a request and an action (the name of a route: `create`, `list`, `show`, `events`,
`cancel`, `retry`) and says whose jobs the caller may see, or refuses. Without one every request is
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol
from uuid import UUID

from attrs import evolve, frozen

from jobq._batch import BatchInfo
from jobq._errors import ConfigurationError
from jobq._model import Job
from jobq.http.keys import Keys, fits, given_key
from jobq.http.messages import Request
from jobq.http.problems import Problem, not_found
from jobq.http.steps import Consult, Steps


@frozen
class Scope:
    """Whose jobs a caller may see; `None` is everybody's."""

    owner: str | None = None
    hides: bool = False
    """Whether another's job is answered as if there were none."""

    def check(self, found: Job | BatchInfo) -> None:
        """Refuse another's job or batch."""
        if self.owner is None or found.owner == self.owner:
            return
        what = "job" if isinstance(found, Job) else "batch"
        if self.hides:
            raise not_found(found.id, what)
        raise forbidden(f"this {what} is not yours")


def forbidden(detail: str) -> Problem:
    return Problem(403, "forbidden", detail)


def unauthorized(detail: str) -> Problem:
    return Problem(401, "unauthorized", detail, headers={"www-authenticate": "Bearer"})


class Policy(Protocol):
    """What an API asks; raise `Problem` to refuse."""

    def decide(self, request: Request, action: str) -> Steps[Scope]: ...


class Deny:
    """Nobody may do anything: what there is where nothing was configured."""

    def decide(self, request: Request, action: str) -> Steps[Scope]:  # noqa: ARG002  a policy's arguments
        raise forbidden(
            "nobody may use these routes yet: say who may, with owner=…, a function that returns "
            "the id of the caller, or with access=ApiKey(…) or another policy"
        )
        yield  # a generator, as every policy


class Owner:
    """Everyone sees his own jobs, and makes jobs that are his.

    `user` is called with the framework's request and returns the caller's id: text, an integer, a
    UUID, or an object that has it as `pk` or `id`. `None` is nobody, and is answered with 401.
    `hide` answers 404 instead of 403 for another's job. `sees_all` is called with the request,
    too: for whom it is true, everybody's jobs are. Both may be asynchronous where the host is.

    >>> staff = Owner(current_user, sees_all=lambda request: request.user.is_staff)
    """

    def __init__(
        self,
        user: Callable[[Any], Any] | None = None,
        *,
        hide: bool = False,
        sees_all: Callable[[Any], Any] | None = None,
    ) -> None:
        for given in (user, sees_all):
            if given is not None and not callable(given):
                raise ConfigurationError(f"Owner: {given!r} must be a function of the request")
        self._user = user
        self._sees_all = sees_all
        self._hide = hide

    def decide(self, request: Request, action: str) -> Steps[Scope]:  # noqa: ARG002  a policy's arguments
        found = request.user
        if self._user is not None:
            found = yield Consult(self._user, request.native)
        if found is None:
            raise unauthorized("sign in first")
        if self._sees_all is not None and (yield Consult(self._sees_all, request.native)):
            return Scope()
        return Scope(owner_id(found), self._hide)


def owner_id(user: Any) -> str:
    """The text that stands for a user in `owner`."""
    value = user
    for name in ("pk", "id"):
        if not isinstance(value, str | int | UUID):
            value = getattr(user, name, value)
    if isinstance(value, bool) or not isinstance(value, str | int | UUID) or value == "":
        raise ConfigurationError(
            f"owner= must return the caller's id (text, an integer or a UUID), an object that has "
            f"it as `pk` or `id`, or None; it returned a {type(user).__name__}"
        )
    return str(value)


class ApiKey:
    """Whoever has a key may do everything, with everybody's jobs.

    The key comes as `x-api-key` or `Authorization: Bearer`. Give several for a rotation.
    """

    def __init__(self, *keys: str) -> None:
        self._keys = Keys(keys)

    def decide(self, request: Request, action: str) -> Steps[Scope]:  # noqa: ARG002  a policy's arguments
        given = given_key(request)
        if given is None:
            raise unauthorized("send a key, as x-api-key or as Authorization: Bearer")
        if not fits(given, self._keys.usable(debug=request.debug)):
            raise forbidden("this key is not known")
        return Scope()
        yield  # a generator, as every policy


class Anonymous:
    """Everybody may do everything, in development only."""

    def decide(self, request: Request, action: str) -> Steps[Scope]:  # noqa: ARG002  a policy's arguments
        if not request.debug:
            raise forbidden("Anonymous() is for development: JOBQ_DEBUG=1, or the app's debug mode")
        return Scope()
        yield  # a generator, as every policy


class AllOf:
    """Only who satisfies all of these policies; of their owners the narrowest counts."""

    def __init__(self, *policies: Policy) -> None:
        self._policies = _checked("AllOf", policies)

    def decide(self, request: Request, action: str) -> Steps[Scope]:
        scopes = []
        for policy in self._policies:
            scopes.append((yield from policy.decide(request, action)))  # noqa: PERF401
        owners = {scope.owner for scope in scopes if scope.owner is not None}
        if len(owners) > 1:
            raise forbidden("the policies know the caller under different ids")
        # One that knows more than a scope, as a dashboard's operator does, goes on knowing it.
        most = next((scope for scope in scopes if type(scope) is not Scope), scopes[0])
        hides = any(scope.hides for scope in scopes)
        return evolve(most, owner=next(iter(owners), None), hides=hides)


class AnyOf:
    """Who satisfies one of these policies: the first that does says whose jobs he sees."""

    def __init__(self, *policies: Policy) -> None:
        self._policies = _checked("AnyOf", policies)

    def decide(self, request: Request, action: str) -> Steps[Scope]:
        refusals = []
        for policy in self._policies:
            try:
                return (yield from policy.decide(request, action))
            except Problem as problem:
                refusals.append(problem)
        # Who gave a wrong proof should learn of that, rather than to give another.
        raise max(refusals, key=lambda problem: problem.status)


def _checked(name: str, policies: Iterable[Policy]) -> tuple[Policy, ...]:
    some = tuple(policies)
    if not some or not all(callable(getattr(policy, "decide", None)) for policy in some):
        raise ConfigurationError(f"{name}(…) takes policies, as in {name}(Owner(…), ApiKey(…))")
    return some
