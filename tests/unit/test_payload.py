"""Payloads: what goes in comes out, and what is not JSON is refused by name."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import uuid
from dataclasses import dataclass, field
from typing import Any, TypedDict

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

import jobq
from jobq._payload import MAX_DEPTH, Codec, encode_json, encode_result, encode_step, loads


@dataclass
class Size:
    width: int
    tags: list[str] = field(default_factory=list)


@attrs.define
class Crop:
    x: int = 0


class Model(pydantic.BaseModel):
    n: int
    when: dt.datetime | None = None


class Aliased(pydantic.BaseModel, alias_generator=to_camel):
    client_id: str


class Album(pydantic.BaseModel):
    models: list[Model]


class Record(TypedDict):
    size: Size


class Packed(msgspec.Struct):
    n: int


@dataclass
class Everything:
    size: Size
    crop: Crop
    model: Model
    packed: Packed
    models: list[Model]
    by_number: dict[int, str]
    when: dt.datetime
    id: uuid.UUID
    price: decimal.Decimal
    blob: bytes
    some: set[int]
    none: int | None = None


EVERYTHING = Everything(
    size=Size(1, ["a"]),
    crop=Crop(2),
    model=Model(n=3, when=dt.datetime(2030, 1, 1, tzinfo=dt.UTC)),
    packed=Packed(4),
    models=[Model(n=5)],
    by_number={6: "six"},
    when=dt.datetime(2030, 1, 1, tzinfo=dt.UTC),
    id=uuid.UUID(int=7),
    price=decimal.Decimal("8.5"),
    blob=b"\x00nine",
    some={10},
)

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)

plain = Codec(type_name="t")


@given(st.dictionaries(texts, json_values, max_size=5))
def test_json_comes_back_as_it_went_in(value):
    assert plain.decode(plain.encode(value)) == value


@given(json_values)
def test_a_result_comes_back_as_it_was_returned(value):
    assert loads(encode_result(value)) == value


@pytest.mark.parametrize(
    "annotation, value",
    [
        (dict, {"a": [1, None]}),
        (Any, {"a": 1.5}),
        (dict[str, int], {"a": 1}),
        (Size, Size(1, ["x"])),
        (Crop, Crop(5)),
        (Model, Model(n=1, when=dt.datetime(2030, 1, 1, tzinfo=dt.UTC))),
        (Album, Album(models=[Model(n=1), Model(n=2)])),
        (Record, {"size": Size(1)}),
        (Packed, Packed(1)),
        (list[Size], [Size(1), Size(2)]),
        (Size | None, None),
        (Everything, EVERYTHING),
    ],
)
def test_a_typed_payload_comes_back_in_its_type(annotation, value):
    codec = Codec(annotation)
    assert codec.decode(codec.encode(value)) == value


@pytest.mark.parametrize(
    "annotation, mapping",
    [(Size, {"width": 1}), (Crop, {}), (Model, {"n": 1}), (Packed, {"n": 1})],
)
def test_a_mapping_will_do_for_a_typed_payload_and_defaults_are_filled_in(annotation, mapping):
    codec = Codec(annotation)
    assert codec.decode(codec.encode(mapping)) == annotation(**mapping)


def test_a_typed_value_will_do_where_the_handler_takes_a_dict():
    assert plain.encode(Size(1)) == '{"width":1,"tags":[]}'


def test_no_payload_is_an_empty_mapping():
    assert plain.encode(None) == "{}"


_loop: list[Any] = []
_loop.append(_loop)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


REFUSED = [
    ({"a": [1, {2}]}, "$.a[1]", "{2} is a set, which JSON has not"),
    ({"a": b"x"}, "$.a", "b'x' is a bytes, which JSON has not"),
    ({"a": (1,)}, "$.a", "(1,) is a tuple, which JSON has not"),
    ({"a": dt.date(2030, 1, 1)}, "$.a", "datetime.date(2030, 1, 1) is a date, which JSON has not"),
    ({"a": decimal.Decimal(1)}, "$.a", "Decimal('1') is a Decimal, which JSON has not"),
    ({"a": {1: 2}}, "$.a", "the key 1 is an int; JSON keys are text"),
    ({None: 2}, "$", "the key None is a NoneType; JSON keys are text"),
    ({"a": math.nan}, "$.a", "nan is not a JSON number"),
    ({"a": {"b": -math.inf}}, "$.a.b", "-inf is not a JSON number"),
    ({"a": "x\x00"}, "$.a", "text contains a NUL character, which PostgreSQL cannot store"),
    ({"\x00": 1}, "$", "text contains a NUL character, which PostgreSQL cannot store"),
    ({"a": "\ud800"}, "$.a", r"text contains a lone surrogate: '\ud800'"),
    ({"\udfff": 1}, "$", r"text contains a lone surrogate: '\udfff'"),
    ({"a": 2**63}, "$.a", f"the integer {2**63} needs more than 64 bits; send it as text"),
    ({"a": -(2**63) - 1}, "$.a", f"the integer {-(2**63) - 1} needs more than 64 bits; send it"),
    ({"a": 10**5000}, "$.a", "the integer needs more than 64 bits; send it as text"),
    (nested(MAX_DEPTH + 1), "$" + ".a" * MAX_DEPTH, "nested deeper than 100 levels"),
    ({"a": _loop}, "$.a" + "[0]" * (MAX_DEPTH - 1), "nested deeper than 100 levels"),
]


@pytest.mark.parametrize("value, path, reason", REFUSED)
def test_what_is_not_json_is_refused_with_its_path_and_never_converted(value, path, reason):
    with pytest.raises(jobq.PayloadError) as caught:
        plain.encode(value)
    assert caught.value.path == path
    assert caught.value.reason.startswith(reason)
    assert str(caught.value) == f"payload of 't': {caught.value.reason} (at {path})"


@pytest.mark.parametrize("value, path, reason", REFUSED)
def test_typed_mappings_refuse_the_same(value, path, reason):
    with pytest.raises(jobq.PayloadError) as caught:
        Codec(dict[str, Any]).encode(value)
    assert (caught.value.path, caught.value.reason[:20]) == (path, reason[:20])


@pytest.mark.parametrize("value, path, reason", REFUSED)
def test_results_refuse_the_same(value, path, reason):
    with pytest.raises(jobq.ResultError) as caught:
        encode_result(value)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"result: {reason}")


@pytest.mark.parametrize("value, path, reason", REFUSED)
def test_metadata_refuses_the_same_and_is_named(value, path, reason):
    with pytest.raises(jobq.PayloadError, match="payload: metadata: ") as caught:
        encode_json(value, what="metadata")
    assert caught.value.path == path


def test_errors_about_payloads_are_value_errors():
    with pytest.raises(ValueError, match="a set"):
        plain.encode({"a": {1}})


@pytest.mark.parametrize(
    "annotation, value, path, reason",
    [
        (Size, {"width": "x"}, "$.width", "Expected `int`, got `str`"),
        (Size, {"width": 1, "tags": ["a", 2]}, "$.tags[1]", "Expected `str`, got `int`"),
        (Size, Size("x"), "$.width", "Expected `int`, got `str`"),  # type: ignore[arg-type]
        (Size, Size(2**70), "$.width", f"the integer {2**70} needs more than 64 bits"),
        (Size, Size(1, ["\x00"]), "$.tags[0]", "text contains a NUL character"),
        (Size, {}, "$", "Object missing required field `width`"),
        (Size, None, "$", "Expected `object`, got `null`"),
        (Crop, {"x": None}, "$.x", "Expected `int`, got `null`"),
        (Packed, {"n": []}, "$.n", "Expected `int`, got `array`"),
        (Record, {"size": {"width": "x"}}, "$.size.width", "Expected `int`, got `str`"),
        (list[Size], [{"width": 1}, {}], "$[1]", "Object missing required field `width`"),
        (Model, {"n": "x"}, "$.n", "Input should be a valid integer"),
        (Model, {"n": 1, "when": "soon"}, "$.when", "Input should be a valid datetime"),
        (Album, {"models": [{"n": 1}, {}]}, "$.models[1].n", "Field required"),
        (list[Model], [{"n": 1}, {"n": "x"}], "$[1].n", "Input should be a valid integer"),
    ],
)
def test_a_wrong_field_is_refused_with_its_path(annotation, value, path, reason):
    with pytest.raises(jobq.PayloadError) as caught:
        Codec(annotation, type_name="t").encode(value)
    assert (caught.value.type, caught.value.path) == ("t", path)
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize("annotation", [Size, Model])
def test_a_stored_payload_that_no_longer_fits_is_refused_when_it_is_read(annotation):
    with pytest.raises(jobq.PayloadError, match=r"\(at \$\.(width|n)\)"):
        Codec(annotation).decode('{"width":"x","n":"x"}')


@dataclass
class Careful:
    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise ValueError(f"{self.n}, but - at least 0 is needed")
        if self.n > 9:
            raise RuntimeError("too much")


def test_a_check_of_the_payloads_own_class_is_a_refusal_whatever_it_raises():
    with pytest.raises(jobq.PayloadError, match=r"^payload: -1, but - at least 0 is .* \(at \$\)"):
        Codec(Careful).encode({"n": -1})
    with pytest.raises(jobq.PayloadError, match=r"RuntimeError\('too much'\)"):
        Codec(Careful).encode({"n": 10})


class Ratio(pydantic.BaseModel):
    of: int

    @pydantic.computed_field
    @property
    def ratio(self) -> float:
        return 1 / self.of


@dataclass
class Fussy:
    def __post_init__(self) -> None:
        error = RuntimeError("it is no use")
        error.errors = dict  # type: ignore[attr-defined]
        raise error


def test_a_class_that_cannot_put_its_own_value_into_json_is_a_refusal():
    for value in (Ratio(of=0), {"of": 0}):
        with pytest.raises(jobq.PayloadError, match="division by zero"):
            Codec(Ratio).encode(value)
    with pytest.raises(jobq.PayloadError, match="division by zero"):
        plain.encode(Ratio(of=0))
    with pytest.raises(jobq.ResultError, match="division by zero"):
        encode_result(Ratio(of=0))
    with pytest.raises(jobq.ResultError, match="division by zero"):
        encode_step(Ratio(of=0))


def test_a_check_whose_exception_only_looks_like_pydantics_is_a_refusal():
    with pytest.raises(jobq.PayloadError, match="it is no use"):
        Codec(Fussy).encode({})


@dataclass
class Holder:
    thing: object


def test_a_typed_value_that_holds_no_json_is_refused():
    with pytest.raises(jobq.PayloadError, match="complex, which JSON has not"):
        plain.encode(Holder(1j))
    with pytest.raises(jobq.ResultError, match="complex, which JSON has not"):
        encode_result(Holder(1j))


@pytest.mark.parametrize("text", ['{"a":', "nul", '{"a":"\\ud800"}', '{"a":1e999}', ""])
def test_stored_text_that_is_not_json_is_refused(text):
    with pytest.raises(jobq.PayloadError, match="not JSON"):
        plain.decode(text)


@dataclass
class Impossible:
    number: complex


@pytest.mark.parametrize("annotation", [complex, Impossible, list[complex], type, ValueError])
def test_an_annotation_that_cannot_be_a_payload_is_refused_at_decoration(annotation):
    with pytest.raises(jobq.HandlerError, match=r"handler 't': .* cannot be a payload type"):
        Codec(annotation, type_name="t")


@pytest.mark.parametrize("value", [Size(1), Crop(1), Model(n=1), Packed(1)])
def test_results_may_be_typed_values(value):
    assert isinstance(loads(encode_result(value)), dict)


def test_a_pydantic_model_is_stored_by_its_aliases():
    codec, value = Codec(Aliased, type_name="t"), Aliased(clientId="7")
    text = codec.encode(value)
    assert loads(text) == {"clientId": "7"} == loads(encode_result(value))
    assert codec.decode(text) == value


def test_no_result_is_null():
    assert encode_result(None) == "null"
