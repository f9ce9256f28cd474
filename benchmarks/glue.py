"""What a careful engineer writes around a peer: environ to plain values, edits to environ.

It is as fast as plain Python allows (cached names, no web framework), so that no peer is measured
by slow glue.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

from benchmarks.works import Environ


class _FieldNames(dict[str, str]):
    """``HTTP_ACCEPT_LANGUAGE`` to ``accept-language``, remembered."""

    def __missing__(self, key: str) -> str:
        name = self[key] = key[5:].replace("_", "-").lower()
        return name


class _EnvironKeys(dict[str, str]):
    """``accept-language`` to ``HTTP_ACCEPT_LANGUAGE``, remembered."""

    def __missing__(self, name: str) -> str:
        key = self[name] = "HTTP_" + name.upper().replace("-", "_")
        return key


_field_names = _FieldNames()
_environ_keys = _EnvironKeys()


def headers(environ: Environ) -> dict[str, str]:
    """All request headers, names in lower case."""
    names = _field_names
    return {names[key]: value for key, value in environ.items() if key.startswith("HTTP_")}


def read_body(environ: Environ) -> bytes:
    """The request's body, empty when there is none."""
    length = environ.get("CONTENT_LENGTH")
    return environ["wsgi.input"].read(int(length)) if length else b""


def request(environ: Environ) -> dict[str, Any]:
    """The request as plain values; the body is text, for JSON has no bytes."""
    values: dict[str, Any] = {
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "query": environ["QUERY_STRING"],
        "headers": headers(environ),
    }
    body = read_body(environ)
    if body:
        values["body"] = body.decode()
    return values


def set_header(environ: Environ, name: str, value: str) -> None:
    """Set one request header."""
    environ[_environ_keys[name]] = value


def set_body(environ: Environ, body: bytes) -> None:
    """Replace the request's body."""
    environ["wsgi.input"] = BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))


def apply_answer(environ: Environ, answer: dict[str, Any]) -> Environ:
    """Apply ``{"set": {name: value}, "body": text}``, and return the environ."""
    for name, value in answer["set"].items():
        set_header(environ, name, value)
    body = answer.get("body")
    if body is not None:
        set_body(environ, body.encode())
    return environ


_EDIT = struct.Struct("<BBHI")


def apply_edit_list(environ: Environ, edits: bytes) -> Environ:
    """Apply an edit list (set header and set body), unchecked, and return the environ."""
    at, end = 4, len(edits)
    while at < end:
        op, _, name_len, value_len = _EDIT.unpack_from(edits, at)
        at += 8
        name, value = edits[at : at + name_len], edits[at + name_len : at + name_len + value_len]
        at += name_len + value_len
        if op == 1:
            set_header(environ, name.decode("latin-1"), value.decode("latin-1"))
        else:
            set_body(environ, value)
    return environ
