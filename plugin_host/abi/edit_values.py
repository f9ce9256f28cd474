"""The names and values of edits: checked, and turned into what WSGI has (``docs/abi.md``, 5).

Every function takes the offset to blame in the BadResult that it raises for what breaks its rule;
those in `VALUES` take where the edit starts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from plugin_host.errors import BadResult
from plugin_host.message import REMOVE_HEADER, environ_key

SET_PATH, SET_QUERY, SET_METHOD, SET_BODY = 4, 5, 6, 7
SET_G, SET_CONTEXT, ANSWER, SET_STATUS = 8, 9, 10, 11

MAX_CONTEXT = 65536
MAX_G_NAME = 64
MAX_NAME, MAX_VALUE = 256, 32_768
"""Bytes of a header's name and value: many clients give up at a line of 64 KiB."""
MAX_TARGET = 16_384
"""Bytes of a path, and of a query: servers take some 8 KiB from clients, and apps rely on that."""
MAX_METHOD = 64
"""Bytes of a method: plans are kept for each that comes, and servers write it to their logs."""
MAX_HOST = 253
"""Characters of a name in the DNS."""
URLS = frozenset(("location", "content-location"))
"""Headers of responses that the framework takes apart when it sends them."""

_is_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_is_method = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Z]+").fullmatch
_is_query = re.compile(rb"[!\"$-~]*").fullmatch
_is_g_name = re.compile(rb"[A-Za-z][A-Za-z0-9_]*").fullmatch
_has_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
_G_METHODS = frozenset((b"get", b"pop", b"setdefault"))
FILES_TO_SEND = frozenset(
    (
        "x-accel-redirect",
        "x-lighttpd-send-file",
        "x-lighttpd-send-tempfile",
        "x-litespeed-location",
        "x-reproxy-file",
        "x-reproxy-url",
        "x-sendfile",
        "x-sendfile-temporary",
        "x-sendfile2",
    )
)
"""Headers by which a server in front of the app is told which of its own files to send."""
_SERVERS_OWN = FILES_TO_SEND.union(
    (
        "connection",
        "keep-alive",
        "proxy-connection",
        # PEP 3333 forbids apps these, too, and servers assert that they are not there.
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "content-length",
    )
)

HeaderName = tuple[str, str, str]
"""A header's name as the guest wrote it, in lower case, and as the environ's key."""


def header_name(name: bytes, at: int) -> HeaderName:
    """Check a header's name."""
    if len(name) > MAX_NAME:
        raise BadResult(at, f"a header name is at most {MAX_NAME} bytes long")
    if not _is_token(name):
        raise BadResult(at, "a header name is an RFC 9110 token")
    text = name.decode("ascii")
    lower = text.lower()
    # In the environ "_" and "-" are one, so both spellings are the server's.
    if lower.replace("_", "-") in _SERVERS_OWN:
        raise BadResult(at, "headers that belong to the server are left alone")
    return text, lower, environ_key(text)


def header_value(op: int, value: bytes, at: int, value_at: int) -> str:
    """Check a header edit's value; `at` is where the edit starts."""
    if op == REMOVE_HEADER:
        if value:
            raise BadResult(at + 4, "this op has no value")
        return ""
    if len(value) > MAX_VALUE:
        raise BadResult(value_at, f"a header value is at most {MAX_VALUE} bytes long")
    text = value.decode("latin-1")
    # `isprintable` is the quick way to know that nothing is wrong; it is stricter than the rule.
    if not text.isprintable() and _has_control(text):
        raise BadResult(value_at, "a header value has no control characters other than tab")
    if text.strip(" \t") != text:
        raise BadResult(value_at, "a header value neither starts nor ends with space or tab")
    return text


def check_url(value: str, value_at: int) -> None:
    """Check the value of one of `URLS`."""
    rule = "Location and Content-Location are URLs whose host and port can be read"
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
        if len(host) > MAX_HOST:  # to encode a long one takes a quarter of a second
            raise BadResult(value_at, rule)
        host.encode("idna")
    except ValueError as exc:
        raise BadResult(value_at, rule) from exc


def g_pair(name: bytes, value: bytes, at: int) -> tuple[str, str]:
    """Check a name and a value for ``flask.g``; `at` is where the name starts."""
    if len(name) > MAX_G_NAME or not _is_g_name(name):
        rule = f"an ASCII identifier of at most {MAX_G_NAME} bytes without a leading underscore"
        raise BadResult(at, "a name on g is " + rule)
    if name in _G_METHODS:
        raise BadResult(at, "the methods of g are left alone")
    try:
        return name.decode("ascii"), value.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadResult(at + len(name), "a value on g is UTF-8") from exc


def _path(value: bytes, at: int) -> str:
    if value[:1] != b"/":
        raise BadResult(at + 8, "a path starts with /")
    if len(value) > MAX_TARGET:
        raise BadResult(at + 4, f"a path is at most {MAX_TARGET} bytes long")
    return value.decode("latin-1")


def _query(value: bytes, at: int) -> str:
    if not _is_query(value):
        raise BadResult(at + 8, "a query is printable ASCII without space or #")
    if len(value) > MAX_TARGET:
        raise BadResult(at + 4, f"a query is at most {MAX_TARGET} bytes long")
    return value.decode("ascii")


def _method(value: bytes, at: int) -> str:
    if not _is_method(value):
        raise BadResult(at + 8, "a method is an RFC 9110 token in upper case")
    if len(value) > MAX_METHOD:
        raise BadResult(at + 4, f"a method is at most {MAX_METHOD} bytes long")
    return value.decode("ascii")


def _body(value: bytes, at: int) -> bytes:
    return value


def _context(value: bytes, at: int) -> bytes:
    if len(value) > MAX_CONTEXT:
        raise BadResult(at + 4, f"a context is at most {MAX_CONTEXT} bytes long")
    return value


def _status(value: bytes, at: int) -> int:
    if len(value) != 2:
        raise BadResult(at + 4, "a status is two bytes long")
    status = int.from_bytes(value, "little")
    if not 200 <= status <= 599:
        raise BadResult(at + 8, "a status is 200-599")
    return status


VALUES: dict[int, Callable[[bytes, int], str | bytes | int]] = {
    SET_PATH: _path,
    SET_QUERY: _query,
    SET_METHOD: _method,
    SET_BODY: _body,
    SET_CONTEXT: _context,
    ANSWER: _status,
    SET_STATUS: _status,
}
"""By op, for those without a name: checks a value, given it and where its edit starts."""
