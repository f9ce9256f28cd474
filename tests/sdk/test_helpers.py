"""The SDK's helpers: text, forms, views, time, hashes, config, host functions, results."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote_plus

import pytest

from .conftest import Call, run_guest

pytestmark = pytest.mark.node

Ask = Callable[..., Any]

#: SipHash-2-4 of 00, 00 01, … from the reference implementation's vectors, by length.
SIPHASH = {
    0: 0x726FDB47DD0E0E31,
    1: 0x74F839C593DC67FD,
    7: 0xAB0200F58B01D137,
    8: 0x93F5F5799A932462,
    15: 0xA129CA6149BE45E5,
}


def test_utf8(conformance: Call) -> None:
    """Well-formed UTF-8 comes through; every malformed byte or sequence becomes U+FFFD."""
    cases = [
        ("grüße € 😀 \U0010ffff \ud7ff \ue000".encode(), None),
        (b"\xff", "\ufffd"),
        (b"a\x80b", "a\ufffdb"),
        (b"\xc3", "\ufffd"),
        (b"\xc3(", "\ufffd("),
        (b"\xe2\x82", "\ufffd"),
        (b"\xe2\x82\xe2\x82\xac", "\ufffd€"),
        (b"\xf0\x9f\x98", "\ufffd"),
        (b"\xf5x", "\ufffdx"),
        (b"\xc0\xafx", "\ufffd\ufffdx"),
    ]
    answers = conformance([("text_again", source) for source, _ in cases]).answers
    assert [data for _, data in answers] == [
        source if text is None else text.encode() for source, text in cases
    ]


FORMS = [
    "a=1&b=2",
    "a+b=c%20d",
    "a=%C3%BC&a=2",
    "x=1&a",
    "a==&b",
    "",
    "&&a=1&",
    "a=%zz%4&b=%",
    "%61=x",
]


@pytest.mark.parametrize("form", FORMS)
def test_forms(ask: Ask, form: str) -> None:
    """`formValue` finds what Python's parser finds first, and null where that finds nothing."""
    pairs = parse_qsl(form, keep_blank_values=True)
    for name in ("a", "b", "a b", "missing"):
        expected = next((value for key, value in pairs if key == name), None)
        assert ask("form", {"form": form, "name": name})["value"] == expected


def test_form_text(ask: Ask) -> None:
    """`formText` undoes what Python's `quote_plus` does to any text."""
    text = "ü &=+%;\n😀\0"
    assert ask("form", {"form": quote_plus(text), "name": ""})["text"] == text


@pytest.mark.parametrize("view", ["", "a", "grüße", "aaa", "ü", "x😀y", "abcabc"])
@pytest.mark.parametrize("text", ["", "a", "gr", "ße", "ü", "😀", "bc", "grüße", "abcabcabc"])
def test_views(ask: Ask, view: str, text: str) -> None:
    """Comparisons in place say what Python says about the encoded bytes."""
    data, other = view.encode(), text.encode()
    said = ask("compare", {"view": view, "text": text})
    said.pop("middle")
    assert said == {
        "equals": data == other,
        "starts": data.startswith(other),
        "ends": data.endswith(other),
        "contains": other in data,
        "index": data.find(other),
        "next": data.find(other, 1) if data else -1,
        "empty": not data,
        "outside": 0,
    }


def test_slices(ask: Ask) -> None:
    """A slice is cut to what there is."""
    middles = [
        ask("compare", {"view": view, "text": ""})["middle"] for view in ("abcd", "ab", "a", "")
    ]
    assert middles == ["bc", "", "", ""]


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = [
    "1970-01-01T00:00:00Z",
    "2026-03-01T18:00:00Z",
    "2026-03-01T18:00:00+02:00",
    "2026-03-01T18:00:00-09:30",
    "2024-02-29T23:59:59.999Z",
    "2000-02-29T12:00:00Z",
    "1900-03-01T00:00:00Z",
    "1969-12-31T23:59:59.500Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-03-01 18:00Z",
    "2026-03-01T18:00:00.123456Z",
]
NO_TIMES = [
    "",
    "now",
    "2026-03-01",
    "2026-03-01T18:00:00",
    "2026-02-29T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-01-00T00:00:00Z",
    "2026-04-31T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T00:60:00Z",
    "2026-01-01T00:00:60Z",
    "2026-01-01T00:00:00.Z",
    "2026-01-01T00:00:00Zx",
    "2026-01-01T00:00:00+2:00",
    "2026-01-01T00:00:00+24:00",
    "2026/01/01T00:00:00Z",
]


def test_times(conformance: Call) -> None:
    """A time with a zone is its milliseconds since 1970; anything else is `NO_TIME`."""
    answers = conformance([("time", text.encode()) for text in TIMES + NO_TIMES]).answers
    expected = [(datetime.fromisoformat(t) - EPOCH) // timedelta(milliseconds=1) for t in TIMES]
    expected += [-(2**63)] * len(NO_TIMES)
    assert [int(data) for _, data in answers] == expected


def test_siphash(conformance: Call) -> None:
    """SipHash-2-4 gives the values of its reference vectors."""
    answers = conformance([("sip", bytes(range(length))) for length in SIPHASH]).answers
    assert [int(data) for _, data in answers] == list(SIPHASH.values())


def test_shares(ask: Ask) -> None:
    """A share is the same every time, depends on the secret, and spreads evenly."""
    shares = [ask("hashed_share", {"secret": "s", "text": f"user {i}"}) for i in (1, 2, 1)]
    other = ask("hashed_share", {"secret": "t", "text": "user 1"})
    assert shares[0] == shares[2]
    assert len({*shares, other}) == 3


def test_even_shares(conformance: Call) -> None:
    """Half of many users lie below one half."""
    calls = [
        ("hashed_share", json.dumps({"secret": "secret", "text": f"user {i}"}).encode())
        for i in range(2000)
    ]
    shares = [json.loads(data) for _, data in conformance(calls).answers]
    assert all(0 <= share < 1 for share in shares)
    assert 900 < sum(share < 0.5 for share in shares) < 1100


def test_config(ask: Ask) -> None:
    """Config values of the right kind are given, others are the fallback."""
    config = {"s": "text ü", "i": 3, "n": 2, "b": False, "tree": [{"deep": [1]}]}
    assert ask("configured", "", config) == {
        "s": "text ü",
        "i": 3,
        "n": 2.0,
        "b": False,
        "tree": {"deep": [1]},
    }
    fallback = {"s": "fallback", "i": -77, "n": -77.5, "b": True, "tree": None}
    assert ask("configured", "", {}) == fallback
    assert ask("configured", "", {"s": 1, "i": "3", "n": "2", "b": 0, "tree": {}}) == fallback


def test_host_functions(conformance: Call) -> None:
    """Log, clock and random reach the host, random in portions that it accepts."""
    run = conformance([("use_host", "grüße".encode())])
    assert run.logs == [(level, "grüße") for level in range(4)]
    assert json.loads(run.answers[0][1]) == {
        "nanos": 1_700_000_000_123_456_789,
        "millis": 1_700_000_000_123,
        "monotonic": 42,
        "first": 0xAB,
        "last": 0xAB,
        "number": (0xABABABABABABABAB >> 11) / 2**53,
    }


def test_results(conformance: Call) -> None:
    """No answer, an empty answer and an error are three things."""
    calls = [("say_nothing", b""), ("say_empty", b""), ("failing", "nö".encode()), ("failing", b"")]
    assert conformance(calls).answers == [
        ("none", b""),
        ("bytes", b""),
        ("error", "nö".encode()),
        ("error", b""),
    ]


MINIMAL = """\
import { Response } from "@flask-plugin-host/sdk";

export { ph_abi_version, ph_alloc } from "@flask-plugin-host/sdk";

export function on_response(len: i32): i64 {
  const response = Response.read(len);
  response.setHeader("x-hello", "from wasm");
  return response.done();
}
"""


def test_small(build: Any, tmp_path: Any) -> None:
    """A plugin with one header edit is smaller than 5 kB and imports nothing."""
    source = tmp_path / "index.ts"
    source.write_text(MINIMAL)
    module = tmp_path / "minimal.wasm"
    module.write_bytes(build.compile_source(source))
    record = b"\x01\x02\0\0\0\0\0\0" + b"\0\0\0\0\xc8\0\0\0\0\0\0\0"
    run = run_guest(module, [("on_response", record)])
    edit = b"\x01\0\x07\0\x09\0\0\0x-hellofrom wasm"
    assert run.answers == [("bytes", b"\x01\x03\0\0" + edit)]
    assert run.imports == []
    assert module.stat().st_size < 5000
