from __future__ import annotations

import enum
from dataclasses import FrozenInstanceError, dataclass
from decimal import Decimal
from typing import Annotated, Any, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_host.errors import ConfigError, PayloadError
from plugin_host.hookspec import HookSpec


class Item(msgspec.Struct):
    sku: str
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


class Cart(msgspec.Struct):
    items: list[Item]
    total: Decimal = Decimal(0)


@dataclass
class Price:
    cents: int


class Row(TypedDict):
    id: int


class Size(enum.Enum):
    BIG = "big"


class Unknown:
    pass


class Moody(msgspec.Struct):
    mood: str

    def __post_init__(self) -> None:
        raise KeyError(self.mood)


def chained(name: str = "price_quote", **values: Any) -> HookSpec:
    return HookSpec(name, "chain", **values)


def test_defaults() -> None:
    """A hookspec that says only its name takes and answers any JSON, and the first answer wins."""
    spec = HookSpec("greet")
    actual = (spec.combine, spec.input, spec.output, spec.timeout, spec.default)
    assert actual == ("first", None, None, None, None)


def test_a_hookspec_is_frozen() -> None:
    """A hookspec cannot change after it was declared."""
    with pytest.raises(FrozenInstanceError):
        HookSpec("greet").timeout = 1.0  # type: ignore[misc]


def test_equality() -> None:
    """Two declarations of the same contract are equal."""
    assert HookSpec("greet", input=Cart) == HookSpec("greet", input=Cart)
    assert HookSpec("greet", input=Cart) != HookSpec("greet", input=Item)


@pytest.mark.parametrize("name", ["a", "price_quote", "Price2", "onRequest", "phone", "x" * 128])
def test_names(name: str) -> None:
    """Any ASCII identifier that is not reserved names a hook."""
    assert HookSpec(name).name == name


@pytest.mark.parametrize(
    "name", ["", "_a", "ph_init", "2a", "a-b", "a b", "a\n", "préis", "x" * 129, None, 3, b"a"]
)
def test_wrong_names(name: Any) -> None:
    """A name that no export can have, or that is reserved, is refused."""
    with pytest.raises(ConfigError, match=r"^hookspec .*: allowed as a name: an ASCII identifier"):
        HookSpec(name)


@pytest.mark.parametrize("name", ["on_request", "on_response"])
def test_http_hooks(name: str) -> None:
    """The HTTP hooks cannot be declared again."""
    with pytest.raises(ConfigError) as error:
        HookSpec(name)
    assert str(error.value) == (
        f"hookspec '{name}': HTTP hooks have a contract of their own and need no hookspec;"
        " choose another name"
    )


@pytest.mark.parametrize(
    ("combine", "hint"), [("chian", "; did you mean 'chain'?"), ("all", ""), (None, "")]
)
def test_wrong_combine(combine: Any, hint: str) -> None:
    """An unknown way to combine answers is refused with the ways there are."""
    with pytest.raises(ConfigError) as error:
        HookSpec("greet", combine)
    assert str(error.value) == (
        f"hookspec 'greet': combine is {combine!r}; allowed: 'chain', 'first' or 'collect'{hint}"
    )


@pytest.mark.parametrize("timeout", [0, -1, 60.001, True, "1", float("nan"), float("inf")])
def test_wrong_timeout(timeout: Any) -> None:
    """A deadline that is no number of seconds in range is refused."""
    with pytest.raises(ConfigError) as error:
        HookSpec("greet", timeout=timeout)
    assert str(error.value) == (
        f"hookspec 'greet': timeout is {timeout!r}; allowed: more than 0 and at most 60 seconds,"
        " or None for PLUGIN_HOST_TIMEOUT"
    )


@pytest.mark.parametrize("timeout", [None, 0.001, 1, 60])
def test_timeout(timeout: float | None) -> None:
    """A deadline is a number of seconds, or the host's."""
    assert HookSpec("greet", timeout=timeout).timeout == timeout


def test_default_is_a_function() -> None:
    """A default that cannot be called is refused."""
    with pytest.raises(ConfigError, match=r"^hookspec 'greet': default is 'hi'; allowed: a funct"):
        HookSpec("greet", default="hi")  # type: ignore[arg-type]
    assert HookSpec("greet", default=len).default is len


def test_chain_answers_its_payload() -> None:
    """A chain that says no output answers what it takes."""
    assert [chained(input=Cart).output, chained(input=Cart, output=Cart).output] == [Cart, Cart]
    assert chained().output is None


@pytest.mark.parametrize(("into", "out"), [(Cart, Item), (None, Cart)])
def test_chain_of_two_types(into: Any, out: Any) -> None:
    """A chain whose answer could not be the next payload is refused."""
    with pytest.raises(ConfigError, match=r"so output \(.*Struct|so output \(<class") as error:
        chained(input=into, output=out)
    assert "must be the same as input" in str(error.value)


@pytest.mark.parametrize(
    "kind", [Unknown, list[Unknown], object, complex, 3, Item | Cart, "NoSuchType"]
)
@pytest.mark.parametrize("side", ["input", "output"])
def test_types_that_json_cannot_carry(kind: Any, side: str) -> None:
    """A type that msgspec cannot pass as JSON is refused when the hookspec is declared."""
    with pytest.raises(ConfigError) as error:
        HookSpec("greet", **{side: kind})
    assert str(error.value).startswith(f"hookspec 'greet': {side} is ")
    assert "which msgspec cannot pass as JSON" in str(error.value)


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        (None, {"a": [1, None, "ü"]}, '{"a":[1,null,"ü"]}'.encode()),
        (None, Price(5), b'{"cents":5}'),
        (Any, [1], b"[1]"),
        (Item, Item("a"), b'{"sku":"a","count":1}'),
        (Item, {"sku": "a"}, b'{"sku":"a","count":1}'),
        (Item, {"sku": "a", "more": 1}, b'{"sku":"a","count":1}'),
        (
            Cart,
            {"items": [Item("a"), {"sku": "b"}]},
            b'{"items":[{"sku":"a","count":1},{"sku":"b","count":1}],"total":"0"}',
        ),
        (Cart, Cart([], Decimal("1.50")), b'{"items":[],"total":"1.50"}'),
        (Price, Price(5), b'{"cents":5}'),
        (Price, {"cents": 5}, b'{"cents":5}'),
        (Row, {"id": 1}, b'{"id":1}'),
        (Size, Size.BIG, b'"big"'),
        (list[Item], [{"sku": "a"}], b'[{"sku":"a","count":1}]'),
        (int | None, None, b"null"),
        (bytes, b"\xff\0", b"\xff\0"),
        (bytes, bytearray(b"\xff"), b"\xff"),
        (bytes, memoryview(b"\xff"), b"\xff"),
        (bytes, b"", b""),
    ],
)
def test_encode(kind: Any, payload: Any, expected: bytes) -> None:
    """A payload of its type, or of plain values that fit it, becomes JSON; bytes stay bytes."""
    actual = HookSpec("greet", input=kind).encode(payload)
    assert (actual, type(actual)) == (expected, bytes)


@pytest.mark.parametrize(
    ("kind", "payload", "why"),
    [
        (Item, {}, "Object missing required field `sku`"),
        (Item, Item("a", 0), "Expected `int` >= 1 - at `$.count`"),
        (Item, Item(3), "Expected `str`, got `int` - at `$.sku`"),  # type: ignore[arg-type]
        (Cart, {"items": [Item(3)]}, "Expected `str`, got `int` - at `$.items[0].sku`"),  # type: ignore[arg-type]
        (int, "5", "Expected `int`, got `str`"),
        (float, float("nan"), "Expected `float`, got `null`"),
        (None, Unknown(), "Encoding objects of type Unknown is unsupported"),
        (None, "\ud800", "'utf-8' codec can't encode"),
        (None, b"x", "bytes are no JSON; declare the type bytes to pass them as they are"),
        (Item, b"{}", "bytes are no JSON"),
        (bytes, "x", "Expected `bytes`, got `str`"),
        (bytes, None, "Expected `bytes`, got `NoneType`"),
    ],
)
def test_encode_refuses(kind: Any, payload: Any, why: str) -> None:
    """A payload that does not fit is refused with what msgspec says about it."""
    with pytest.raises(PayloadError) as error:
        HookSpec("greet", input=kind).encode(payload)
    assert error.value.message.startswith(f"the payload does not fit 'greet': {why}")
    assert error.value.__cause__ is not None


def test_encode_refuses_a_payload_that_holds_itself() -> None:
    """A payload without end is refused."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(PayloadError, match="recursion"):
        HookSpec("greet").encode(endless)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (None, b' {"a": [1, null]} ', {"a": [1, None]}),
        (Item, b'{"sku":"a","more":1}', Item("a", 1)),
        (Price, b'{"cents":5}', Price(5)),
        (Row, b'{"id":1}', {"id": 1}),
        (list[Size], b'["big"]', [Size.BIG]),
        (Cart, b'{"items":[],"total":"0.10"}', Cart([], Decimal("0.10"))),
        (bytes, b"\xff", b"\xff"),
        (bytes, b"", b""),
    ],
)
def test_decode(kind: Any, data: bytes, expected: Any) -> None:
    """An answer comes out in the declared type."""
    assert HookSpec("greet", output=kind).decode(data) == expected


@pytest.mark.parametrize(
    ("kind", "data", "why"),
    [
        (None, b"", "Input data was truncated"),
        (None, b"{} {}", "JSON is malformed: trailing characters"),
        (None, b'"\xff"', ("'utf-8' codec can't decode byte 0xff", "Invalid UTF-8")),  # 0.22, 0.23
        (None, b"[" * 100_000, "maximum recursion depth exceeded"),
        (Item, b'{"count":1}', "Object missing required field `sku`"),
        (Item, b'{"sku":"a","count":0}', "Expected `int` >= 1 - at `$.count`"),
        (Item, b"[]", "Expected `object`, got `array`"),
        (Size, b'"small"', "Invalid enum value 'small'"),
        (Moody, b'{"mood":"bad"}', "'bad'"),
    ],
)
def test_decode_refuses(kind: Any, data: bytes, why: str | tuple[str, ...]) -> None:
    """An answer that does not fit is refused with what msgspec says about it."""
    with pytest.raises(PayloadError) as error:
        HookSpec("greet", output=kind).decode(data)
    said = "the answer does not fit 'greet': "
    assert error.value.message.startswith(said)
    assert error.value.message.removeprefix(said).startswith(why)
    assert error.value.__cause__ is not None


def test_a_refusal_takes_the_plugin_s_name() -> None:
    """Whose answer was wrong is added where it is known."""
    with pytest.raises(PayloadError) as error:
        HookSpec("greet", output=int).decode(b"true")
    assert str(error.value.named("hello", "greet")) == (
        "plugin 'hello', hook 'greet': the answer does not fit 'greet': Expected `int`, got `bool`"
    )


@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    """Any bytes whatever give an answer of the declared type or a PayloadError."""
    spec = HookSpec("greet", output=dict[str, int])
    try:
        assert isinstance(spec.decode(data), dict)
    except PayloadError as error:
        assert error.message  # noqa: PT017 - both outcomes are right


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text("aü\n", max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner),
    )
)
def test_round_trip(payload: Any) -> None:
    """What a chain encodes it decodes to the same value."""
    spec = chained()
    assert spec.decode(spec.encode(payload)) == payload
