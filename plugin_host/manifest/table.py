"""Reads tables of a TOML document into structs whose fields say what they allow.

The ``description`` of a field's `msgspec.Meta` is the phrase that completes "allowed: …".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from ..config import did_you_mean, show

_S = TypeVar("_S", bound=msgspec.Struct)
_INDEX = re.compile(r"at `\$\[(\d+)\]`$")


class BadKey(Exception):
    """A key, its value, or the whole text is wrong; becomes a `ManifestError`.

    :param reason: naming the dotted key and the value.
    :param remedy: what is allowed.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(reason, remedy)

    @classmethod
    def value(cls, key: str, value: object, allowed: str) -> BadKey:
        """Return the error for a wrong value."""
        return cls(f"{key} is {show(value)}", f"allowed: {allowed}")

    @classmethod
    def unknown(cls, key: str, prefix: str, known: list[str]) -> BadKey:
        """Return the error for a key that is none of the known ones."""
        hint = did_you_mean(key, known) or "the known keys are " + ", ".join(known)
        return cls(f"unknown key {show(prefix + key)}", hint)


def _metas(kind: Any) -> Iterator[msgspec.Meta]:
    for arg in get_args(kind):
        if isinstance(arg, msgspec.Meta):
            yield arg
    if get_origin(kind) is not Annotated:
        for arg in get_args(kind):
            yield from _metas(arg)


def _allowed(kind: Any) -> str:
    return next((meta.description for meta in _metas(kind) if meta.description), "")


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


@functools.cache
def _fields(struct: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Return a struct's fields; resolving their annotations takes longer than all else here."""
    return msgspec.structs.fields(struct)


def documented(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every dotted key of a struct, and of the tables in it, with what it allows."""
    for field in _fields(struct):
        if _is_table(field.type):
            yield from documented(field.type, f"{prefix}{field.encode_name}.")
        else:
            yield prefix + field.encode_name, _allowed(field.type)


def read_table(struct: type[_S], table: Any, prefix: str) -> _S:
    """Return the struct that a table describes.

    :param prefix: what comes before its keys in messages, such as ``limits.``.
    :raises BadKey: for an unknown key or a value that is not allowed.
    """
    if not isinstance(table, dict):
        raise BadKey.value(prefix.rstrip("."), table, "a table")
    fields = {field.encode_name: field for field in _fields(struct)}
    for key in table:
        if key not in fields:
            raise BadKey.unknown(key, prefix, list(fields))
    for key, field in fields.items():
        if field.required and key not in table:
            raise BadKey(f"{prefix}{key} is missing", f"allowed: {_allowed(field.type)}")
    return struct(
        **{
            fields[key].name: _read(fields[key].type, value, prefix + key)
            for key, value in table.items()
        }
    )


def _read(kind: Any, value: Any, key: str) -> Any:
    if _is_table(kind):
        return read_table(kind, value, f"{key}.")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        item = _INDEX.search(str(error))
        if item is not None:
            key, value = f"{key}[{item[1]}]", value[int(item[1])]
        raise BadKey.value(key, value, _allowed(kind)) from None
