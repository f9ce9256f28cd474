"""Makes inputs: kept ones that are cut, spliced and changed, and new ones in each target's form."""

from __future__ import annotations

import json
import struct
from typing import Any

from hypothesis import strategies as st

from fuzz.targets import corpus

#: Numbers at which lengths, counts and offsets go wrong.
_EDGES = [0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
_WORDS = [
    b"\0",
    b"\r\n",
    b"\x80\x80\x80\x80\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xed\xa0\x80",
    b'"',
    b"'''",
    b"[[",
    b"{" * 50,
    b"a." * 70,
    b"1e400",
    b"9" * 5000,
    b"null",
    b"NaN",
    b"\\u0000",
    b"\xc3\x28",
]


@st.composite
def _changed(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A kept input with some changes."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        match draw(st.integers(0, 6)):
            case 0:
                del data[at:end]
            case 1:
                data[at:end] = draw(st.binary(max_size=12))
            case 2:
                data[at:at] = draw(st.sampled_from(_WORDS))
            case 3:
                form = draw(st.sampled_from(["<B", "<H", "<I", "<Q"]))
                number = draw(st.sampled_from(_EDGES)) % (1 << 8 * struct.calcsize(form))
                data[at : at + struct.calcsize(form)] = struct.pack(form, number)
            case 4:
                data[at:at] = data[at:end] * draw(st.integers(1, 40))
            case 5:
                other = draw(st.sampled_from(seeds))
                data[at:] = other[draw(st.integers(0, len(other))) :]
            case _:
                del data[at:]
    return bytes(data)


@st.composite
def _edits(draw: st.DrawFn) -> bytes:
    """An edit list in which most is right."""
    items = [b"\x01\x03\x00\x00"]
    for _ in range(draw(st.integers(0, 8))):
        op = draw(st.integers(0, 12))
        name = draw(
            st.sampled_from([b"", b"x-a", b"Host", b"Content-Length"]) | st.binary(max_size=8)
        )
        value = draw(
            st.sampled_from([b"", b"\xc8\x00", b"/a?b", b"1"]) | st.binary(max_size=12)
        )  # fmt: skip
        lengths = [len(name), len(value)]
        if draw(st.integers(0, 9)) == 0:
            lengths[draw(st.integers(0, 1))] = draw(st.sampled_from(_EDGES))
        reserved = draw(st.sampled_from([0] * 9 + [1]))
        items.append(struct.pack("<BBHI", op, reserved, lengths[0] & 0xFFFF, lengths[1]))
        items += [name, value]
    return b"".join(items)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["0" * 64, "price", "*", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def _document(seed: bytes) -> st.SearchStrategy[bytes]:
    """JSON like a kept one, in which some values are others."""

    def like(value: Any) -> st.SearchStrategy[Any]:
        if isinstance(value, dict):
            known = {key: like(each) for key, each in value.items()}
            whole = st.fixed_dictionaries(known)
            return whole | st.fixed_dictionaries({}, optional=known) | _JSON
        return st.just(value) | st.just(value) | _JSON

    return like(json.loads(seed)).map(lambda value: json.dumps(value).encode())


_TOML_KEYS = [
    "name", "version", "description", "abi", "order", "hooks", "match", "match.paths",
    "match.methods", "match.endpoints", "needs.on_request", "needs.on_response",
    "limits.timeout_ms", "limits.memory_mb", "config", "config.a", "config_schema",
    "config_schema.type", "config_schema.properties.a", 'config_schema."$ref"', "capabilities",
    "on_failure", "oversize_body", "selftest", "rollout", "rollout.share", "unknown",
]  # fmt: skip
_TOML_VALUES = [
    "1", "-1", "0", "1e3", "1e400", "nan", "inf", "9" * 400, '""', '"a"', '"/**"', '"skip"',
    '"object"', '"#/$defs/a"', '"#"', "true", "[]", "{}", "[1]", '["a"]', '["/a"]', '["log"]',
    '["path", "header:x"]', "1979-05-27T07:32:00Z", "07:32:00", "{ a = 1 }",
    '{ pattern = "(a+)+" }', '{ hook = "on_request" }',
    '[{ paths = ["/"] }]', '"\\u0000"', '"\\ud800"', "'''a'''", "0x_1",
]  # fmt: skip


def _toml() -> st.SearchStrategy[bytes]:
    """A manifest of known keys with values of every kind."""
    lines = st.tuples(st.sampled_from(_TOML_KEYS), st.sampled_from(_TOML_VALUES))
    return st.lists(lines, max_size=8, unique_by=lambda line: line[0]).map(
        lambda pairs: "".join(f"{key} = {value}\n" for key, value in pairs).encode()
    )


def inputs(name: str) -> st.SearchStrategy[bytes]:
    """Return what makes inputs for a target."""
    seeds = list(corpus(name).values())
    made = _changed(seeds) | st.binary(max_size=200)
    if name.endswith("_edits"):
        return made | _edits()
    if name == "manifest":
        return made | _toml()
    documents = [seed for seed in seeds if _is_document(seed)]
    return st.one_of(made, *map(_document, documents))


def _is_document(seed: bytes) -> bool:
    try:
        return isinstance(json.loads(seed), dict)
    except (ValueError, RecursionError):
        return False
