"""The AssemblyScript SDK against the golden vectors of the ABI."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from .conftest import Answer, Call

pytestmark = pytest.mark.node

VECTORS = Path(__file__).resolve().parents[1] / "vectors"

Vector = dict[str, Any]


def load(name: str) -> list[Vector]:
    vectors: list[Vector] = json.loads((VECTORS / name).read_text())["vectors"]
    return vectors


def unhex(value: str | list[Any]) -> bytes:
    """Bytes of a byte string as `tests/vectors/README.md` defines it."""
    if isinstance(value, str):
        return bytes.fromhex(value)
    return b"".join(
        bytes.fromhex(part)
        if isinstance(part, str)
        else bytes.fromhex(part["repeat"]) * part["count"]
        for part in value
    )


RECORDS, EDITS = load("records.json"), load("edits.json")


def record(kind: str, body: bytes = b"", status: int = 0, **fields: bytes) -> bytes:
    """A record; ``_`` in a name stands for ``-``, and a leading one for ``:``."""
    names = [(":" + k[1:] if k[0] == "_" else k).replace("_", "-").encode() for k in fields]
    joined = b"".join(names)
    joined += bytes(-len(joined) % 4)
    count = len(names)
    head = struct.pack("<BBHI", 1, 1 if kind == "request" else 2, count, len(joined))
    head += struct.pack(f"<{count}I", *map(len, names)) + joined
    head += struct.pack("<III", 1, status, len(body))
    head += struct.pack(f"<{count}I", *map(len, fields.values()))
    return head + b"".join(fields.values()) + body


def script(vector: Vector) -> bytes:
    """The record whose body tells the guest which edits to make."""
    ops = json.loads((VECTORS / "edits.json").read_text())["ops"]
    body = b""
    for edit in vector["edits"]:
        name = edit.get("name", "").encode()
        status = edit.get("status")
        value = unhex(edit.get("value", "")) if status is None else struct.pack("<H", status)
        body += struct.pack("<BBHI", ops[edit["op"]], 0, len(name), len(value)) + name + value
    kind = vector["hook"].removeprefix("on_")
    return record(kind, body, 0 if kind == "request" else 200)


@pytest.fixture(scope="module")
def rebuilt(conformance: Call) -> dict[str, Answer]:
    calls = [(f"rebuild_{v['kind']}", unhex(v["bytes"])) for v in RECORDS]
    return dict(zip([v["name"] for v in RECORDS], conformance(calls).answers, strict=True))


@pytest.fixture(scope="module")
def edited(conformance: Call) -> dict[str, Answer]:
    calls = [(v["hook"].replace("on_", "edit_"), script(v)) for v in EDITS]
    return dict(zip([v["name"] for v in EDITS], conformance(calls).answers, strict=True))


@pytest.mark.parametrize("vector", RECORDS, ids=lambda v: v["name"])
def test_record(rebuilt: dict[str, Answer], vector: Vector) -> None:
    """What the SDK reads from a record, laid out again, is the record."""
    assert rebuilt[vector["name"]] == ("bytes", unhex(vector["bytes"]))


@pytest.mark.parametrize("vector", EDITS, ids=lambda v: v["name"])
def test_edits(edited: dict[str, Answer], vector: Vector) -> None:
    """Edits made through the SDK are the vector's bytes; none at all are "unchanged"."""
    expected = ("bytes", unhex(vector["bytes"])) if vector["edits"] else ("none", b"")
    assert edited[vector["name"]] == expected


FIELDS = {
    "_method": b"POST",
    "_scheme": b"https",
    "_host": b"shop.example",
    "_path": "/käse".encode(),
    "_query": b"a=1&q=x+y%26%C3%BC&q=second",
    "_remote": b"192.0.2.7",
    "_protocol": b"HTTP/1.1",
    "_endpoint": b"shop.flash_buy",
    "_args": b"sku=red%20mug",
    "_cookies": b'theme=dark; user="ann"; user=bob',
    "x_user": b"\xffann",
}


DESCRIBED: dict[str, Any] = {
    "method": "POST",
    "scheme": "https",
    "host": "shop.example",
    "path": "/käse",
    "query": "a=1&q=x+y%26%C3%BC&q=second",
    "remote": "192.0.2.7",
    "protocol": "HTTP/1.1",
    "endpoint": "shop.flash_buy",
    "cookies": 'theme=dark; user="ann"; user=bob',
    "path view": True,
    "arg sku": "red mug",
    "query q": "x y&ü",
    "form f": "a b",
    "cookie user": "ann",
    "X-USER": "\ufffdann",
    "has x-user": True,
    "x-user view": "\ufffdann",
}


def test_request_getters(ask: Any, conformance: Call) -> None:
    """Every getter and look-up of a request finds its field, whatever the fields' order."""
    backwards = dict(reversed(FIELDS.items()))
    calls = [
        ("describe_request", record("request", b"e=&f=a+b", **fields))
        for fields in (FIELDS, backwards)
    ]
    answers = [json.loads(data) for _, data in conformance(calls).answers]
    assert answers == [DESCRIBED, DESCRIBED]


def test_request_without_fields(conformance: Call) -> None:
    """Without a field a getter is empty and a look-up null."""
    ((_, data),) = conformance([("describe_request", record("request"))]).answers
    looked_up = {"arg sku", "query q", "form f", "cookie user", "X-USER"}
    expected: dict[str, Any] = {key: None if key in looked_up else "" for key in DESCRIBED}
    expected |= {"has x-user": False, "path view": True}
    assert json.loads(data) == expected


@pytest.mark.parametrize(
    ("content_type", "is_json"),
    [
        (b"application/json", True),
        (b"Application/JSON ; charset=utf-8", True),
        (b"application/problem+json", True),
        (b"text/html; x=application/json", False),
        (b"application/jsonp", False),
        (b"", False),
    ],
)
def test_response_getters(conformance: Call, content_type: bytes, is_json: bool) -> None:
    """A response tells its status, context, body, and whether it is JSON."""
    data = record("response", b"hi", 201, content_type=content_type, _context=b"kept")
    ((_, answer),) = conformance([("describe_response", data)]).answers
    assert json.loads(answer) == {
        "status": 201,
        "json": is_json,
        "context": "kept",
        "text": "hi",
        "cookies": [],
    }


def test_repeated_headers(conformance: Call) -> None:
    """`headers` gives every value of a repeated header, in order."""
    vector = next(v for v in RECORDS if v["name"] == "response: repeated Set-Cookie")
    ((_, answer),) = conformance([("describe_response", unhex(vector["bytes"]))]).answers
    expected = [unhex(value).decode() for name, value in vector["fields"] if name == "set-cookie"]
    assert json.loads(answer)["cookies"] == expected
    assert len(expected) > 1


def edit(op: int, name: bytes, value: bytes) -> bytes:
    return struct.pack("<BBHI", op, 0, len(name), len(value)) + name + value


HEAD = struct.pack("<BBH", 1, 3, 0)


def test_answers(conformance: Call) -> None:
    """`answer` and `answerJson` set status, content type and body."""
    text, jsonic = conformance(
        [("answer_text", record("request")), ("answer_json", record("request"))]
    ).answers
    assert text == (
        "bytes",
        HEAD
        + edit(10, b"", struct.pack("<H", 403))
        + edit(1, b"content-type", b"text/plain; charset=utf-8")
        + edit(7, b"", "nö\n".encode()),
    )
    assert jsonic == (
        "bytes",
        HEAD
        + edit(10, b"", struct.pack("<H", 409))
        + edit(1, b"content-type", b"application/json")
        + edit(7, b"", b'{"error":"sold out"}'),
    )


def test_json_body(conformance: Call) -> None:
    """`setBodyJson` writes the tree with its length, also when edits follow."""
    ((kind, data),) = conformance([("body_json", record("response", b'{"a": [1]}', 200))]).answers
    expected = edit(7, b"", b'{"a":[1],"seen":1}') + edit(1, b"x-after", b"1")
    assert (kind, data) == ("bytes", HEAD + expected)


def test_no_edits(conformance: Call) -> None:
    """A hook that edits nothing returns 0, also after one that did."""
    answers = conformance(
        [("answer_text", record("request")), ("touch_nothing", record("request"))]
    ).answers
    assert answers[1] == ("none", b"")


@pytest.mark.parametrize("first_byte", [0, 2, 255])
def test_other_version(conformance: Call, first_byte: int) -> None:
    """A record of another version is a trap, not a misreading."""
    data = bytes([first_byte]) + record("request")[1:]
    assert conformance([("rebuild_request", data)]).answers[0][0] == "trap"
