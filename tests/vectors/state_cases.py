"""The cases of ``state.json``: several keys or values as one run of bytes."""

from __future__ import annotations

from typing import Any

from abi_reference import pack_field, pack_items, pack_keys, pack_page, pack_values

Case = dict[str, Any]

#: What makes a case's bytes, by what it is, and of which of its members.
PACKERS = {
    "keys": (pack_keys, "keys"),
    "items": (pack_items, "items"),
    "values": (pack_values, "values"),
    "page": (pack_page, "cursor", "entries"),
    "field": (pack_field, "error", "items"),
}
LONG = b"k" * 512
UMLAUT = "stück/ä€😀".encode()


def encoded(case: Case) -> bytes:
    """A case's bytes."""
    pack, *members = PACKERS[case["what"]]
    data: bytes = pack(*[case[member] for member in members])
    return data


def cases() -> list[Case]:
    """All of them."""

    def keys(name: str, *keys: bytes) -> Case:
        return {"name": f"keys: {name}", "what": "keys", "keys": list(keys)}

    def items(name: str, *items: tuple[bytes, bytes]) -> Case:
        return {"name": f"items: {name}", "what": "items", "items": list(items)}

    def values(name: str, *values: bytes | None) -> Case:
        return {"name": f"values: {name}", "what": "values", "values": list(values)}

    def page(name: str, cursor: bytes, *entries: tuple[bytes, int, int | None]) -> Case:
        return {"name": f"page: {name}", "what": "page", "cursor": cursor, "entries": list(entries)}

    def field(name: str, error: int, *items: tuple[bytes, bytes | None]) -> Case:
        return {"name": f"field: {name}", "what": "field", "error": error, "items": list(items)}

    return [
        keys("none"),
        keys("one", b"k"),
        keys("several, one twice", b"a", b"bc", UMLAUT, b"a"),
        keys("the longest", LONG),
        keys("bytes that are no text", b"\0", b"\xff\xfe"),
        items("none"),
        items("one", (b"k", b"value")),
        items("an empty value", (b"k", b""), (b"l", b"v")),
        items("text", (UMLAUT, "größe".encode())),
        items("bytes that are no text", (b"\xff", bytes(range(256)))),
        items("a long value", (b"k", b"v" * 5000)),
        values("none"),
        values("one", b"value"),
        values("empty is not absent", b"", None, b"x", None),
        values("text", "größe".encode()),
        values("a long value", b"v" * 5000, None),
        page("none", b""),
        page("the last", b"", (b"a", 1, None), (UMLAUT, 0, 60_000)),
        page("one that goes on", b"cursor\0\xff", (LONG, 262_144, 1)),
        field("nothing is there", 0, (b"k", None)),
        field("values", 0, (b"a", b"1"), (UMLAUT, b""), (b"b", None), (b"ab", "ö".encode())),
        field("a store that is away", -2),
    ]
