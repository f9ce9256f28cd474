"""The SDK's JSON, against Python's."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Call

pytestmark = pytest.mark.node

Ask = Callable[..., Any]


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


#: Text and what the SDK writes for it again; None where that is the same.
AGAIN: list[tuple[bytes, bytes | None]] = [
    (b"null", None),
    (b"true", None),
    (b"false", None),
    (b"0", None),
    (b"-1", None),
    (b"-0", None),
    (b"9223372036854775807", None),
    (b"-9223372036854775808", None),
    (b"9223372036854775808", None),
    (b"-9223372036854775809", None),
    (b"123456789012345678901234567890", None),
    (b"1.10", None),
    (b"1e400", None),
    (b"-2.5E-3", None),
    (b'""', None),
    (b"[]", None),
    (b"{}", None),
    (b"[[],{}]", None),
    ('"grüße 😀"'.encode(), None),
    (b'"\\u00fc\\ud83d\\ude00"', '"ü😀"'.encode()),
    (b'"\\ud83d"', None),
    (b'"\\ude00\\ud83d"', None),
    (b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', b'"\\"\\\\/\\u0008\\u000c\\n\\r\\t"'),
    (b'"\\u001F\\u0000"', b'"\\u001f\\u0000"'),
    (b'"\x7f"', None),
    (b' {\t"a" :\r\n[ 1 , 2 ] } ', b'{"a":[1,2]}'),
    (b'{"a":1,"a":2}', None),
    (b'{"":0}', None),
    (b"[" * 100 + b"]" * 100, None),
]

#: Text that is no JSON, and where that shows.
WRONG: list[tuple[bytes, str]] = [
    (b"", "expected a value at byte 0"),
    (b"  ", "expected a value at byte 2"),
    (b"nul", "expected a value at byte 0"),
    (b"nulls", "expected the end at byte 4"),
    (b"True", "expected a value at byte 0"),
    (b"1 2", "expected the end at byte 2"),
    (b"01", "expected the end at byte 1"),
    (b"-", "expected a digit at byte 1"),
    (b"+1", "expected a value at byte 0"),
    (b".5", "expected a value at byte 0"),
    (b"1.", "expected a digit at byte 2"),
    (b"1e", "expected a digit at byte 2"),
    (b"1e+", "expected a digit at byte 3"),
    (b"NaN", "expected a value at byte 0"),
    (b"[", "expected a value at byte 1"),
    (b"[1", "expected ',' or ']' at byte 2"),
    (b"[1,", "expected a value at byte 3"),
    (b"[1,]", "expected a value at byte 3"),
    (b"[1 2]", "expected ',' or ']' at byte 3"),
    (b"[1}", "expected ',' or ']' at byte 2"),
    (b"{", "expected a key at byte 1"),
    (b"{1:2}", "expected a key at byte 1"),
    (b'{"a"', "expected ':' at byte 4"),
    (b'{"a" 1}', "expected ':' at byte 5"),
    (b'{"a":}', "expected a value at byte 5"),
    (b'{"a":1,}', "expected a key at byte 7"),
    (b'{"a":1', "expected ',' or '}' at byte 6"),
    (b'"', "unterminated string at byte 1"),
    (b'"a', "unterminated string at byte 2"),
    (b'"a\\', "unterminated string at byte 3"),
    (b'"a\\"', "unterminated string at byte 4"),
    (b'"\\x"', "unknown escape at byte 3"),
    (b'"\\u12g4"', "expected a hexadecimal digit at byte 5"),
    (b'"\\u12"', "expected a hexadecimal digit at byte 5"),
    (b'"a\nb"', "control character in a string at byte 2"),
    (b'"\xff"', "malformed UTF-8 in the string at byte 1"),
    (b'"\xed\xa0\x80"', "malformed UTF-8 in the string at byte 1"),
    (b'"\xc0\xaf"', "malformed UTF-8 in the string at byte 1"),
    (b'"\xf4\x90\x80\x80"', "malformed UTF-8 in the string at byte 1"),
    (b'"\xe2\x82"', "malformed UTF-8 in the string at byte 1"),
    (b"[" * 101 + b"]" * 101, "nested more than 100 deep at byte 100"),
    (b"[" * 100_000, "nested more than 100 deep at byte 100"),
    (b"\xef\xbb\xbf1", "expected a value at byte 0"),
]


def test_written_again(conformance: Call) -> None:
    """What is read and written again is the same JSON, numbers and lone surrogates included."""
    expected = [("bytes", written or source) for source, written in AGAIN]
    assert conformance([("json_again", source) for source, _ in AGAIN]).answers == expected


def test_strings_too(conformance: Call) -> None:
    """`parseText` and `toString` do over strings what `parse` and a reply do over bytes."""
    answers = conformance([("json_text_again", source) for source, _ in AGAIN]).answers
    assert answers == [("bytes", written or source) for source, written in AGAIN]


def test_wrong(conformance: Call) -> None:
    """What is no JSON is refused with the reason and the byte; never a trap, never a value."""
    answers = conformance([("json_again", source) for source, _ in WRONG]).answers
    assert answers == [("error", reason.encode()) for _, reason in WRONG]


def _random_value(dice: random.Random, depth: int) -> Any:
    kind = dice.randrange(8 if depth else 6)
    if kind == 0:
        return dice.choice([None, True, False])
    if kind == 1:
        return dice.choice([0, 1, -1, 2**63 - 1, -(2**63), dice.randrange(-(10**6), 10**6)])
    if kind in (2, 3):
        return dice.uniform(-1e6, 1e6) * 10 ** dice.randrange(-20, 20)
    if kind in (4, 5):
        alphabet = '"\\/\b\n\x00\x1fabcäß€\u2028\ud7ff\ue000\uffff😀𝄞\U0010ffff'
        return "".join(dice.choices(alphabet, k=dice.randrange(12)))
    size = dice.randrange(5)
    if kind == 6:
        return [_random_value(dice, depth - 1) for _ in range(size)]
    return {f"k{i}{dice.choice('aä😀')}": _random_value(dice, depth - 1) for i in range(size)}


def test_random_values(conformance: Call) -> None:
    """Any value that Python writes, with or without escapes, comes back as the same value."""
    dice = random.Random(20)
    values = [_random_value(dice, 4) for _ in range(400)]
    calls = [
        ("json_again", json.dumps(value, ensure_ascii=ascii_).encode("utf-8", "surrogatepass"))
        for value in values
        for ascii_ in (True, False)
    ]
    answers = conformance(calls).answers
    assert {kind for kind, _ in answers} == {"bytes"}
    assert [json.loads(data) for _, data in answers] == [v for v in values for _ in range(2)]


def test_random_damage(conformance: Call) -> None:
    """JSON with damaged bytes is accepted exactly when Python accepts it; nothing traps."""
    dice = random.Random(21)
    sources = []
    for _ in range(1500):
        source = bytearray(json.dumps(_random_value(dice, 3), ensure_ascii=False).encode())
        for _ in range(dice.randrange(1, 3)):
            position = dice.randrange(len(source) + 1)
            source[position : position + dice.randrange(2)] = bytes([dice.randrange(256)])
        sources.append(bytes(source))
    answers = conformance([("json_again", source) for source in sources]).answers
    accepted = [kind == "bytes" for kind, _ in answers]
    assert {kind for kind, _ in answers} == {"bytes", "error"}
    assert accepted == [_is_json(source) for source in sources]


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _is_json(source: bytes) -> bool:
    try:
        json.loads(source.decode(), parse_constant=_no_constant)
    except ValueError:
        return False
    return True


FALLBACKS = {
    "string": "fallback",
    "int": -77,
    "number": -77.5,
    "bool": True,
    "length": 0,
    "first key": "",
    "first": None,
    "a": None,
    "has a": False,
    "nowhere exists": False,
}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("null", {"kinds": ["exists", "null"]}),
        ("false", {"kinds": ["exists", "bool"], "bool": False}),
        ("7", {"kinds": ["exists", "int", "number"], "int": 7, "number": 7.0}),
        ("0.1", {"kinds": ["exists", "number"], "number": 0.1}),
        ("1e3", {"kinds": ["exists", "number"], "number": 1000.0}),
        ("12345678901234567890", {"kinds": ["exists", "number"], "number": 12345678901234567890.0}),
        ('"x"', {"kinds": ["exists", "string"], "string": "x"}),
        ("[5,6]", {"kinds": ["exists", "array"], "length": 2, "first": 5}),
        (
            '{"b":1,"a":2,"a":3}',
            {
                "kinds": ["exists", "object"],
                "length": 3,
                "first key": "b",
                "first": 1,
                "a": 3,
                "has a": True,
            },
        ),
    ],
)
def test_accessors(ask: Ask, source: str, said: dict[str, Any]) -> None:
    """Accessors give the value of their own kind, and the fallback for any other."""
    assert ask("json_describe", source) == FALLBACKS | said


def test_building(conformance: Call) -> None:
    """Objects and arrays are built, changed and written in the order of their keys."""
    ((kind, data),) = conformance([("json_build", b"")]).answers
    expected = {
        "s": 'q" b\\ n\n ü 😀 \x01',
        "i": "replaced",
        "n": 0.1,
        "nan": None,
        "b": True,
        "z": None,
        "a": [1, "x", {}],
    }
    assert (kind, data) == ("bytes", compact(expected))


def test_memory(conformance: Call) -> None:
    """Ten thousand parsed payloads on one instance are collected: its memory stays as it was."""
    payload = json.dumps([{"sku": f"sku-{i}", "price": i, "ratio": i / 7} for i in range(20)])
    few, many = (conformance([("json_again", payload.encode())] * n) for n in (100, 10_000))
    assert {json.dumps(json.loads(data)) for _, data in many.answers} == {payload}
    assert many.pages == few.pages
