"""The host and the reference agree with the golden vectors, byte for byte."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import abi_reference as reference
import pytest

from plugin_host.abi import edit_values, edits
from plugin_host.abi.native import EditsDecoder, RequestEncoder, ResponseEncoder
from plugin_host.errors import BadResult
from plugin_host.hostfunctions import state_packing as packing
from plugin_host.message import RequestEdits, ResponseEdits, environ_key
from plugin_host.state import Entry, Page

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
OP_NAMES = {"set": 1, "add": 2, "remove": 3}


def load(file: str) -> list[Any]:
    vectors = json.loads((VECTORS / file).read_text("ascii"))["vectors"]
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


def unblob(blob: Any) -> bytes:
    if isinstance(blob, str):
        return bytes.fromhex(blob)
    parts = [
        bytes.fromhex(part)
        if isinstance(part, str)
        else bytes.fromhex(part["repeat"]) * part["count"]
        for part in blob
    ]
    return b"".join(parts)


def optional(blob: Any) -> bytes | None:
    return None if blob is None else unblob(blob)


def text(blob: Any) -> str | None:
    return None if blob is None else unblob(blob).decode("latin-1")


def needed(headers: Any) -> Any:
    return True if headers is True else tuple(headers)


def encoded_by_host(vector: dict[str, Any]) -> list[bytes]:
    """The record, twice: without and with what the first time left in a cache."""
    host, body, flags = vector["host"], unblob(vector["body"]), vector["flags"]
    if vector["kind"] == "request":
        request = RequestEncoder(tuple(host["fields"]), needed(host["headers"]))
        route = host.get("endpoint"), host.get("args")
        return [request.encode(host["environ"], *route, body, flags) for _ in range(2)]
    response = ResponseEncoder(needed(host["headers"]), host["context"])
    given = [(name, value) for name, value in host["given"]]
    context = optional(host["context_value"])
    return [response.encode(vector["status"], given, context, body, flags) for _ in range(2)]


@pytest.mark.parametrize("vector", load("records.json"))
def test_record_bytes_are_whole(vector: dict[str, Any]) -> None:
    """A vector's bytes have its length and digest, and decode to its fields."""
    data = unblob(vector["bytes"])
    assert vector["length"] == len(data)
    assert vector["sha256"] == hashlib.sha256(data).hexdigest()
    assert reference.decode_record(data) == {
        "kind": {"request": 1, "response": 2}[vector["kind"]],
        "fields": [(name.encode(), optional(value)) for name, value in vector["fields"]],
        "flags": vector["flags"],
        "status": vector["status"],
        "body": unblob(vector["body"]),
    }


@pytest.mark.parametrize(
    "vector", [param for param in load("records.json") if "host" in param.values[0]]
)
def test_host_encodes_record(vector: dict[str, Any]) -> None:
    """The host makes a vector's record, byte for byte, whether or not it knows the shape."""
    assert [unblob(vector["bytes"])] * 2 == encoded_by_host(vector)


def expected_edits(vector: dict[str, Any]) -> RequestEdits | ResponseEdits:
    effect = vector["effect"]
    request = vector["hook"] == "on_request"
    headers = tuple(
        (OP_NAMES[op], name, text(value) or "", environ_key(name) if request else name.lower())
        for op, name, value in effect["headers"]
    )
    if not request:
        return ResponseEdits(headers, effect.get("status"), optional(effect.get("body")))
    answer = effect.get("answer")
    if answer is not None:
        answer = (
            answer["status"],
            tuple((name, text(value)) for name, value in answer["headers"]),
            unblob(answer["body"]),
        )
    return RequestEdits(
        headers,
        text(effect.get("path")),
        text(effect.get("query")),
        text(effect.get("method")),
        optional(effect.get("body")),
        tuple((name, unblob(value).decode()) for name, value in effect.get("g", [])),
        optional(effect.get("context")),
        answer,
    )


def decoded_by_host(decoder: EditsDecoder, vector: dict[str, Any]) -> RequestEdits | ResponseEdits:
    data = unblob(vector["bytes"])
    if vector["hook"] == "on_request":
        return decoder.request(data)
    return decoder.response(data)


@pytest.mark.parametrize("vector", load("edits.json"))
def test_host_decodes_edits(vector: dict[str, Any]) -> None:
    """The host understands a vector's edit list, whether or not it has seen it before."""
    decoder = EditsDecoder()
    expected = expected_edits(vector)
    assert [expected] * 2 == [decoded_by_host(decoder, vector) for _ in range(2)]
    assert isinstance(decoded_by_host(decoder, vector), type(expected))


@pytest.mark.parametrize("vector", load("malformed.json"))
def test_host_refuses_malformed(vector: dict[str, Any]) -> None:
    """The host refuses a malformed list at the vector's offset, for its rule, every time."""
    decoder = EditsDecoder(vector.get("max_result", 1 << 20))
    for _ in range(2):
        with pytest.raises(BadResult) as caught:
            decoded_by_host(decoder, vector)
        assert (vector["offset"], vector["rule"]) == (caught.value.offset, caught.value.rule)


def pairs(vector: dict[str, Any]) -> list[tuple[bytes, bytes | None]]:
    return [(unblob(key), optional(value)) for key, value in vector["items"]]


def packed_by_host(vector: dict[str, Any]) -> bytes:
    """What the host passes to guests."""
    if vector["what"] == "values":
        return packing.pack_values(map(optional, vector["values"]))
    if vector["what"] == "field":
        keys, values = zip(*pairs(vector), strict=True) if vector["items"] else ((), ())
        return packing.pack_field(vector["error"], keys, values)
    entries = tuple(
        Entry(unblob(key), size, None if left is None else left / 1000)
        for key, size, left in vector["entries"]
    )
    return packing.pack_page(Page(entries, unblob(vector["cursor"])))


@pytest.mark.parametrize("vector", load("state.json"))
def test_host_packs_and_unpacks_state(vector: dict[str, Any]) -> None:
    """The host takes apart what guests pass, and makes what they get, byte for byte."""
    data = unblob(vector["bytes"])
    assert (len(data), hashlib.sha256(data).hexdigest()) == (vector["length"], vector["sha256"])
    if vector["what"] == "keys":
        assert list(packing.unpack_keys(data)) == [unblob(key) for key in vector["keys"]]
    elif vector["what"] == "items":
        assert list(packing.unpack_items(data)) == pairs(vector)
    else:
        assert packed_by_host(vector) == data


@pytest.mark.parametrize("file", ["records.json", "edits.json", "malformed.json", "state.json"])
def test_names_are_unique(file: str) -> None:
    """Every vector of a file has its own name."""
    names = [param.id for param in load(file)]
    assert sorted(set(names)) == sorted(names)


def test_every_op_has_a_vector() -> None:
    """Each op is used by a good list."""
    ops = {edit["op"] for param in load("edits.json") for edit in param.values[0]["edits"]}
    assert set(reference.OPS) == ops


@pytest.mark.parametrize("module", [edits, edit_values])
def test_every_rule_has_a_vector(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place where the host refuses a list is reached by a malformed vector."""
    tree = ast.parse(Path(module.__file__ or "").read_text("utf-8"))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    places = {n.lineno for n in calls if isinstance(n.func, ast.Name) and n.func.id == "BadResult"}
    reached = set()

    def noted(offset: int, rule: str) -> BadResult:
        reached.add(sys._getframe(1).f_lineno)
        return BadResult(offset, rule)

    monkeypatch.setattr(module, "BadResult", noted)
    for param in load("malformed.json"):
        vector = param.values[0]
        with pytest.raises(BadResult):
            decoded_by_host(EditsDecoder(vector.get("max_result", 1 << 20)), vector)
    assert places == reached


def test_vectors_are_up_to_date() -> None:
    """The files are what their generator writes."""
    spec = importlib.util.spec_from_file_location("vectors_generate", VECTORS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(VECTORS))
    try:
        spec.loader.exec_module(generate)
    finally:
        sys.path.remove(str(VECTORS))
    expected = generate.files()
    assert expected == {name: (VECTORS / name).read_text("ascii") for name in expected}
