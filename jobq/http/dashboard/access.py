"""Who may look at the dashboard, and who may do what there."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from secrets import token_urlsafe
from typing import Any

from attrs import field, frozen

from jobq._errors import ConfigurationError
from jobq.http.access import Policy, Scope, forbidden, unauthorized
from jobq.http.keys import Keys, fits
from jobq.http.messages import Request
from jobq.http.problems import Problem
from jobq.http.steps import Consult, Steps

READ = "read"
"""What policies are asked for where somebody only looks."""
ACTIONS = (
    "retry",
    "run_now",
    "cancel",
    "delete",
    "pause_queue",
    "resume_queue",
    "change_limit",
    "pause_limit",
    "resume_limit",
    "reset_limit",
    "pause_schedule",
    "resume_schedule",
)
"""What can be done on the dashboard."""


def _known(actions: Iterable[str]) -> frozenset[str]:
    if isinstance(actions, str):
        raise ConfigurationError(f"may={actions!r} must be a list of actions")
    some = frozenset(actions)
    unknown = sorted(map(str, some - set(ACTIONS)))
    if unknown:
        raise ConfigurationError(
            f"may names {', '.join(unknown)}; the actions are {', '.join(ACTIONS)}"
        )
    return some


@frozen(kw_only=True)
class Operator(Scope):
    """Who uses the dashboard; everything that he does is logged under his name.

    `may` are the actions that he may take: all of `ACTIONS` by default, none with `may=()`.

    >>> Operator(name="ada", may=["retry", "run_now"]).can("delete")
    False
    """

    name: str = ""
    may: frozenset[str] = field(default=frozenset(ACTIONS), converter=_known)

    def can(self, action: str) -> bool:
        """Whether he may take an action; everyone may read."""
        return action == READ or action in self.may


class Operators:
    """Whoever a function of the app says.

    It is called with the framework's request, may be asynchronous where the host is, and returns
    an `Operator`, or `None` for nobody.

    >>> def operator(request):
    ...     user = request.user
    ...     return Operator(name=user.email, may=["retry"]) if user.is_staff else None
    >>> access = Operators(operator)
    """

    def __init__(self, function: Callable[[Any], Any] | None = None) -> None:
        if function is not None and not callable(function):
            raise ConfigurationError(f"Operators: {function!r} must be a function of the request")
        self._function = function

    def decide(self, request: Request, action: str) -> Steps[Scope]:
        found = request.user
        if self._function is not None:
            found = yield Consult(self._function, request.native)
        if found is None:
            raise Problem(401, "unauthorized", "sign in first")
        if not isinstance(found, Operator):
            raise ConfigurationError(
                "access= must return an Operator(name=…) or None; it returned a "
                f"{type(found).__name__}"
            )
        return admitted(found, action)


def admitted(operator: Operator, action: str) -> Operator:
    """The operator, if he may take an action."""
    if not operator.can(action):
        raise forbidden(f"{operator.name or 'you'} may not {action.replace('_', ' ')} here")
    return operator


class Passwords:
    """Names and passwords that a browser asks for (HTTP Basic); behind HTTPS only.

    `readers` are the names of those who may only look.

    >>> access = Passwords({"ada": "correct horse battery"}, readers=["bob"])
    """

    def __init__(self, users: Mapping[str, str], *, readers: Iterable[str] = ()) -> None:
        if not isinstance(users, Mapping) or not users:
            raise ConfigurationError('Passwords takes {"name": "password"}')
        self._keys = {name: Keys([password]) for name, password in users.items()}
        self._nobodys = Keys([token_urlsafe()])  # so that an unknown name takes as long
        self._readers = frozenset(readers)

    def decide(self, request: Request, action: str) -> Steps[Scope]:
        name, password = _basic(request)
        keys = self._keys.get(name, self._nobodys)
        if not fits(password, keys.usable(debug=request.debug)):
            raise _asking()
        found = Operator(name=name, may=() if name in self._readers else ACTIONS)
        return admitted(found, action)
        yield  # a generator, as every policy


def _basic(request: Request) -> tuple[str, str]:
    """The name and, decoded as headers are, the password."""
    scheme, _, coded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise _asking()
    try:
        name, _, password = b64decode(coded.strip(), validate=True).partition(b":")
        return name.decode(), password.decode("latin-1")
    except ValueError:  # no base64, or no UTF-8
        raise _asking() from None


def _asking() -> Problem:
    problem = unauthorized("give a name and a password")
    problem.headers["www-authenticate"] = 'Basic realm="jobq", charset="UTF-8"'
    return problem


def operator_of(scope: Scope) -> Operator:
    """Who a policy, also one of another kind, has let in."""
    if scope.owner is not None:
        raise forbidden("the dashboard shows everybody's jobs: give it access=Operators(…)")
    return scope if isinstance(scope, Operator) else Operator()


def policy_of(access: Any) -> Policy | None:
    """The policy that `access=` means."""
    if access is None or callable(getattr(access, "decide", None)):
        return access  # type: ignore[no-any-return]
    return Operators(access)
