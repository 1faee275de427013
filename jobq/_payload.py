"""Payloads and results: checked, typed by annotation, stored as JSON text."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

from jobq._errors import HandlerError, PayloadError, ResultError

MAX_DEPTH = 100
_INT64 = range(-(2**63), 2**63)

_encode = msgspec.json.Encoder().encode
loads: Callable[[str | bytes], Any] = msgspec.json.Decoder().decode


class NotJson(ValueError):
    """A value outside JSON, with its path."""

    def __init__(self, reason: str, path: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


def _check_text(value: str, path: str) -> None:
    if "\x00" in value:
        raise NotJson("text contains a NUL character, which PostgreSQL cannot store", path)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotJson(f"text contains a lone surrogate: {value!r}", path) from None


def check_json(  # noqa: C901, PLR0912  a list of kinds
    value: Any, path: str = "$", depth: int = 0, *, typed: bool = False
) -> None:
    """Raise `NotJson` unless the value is JSON as it stands: nothing is converted.

    `typed`: instances of classes that know their own JSON may be in it.
    """
    kind = type(value)
    if kind is str:
        if not value.isascii() or "\x00" in value:
            _check_text(value, path)
    elif value is None or kind is bool:
        pass
    elif kind is int:
        if value not in _INT64:
            shown = f"{value} " if value.bit_length() < 1000 else ""
            raise NotJson(f"the integer {shown}needs more than 64 bits; send it as text", path)
    elif kind is float:
        if not math.isfinite(value):
            raise NotJson(f"{value!r} is not a JSON number", path)
    elif depth >= MAX_DEPTH:
        raise NotJson(f"nested deeper than {MAX_DEPTH} levels", path)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise NotJson(f"the key {_shown(key)} is {_name(key)}; JSON keys are text", path)
            if not key.isascii() or "\x00" in key:
                _check_text(key, path)
            check_json(item, f"{path}.{key}", depth + 1, typed=typed)
    elif kind is list:
        for index, item in enumerate(value):
            check_json(item, f"{path}[{index}]", depth + 1, typed=typed)
    elif not (typed and _is_typed(value)):
        raise NotJson(f"{_shown(value)} is {_name(value)}, which JSON has not", path)


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except Exception:  # noqa: BLE001  integers may be too long to show, and `__repr__` may be broken
        return "a value that cannot be shown"


def _name(value: Any) -> str:
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _is_pydantic(kind: Any) -> bool:
    return (
        isinstance(kind, type) and hasattr(kind, "model_validate") and hasattr(kind, "model_dump")
    )


def _enc_hook(value: Any) -> Any:
    if _is_pydantic(type(value)):
        return value.model_dump(mode="json", by_alias=True)  # what `model_validate` reads
    raise NotImplementedError(f"{_shown(value)} is {_name(value)}, which JSON has not")


def _dec_hook(kind: type, value: Any) -> Any:
    if _is_pydantic(kind):
        return kind.model_validate(value)  # type: ignore[attr-defined]
    raise NotImplementedError


def _schema_of(kind: type) -> dict[str, Any]:
    """Only asked of types that msgspec does not know; those that are not here cannot be used."""
    if _is_pydantic(kind):
        return {"type": "object"}
    raise TypeError(f"{kind!r} has no form in JSON that is known here")


def _is_typed(value: Any) -> bool:
    """Whether a value is an instance of one of the classes that know their own JSON."""
    kind = type(value)
    return (
        _is_pydantic(kind)
        or isinstance(value, msgspec.Struct)
        or attrs.has(kind)
        or hasattr(kind, "__dataclass_fields__")
    )


def _to_builtins(value: Any) -> Any:
    """A typed value in JSON's own types. NaN, NUL and the like stay for `check_json` to refuse."""
    return msgspec.to_builtins(value, str_keys=True, enc_hook=_enc_hook)


def as_builtins(value: Any) -> Any:
    """A typed value in JSON's own types; any other value as it is."""
    return _to_builtins(value) if _is_typed(value) else value


class Codec:
    """Between a handler's payload annotation and JSON text.

    Plain (no annotation, `dict`, `Any`): JSON as it stands. Otherwise whatever msgspec knows
    (dataclasses, attrs, TypedDict, Struct, lists of these …) or a pydantic model, validated both
    when a job is enqueued and when it is run.
    """

    def __init__(self, annotation: Any = None, *, type_name: str | None = None) -> None:
        self.annotation = annotation
        self.type_name = type_name
        self.plain = annotation in (None, Any, dict, Mapping, typing.Dict, object)  # noqa: UP006
        if not self.plain and not _is_pydantic(annotation):
            self._probe()

    def _probe(self) -> None:
        try:
            msgspec.json.schema(self.annotation, schema_hook=_schema_of)
        except (TypeError, NotImplementedError, NameError) as error:
            raise HandlerError(
                f"handler {self.type_name!r}: {self.annotation!r} cannot be a payload type: "
                f"{error}. Use dict, dataclass, attrs, TypedDict, msgspec.Struct or pydantic"
            ) from error

    def encode(self, value: Any) -> str:
        """The JSON text of a payload, validated. Raises `PayloadError` with the value's path."""
        try:
            builtins = self._builtins(value)
            check_json(builtins)
            return _encode(builtins).decode()
        except NotJson as error:
            raise PayloadError(error.reason, path=error.path, type=self.type_name) from None
        except RecursionError:
            reason = f"nested deeper than {MAX_DEPTH} levels, or it contains itself"
            raise PayloadError(reason, type=self.type_name) from None

    def decode(self, text: str) -> Any:
        """The payload that a handler gets. Raises `PayloadError` with the value's path."""
        try:
            builtins = loads(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise PayloadError(f"not JSON: {error}", type=self.type_name) from None
        return builtins if self.plain else self._convert(builtins)

    def _builtins(self, value: Any) -> Any:
        if self.plain:
            if type(value) is dict:
                return value
            return {} if value is None else self._untyped(value)
        check_json(value, typed=True)
        return self._untyped(self._convert(self._untyped(value, deep=True)), deep=True)

    def _untyped(self, value: Any, *, deep: bool = False) -> Any:
        try:
            return _to_builtins(value) if deep else as_builtins(value)
        except RecursionError:
            raise
        except Exception as error:  # noqa: BLE001  the value's own class may raise any
            raise PayloadError(_reason(error), type=self.type_name) from None

    def _convert(self, builtins: Any) -> Any:
        try:
            if _is_pydantic(self.annotation):
                return self.annotation.model_validate(builtins)
            return msgspec.convert(builtins, self.annotation, str_keys=True, dec_hook=_dec_hook)
        except msgspec.ValidationError as error:
            raise self._refused(error.__cause__ or error, *_located(error)) from None
        except Exception as error:  # noqa: BLE001  a check in the payload's own class may raise any
            reason = str(error) if isinstance(error, ValueError) else repr(error)
            raise self._refused(error, reason, "$") from None

    def _refused(self, error: BaseException, reason: str, path: str) -> PayloadError:
        try:  # as pydantic's has it
            first = error.errors()[0]  # type: ignore[attr-defined]
            reason, path = first["msg"], path + _steps(first["loc"])
        except Exception:  # noqa: BLE001, S110  then it says no more than its text
            pass
        return PayloadError(reason, path=path, type=self.type_name)


def _reason(error: Exception) -> str:
    known = isinstance(error, TypeError | ValueError | NotImplementedError)
    return (str(error) if known else "") or repr(error)


def _located(error: msgspec.ValidationError) -> tuple[str, str]:
    """A refusal's reason and path."""
    reason, found, path = str(error).rpartition(" - at `")
    return (reason, path.removesuffix("`")) if found else (str(error), "$")


def _steps(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)


PLAIN = Codec()


def sorted_json(value: Any) -> str:
    """JSON text that is the same for equal values, in whatever order their keys came."""
    return msgspec.json.encode(value, order="sorted").decode()


def encode_json(value: Any, *, what: str) -> str:
    """The JSON text of a plain value such as metadata; `PayloadError` names `what` otherwise."""
    try:
        check_json(value)
        return _encode(value).decode()
    except (NotJson, RecursionError) as error:
        path = getattr(error, "path", "$")
        raise PayloadError(f"{what}: {getattr(error, 'reason', error)}", path=path) from None


def encode_step(value: Any, *, limit: int | None = None) -> str:
    """The same of what a step came to: any value that has a form in JSON is given that.

    A result that was paid for is not lost for its type; it comes back as what is annotated.
    """
    try:
        text = _encode(_to_builtins(value))
    except Exception as error:  # noqa: BLE001  the value's own class may raise any
        raise ResultError(_reason(error)) from None
    return encode_result(loads(text), limit=limit)


def encode_result(value: Any, *, limit: int | None = None) -> str:
    """The JSON text of what a handler returned, of at most `limit` bytes.

    Raises `ResultError` where it cannot be stored.
    """
    if value is None:
        return "null"
    try:
        builtins = as_builtins(value)
        check_json(builtins)
        encoded = _encode(builtins)
    except NotJson as error:
        raise ResultError(error.reason, path=error.path) from None
    except Exception as error:  # noqa: BLE001  the value's own class may raise any
        raise ResultError(_reason(error)) from None
    if limit is not None and len(encoded) > limit:
        raise ResultError(
            f"{len(encoded)} bytes of JSON are more than the {limit} allowed; store the data "
            f"elsewhere and return its address, or raise Queue(bounds=Bounds(result=…))"
        )
    return encoded.decode()


def dumps(value: Any) -> str:
    """JSON text of values that are known to be JSON."""
    return _encode(value).decode()
