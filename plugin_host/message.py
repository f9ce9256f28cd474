"""The HTTP message model: what a guest asks to change, and how a change is made.

Values are immutable and shared (the same result decodes to the same object); the functions change
only what the caller hands them. Text is as WSGI has it: every character is one byte (Latin-1).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote

SET_HEADER, ADD_HEADER, REMOVE_HEADER = 1, 2, 3

HeaderEdit: TypeAlias = tuple[int, str, str, str]
"""Op, name, value, key. The key is what the name is looked up by: the environ's key for a request,
the name in lower case for a response. It is worked out once, when the edit is decoded."""

BODILESS = frozenset((204, 205, 304))
"""Statuses that no body goes with."""

_OWN_KEYS = frozenset(("CONTENT_TYPE", "CONTENT_LENGTH"))
_URI_KEYS = ("RAW_URI", "REQUEST_URI")
# What the framework has routed by, and opened the session with, before a plugin is asked.
_USED_ALREADY = frozenset(("HTTP_HOST", "HTTP_COOKIE"))
# What a path may hold unquoted: RFC 3986, pchar and "/".
_PATH_SAFE = "/!$&'()*+,;=:@~"
_ends_path = re.compile(r"[?#]").split


class Answer(NamedTuple):
    """A plugin's own response; its headers are final, in order, repeated ones kept."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class RequestEdits(NamedTuple):
    """What an ``on_request`` hook asks for; None where it asks for nothing.

    :param headers: edits of the request's headers, in order.
    :param g: names and values for ``flask.g``, in order.
    :param context: bytes for the same plugin's ``on_response``.
    :param answer: ends the request when set.
    """

    headers: tuple[HeaderEdit, ...] = ()
    path: str | None = None
    query: str | None = None
    method: str | None = None
    body: bytes | None = None
    g: tuple[tuple[str, str], ...] = ()
    context: bytes | None = None
    answer: Answer | None = None

    @property
    def reroutes(self) -> bool:
        """Whether the request has to be routed afresh, or its session opened afresh."""
        moved = self.path is not None or self.method is not None
        return moved or any(edit[3] in _USED_ALREADY for edit in self.headers)


class OnlyHeaders(RequestEdits):
    """Edits of nothing but headers, and not of where the request goes: the common case."""

    __slots__ = ()


class ResponseEdits(NamedTuple):
    """What an ``on_response`` hook asks for; None where it asks for nothing."""

    headers: tuple[HeaderEdit, ...] = ()
    status: int | None = None
    body: bytes | None = None


def environ_key(name: str) -> str:
    """Return the WSGI environ's key for a header, given in any case."""
    key = name.upper().replace("-", "_")
    return key if key in _OWN_KEYS else "HTTP_" + key


def apply_to_environ(environ: dict[str, Any], edits: RequestEdits) -> None:
    """Make the environ what it were had the client sent the edited request.

    A new body is not put in place: only ``CONTENT_LENGTH`` says its length, and the caller replaces
    ``wsgi.input``. `g`, context and answer are the caller's, too.
    """
    apply_header_edits(environ, edits.headers)
    if edits.method is not None:
        environ["REQUEST_METHOD"] = edits.method
    if edits.body is not None:
        environ["CONTENT_LENGTH"] = str(len(edits.body))
        # The new body comes whole, however the client's was framed.
        environ.pop("HTTP_TRANSFER_ENCODING", None)
    if edits.path is not None or edits.query is not None:
        _apply_target(environ, edits.path, edits.query)


def apply_header_edits(environ: dict[str, Any], edits: tuple[HeaderEdit, ...]) -> None:
    """Edit a request's headers, in order."""
    for op, _, value, key in edits:
        if op == SET_HEADER:
            environ[key] = value
        elif op == ADD_HEADER:
            _add(environ, key, value)
        else:
            environ.pop(key, None)


def _add(environ: dict[str, Any], key: str, value: str) -> None:
    have = environ.get(key)
    if have:
        # Cookie is the one header whose values are not joined with a comma (RFC 9113, 8.2.3).
        value = f"{have}{'; ' if key == 'HTTP_COOKIE' else ', '}{value}"
    environ[key] = value


def _apply_target(environ: dict[str, Any], path: str | None, query: str | None) -> None:
    if path is not None:
        environ["PATH_INFO"] = path
    if query is not None:
        environ["QUERY_STRING"] = query
    for key in _URI_KEYS:
        if key in environ:
            # A path that was not edited stays as it came: "%2F" cannot be told from PATH_INFO.
            uri = _quoted_path(environ) if path is not None else _ends_path(environ[key], 1)[0]
            if environ.get("QUERY_STRING"):
                uri += "?" + environ["QUERY_STRING"]
            environ[key] = uri


def _quoted_path(environ: dict[str, Any]) -> str:
    whole = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return quote(whole, safe=_PATH_SAFE, encoding="latin-1", errors="replace")


def apply_to_headers(headers: list[tuple[str, str]], edits: ResponseEdits) -> list[tuple[str, str]]:
    """Return the edited headers, in order; *set* takes the place of the first of its name."""
    return edited_headers(headers, edits.headers)


def edited_headers(
    headers: list[tuple[str, str]], edits: tuple[HeaderEdit, ...] | list[HeaderEdit]
) -> list[tuple[str, str]]:
    """Return `headers` after `edits`, whose keys are names in lower case."""
    out = list(headers)
    # Kept beside the headers, so that a look-up is one pass in C however many edits there are.
    keys = [name.lower() for name, _ in out]
    for op, name, value, key in edits:
        if op != ADD_HEADER and key in keys:
            at = keys.index(key)
            if op == SET_HEADER:
                out[at] = (name, value)
                at += 1
            if key in keys[at:]:
                kept = [i for i, have in enumerate(keys) if i < at or have != key]
                out, keys = [out[i] for i in kept], [keys[i] for i in kept]
        elif op != REMOVE_HEADER:
            out.append((name, value))
            keys.append(key)
    return out
