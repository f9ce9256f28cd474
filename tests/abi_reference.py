"""A second implementation of the wire format, written from ``docs/abi.md`` alone.

The golden vectors and the round-trip tests are built with it, so that a mistake has to be made
twice to go unseen. It is plain rather than fast, and shares no code with ``plugin_host``.
"""

from __future__ import annotations

import struct
from typing import Any

ABSENT = 0xFFFFFFFF
REQUEST, RESPONSE = 1, 2
BODY, BODY_OMITTED = 1, 2

OPS = {
    "set_header": 1,
    "add_header": 2,
    "remove_header": 3,
    "set_path": 4,
    "set_query": 5,
    "set_method": 6,
    "set_body": 7,
    "set_g": 8,
    "set_context": 9,
    "answer": 10,
    "set_status": 11,
}

Field = tuple[bytes, bytes | None]
Edit = dict[str, Any]
"""``op`` and, as the op has them, ``name`` (str), ``value`` (bytes), ``status`` (int)."""


def u8(number: int) -> bytes:
    return struct.pack("<B", number)


def u16(number: int) -> bytes:
    return struct.pack("<H", number)


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def encode_record(
    kind: int, fields: list[Field], flags: int = 0, status: int = 0, body: bytes = b""
) -> bytes:
    """Section 4, line by line."""
    out = u8(1) + u8(kind) + u16(len(fields))
    names = b"".join(name for name, _ in fields)
    while len(names) % 4:
        names += b"\0"
    out += u32(len(names))
    for name, _ in fields:
        out += u32(len(name))
    out += names
    out += u32(flags) + u32(status) + u32(len(body))
    for _, value in fields:
        out += u32(ABSENT if value is None else len(value))
    for _, value in fields:
        out += value or b""
    return out + body


def decode_record(data: bytes) -> dict[str, Any]:
    """Take a record apart; asserts that every size fits."""

    def read(at: int) -> int:
        return int.from_bytes(data[at : at + 4], "little")

    assert data[0] == 1
    count = int.from_bytes(data[2:4], "little")
    names_size = read(4)
    assert names_size % 4 == 0
    at = 8 + 4 * count
    names = []
    for index in range(count):
        size = read(8 + 4 * index)
        names.append(data[at : at + size])
        at += size
    table = 8 + 4 * count + names_size
    assert 0 <= table - at < 4
    assert data[at:table] == b"\0" * (table - at)
    at = table + 12 + 4 * count
    fields: list[Field] = []
    for index, name in enumerate(names):
        size = read(table + 12 + 4 * index)
        if size == ABSENT:
            fields.append((name, None))
        else:
            fields.append((name, data[at : at + size]))
            at += size
    assert len(data) == at + read(table + 8)
    return {
        "kind": data[1],
        "fields": fields,
        "flags": read(table),
        "status": read(table + 4),
        "body": data[at:],
    }


def raw_edit(
    op: int,
    name: bytes = b"",
    value: bytes = b"",
    reserved: int = 0,
    name_len: int | None = None,
    value_len: int | None = None,
) -> bytes:
    """One edit; the last three arguments are there to make it wrong."""
    return (
        u8(op)
        + u8(reserved)
        + u16(len(name) if name_len is None else name_len)
        + u32(len(value) if value_len is None else value_len)
        + name
        + value
    )


def encode_edit(edit: Edit) -> bytes:
    value = edit.get("value", b"")
    if "status" in edit:
        value = u16(edit["status"])
    return raw_edit(OPS[edit["op"]], edit.get("name", "").encode(), value)


HEADER = u8(1) + u8(3) + u16(0)


def encode_edits(edits: list[Edit]) -> bytes:
    """Section 5: the head, then the edits back to back."""
    return HEADER + b"".join(encode_edit(edit) for edit in edits)


def answer_header(headers: list[tuple[str, bytes]], edit: Edit) -> None:
    """Apply a header edit to an answer's headers: *set* takes the place of the first."""
    name, value = edit["name"], edit.get("value", b"")
    same = [index for index, (have, _) in enumerate(headers) if have.lower() == name.lower()]
    if edit["op"] == "add_header" or (edit["op"] == "set_header" and not same):
        headers.append((name, value))
        return
    if edit["op"] == "set_header":
        headers[same.pop(0)] = (name, value)
    for index in reversed(same):
        del headers[index]


def effect(edits: list[Edit]) -> dict[str, Any]:
    """What a list of edits asks for, in the shape of ``effect`` in ``edits.json``."""
    out: dict[str, Any] = {"headers": []}
    answer: dict[str, Any] | None = None
    for edit in edits:
        op, value = edit["op"], edit.get("value", b"")
        if op == "answer":
            answer = out["answer"] = {"status": edit["status"], "headers": [], "body": b""}
        elif op == "set_status":
            out["status"] = edit["status"]
        elif op.endswith("_header"):
            if answer is not None:
                answer_header(answer["headers"], edit)
            else:
                out["headers"].append((op.removesuffix("_header"), edit["name"], value))
        elif op == "set_g":
            out.setdefault("g", []).append((edit["name"], value))
        elif op == "set_body" and answer is not None:
            answer["body"] = value
        else:
            out[op.removeprefix("set_")] = value
    return out


def sized(data: bytes | None) -> bytes:
    """A length, which may be that of nothing."""
    return u32(ABSENT if data is None else len(data))


def pack_keys(keys: list[bytes]) -> bytes:
    """Section 7, "Packed keys and values"."""
    return b"".join(sized(key) + key for key in keys)


def pack_values(values: list[bytes | None]) -> bytes:
    """The same for values."""
    return b"".join(sized(value) + (value or b"") for value in values)


def pack_items(items: list[tuple[bytes, bytes | None]]) -> bytes:
    """The same for keys with their values."""
    return b"".join(sized(key) + sized(value) + key + (value or b"") for key, value in items)


def pack_page(cursor: bytes, entries: list[tuple[bytes, int, int | None]]) -> bytes:
    """The same for a page of a list."""
    out = sized(cursor) + cursor
    for key, size, left in entries:
        out += sized(key) + u32(size) + struct.pack("<q", 2**63 - 1 if left is None else left) + key
    return out


def pack_field(error: int, items: list[tuple[bytes, bytes | None]]) -> bytes:
    """Section 7, "Keys read beforehand"."""
    return struct.pack("<i", error) + pack_items(items)
