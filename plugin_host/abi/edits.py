"""Decodes edit lists (``docs/abi.md``, section 5). Nothing that a guest wrote is trusted.

Guests say the same thing again and again, so a small result that was seen before costs one
dictionary look-up, and a header name that was seen before is not checked twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from struct import Struct
from typing import Any, TypeVar

from plugin_host.errors import BadResult
from plugin_host.message import (
    BODILESS,
    REMOVE_HEADER,
    Answer,
    HeaderEdit,
    RequestEdits,
    ResponseEdits,
    edited_headers,
    environ_key,
)

MAX_EDITS = 1000
MAX_CONTEXT = 65536
MAX_G_NAME = 64
DEFAULT_MAX_RESULT = 4 << 20
# What is remembered, per plugin: at most 512 results of at most 1 KiB, 512 names of 64 bytes.
_CACHED = 512
_CACHED_RESULT = 1024
_CACHED_NAME = 64

_HEAD = b"\x01\x03\x00\x00"
_edit_head = Struct("<BBHI").unpack_from

_SET_PATH, _SET_QUERY, _SET_METHOD, _SET_BODY = 4, 5, 6, 7
_SET_G, _SET_CONTEXT, _ANSWER, _SET_STATUS = 8, 9, 10, 11
_KNOWN = frozenset(range(1, 12))
_IN_REQUEST = _KNOWN - {_SET_STATUS}
_AFTER_ANSWER = frozenset((1, 2, 3, _SET_BODY, _SET_CONTEXT))
_IN_RESPONSE = frozenset((1, 2, 3, _SET_BODY, _SET_STATUS))

_is_token = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_is_method = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Z]+").fullmatch
_is_query = re.compile(rb"[!\"$-~]*").fullmatch
_is_g_name = re.compile(rb"[A-Za-z][A-Za-z0-9_]*").fullmatch
_has_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
_G_METHODS = frozenset((b"get", b"pop", b"setdefault"))
_SERVERS_OWN = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
    )
)

_INSIDE = "an edit lies wholly inside the result"
_NO_VALUE = "this op has no value"

_Name = tuple[str, str, str]
"""A header name as the guest wrote it, in lower case, and as the environ's key."""
_Section = tuple[list[HeaderEdit], dict[int, Any]]
"""Header edits in order, and by op what else was asked for; an answer starts a second section."""
_BODY_AT = 0  # in a section: where the last set-body edit starts
_T = TypeVar("_T")


class EditsDecoder:
    """Decodes one plugin's edit lists; safe to share between threads.

    :param max_result: the longest result that is accepted, in bytes.
    """

    __slots__ = ("_max", "_names", "_requests", "_responses")

    def __init__(self, max_result: int = DEFAULT_MAX_RESULT) -> None:
        self._max = max_result
        self._names: dict[bytes, _Name] = {}
        self._requests: dict[bytes, RequestEdits] = {}
        self._responses: dict[bytes, ResponseEdits] = {}

    def request(self, data: bytes) -> RequestEdits:
        """Decode what an ``on_request`` hook returned.

        :raises BadResult: when it breaks a rule.
        """
        edits = self._requests.get(data)
        if edits is None:
            edits = self._decode_request(data)
            if len(data) <= _CACHED_RESULT:
                _remember(self._requests, data, edits)
        return edits

    def response(self, data: bytes, status: int = 200) -> ResponseEdits:
        """Decode what an ``on_response`` hook returned for a response of `status`.

        :raises BadResult: when it breaks a rule.
        """
        # A body is refused or not by the response's own status, which is not in the bytes.
        if status in BODILESS:
            return self._decode_response(data, status)
        edits = self._responses.get(data)
        if edits is None:
            edits = self._decode_response(data, status)
            if len(data) <= _CACHED_RESULT:
                _remember(self._responses, data, edits)
        return edits

    def _decode_request(self, data: bytes) -> RequestEdits:
        sections = self._scan(data, _IN_REQUEST)
        headers, found = sections[0]
        if not found and len(sections) == 1:
            return RequestEdits(tuple(headers))
        context = found.get(_SET_CONTEXT)
        answer = None
        if len(sections) == 2:
            edits, asked = sections[1]
            status: int = asked[_ANSWER]
            _check_body(asked, status)
            final = tuple(edited_headers([], edits))
            answer = Answer(status, final, asked.get(_SET_BODY, b""))
            context = asked.get(_SET_CONTEXT, context)
        return RequestEdits(
            tuple(headers),
            found.get(_SET_PATH),
            found.get(_SET_QUERY),
            found.get(_SET_METHOD),
            found.get(_SET_BODY),
            tuple(found.get(_SET_G, ())),
            context,
            answer,
        )

    def _decode_response(self, data: bytes, status: int) -> ResponseEdits:
        headers, found = self._scan(data, _IN_RESPONSE)[0]
        if not found:
            return ResponseEdits(tuple(headers))
        _check_body(found, found.get(_SET_STATUS, status))
        return ResponseEdits(tuple(headers), found.get(_SET_STATUS), found.get(_SET_BODY))

    def _scan(self, data: bytes, allowed: frozenset[int]) -> list[_Section]:
        size = len(data)
        if size > self._max:
            raise BadResult(self._max, "the result is not longer than the host allows")
        if data[:4] != _HEAD:
            raise BadResult(0, "an edit list starts with version 1, kind 3 and two zero bytes")
        headers: list[HeaderEdit] = []
        found: dict[int, Any] = {}
        sections = [(headers, found)]
        which = 2 if allowed is _IN_REQUEST else 1
        names = self._names
        at, left = 4, MAX_EDITS
        while at < size:
            if not left:
                raise BadResult(at, f"a list has at most {MAX_EDITS} edits")
            left -= 1
            if size - at < 8:
                raise BadResult(at, _INSIDE)
            op, reserved, name_len, value_len = _edit_head(data, at)
            value_at = at + 8 + name_len
            end = value_at + value_len
            if end > size or reserved or op not in allowed:
                raise _frame_error(data, at, allowed)
            if op <= REMOVE_HEADER:
                name = data[at + 8 : value_at]
                known = names.get(name) or self._name(name, at + 8)
                value = _header_value(op, data[value_at:end], at, value_at)
                headers.append((op, known[0], value, known[which]))
            elif op == _SET_G:
                pair = _g_pair(data[at + 8 : value_at], data[value_at:end], at + 8)
                found.setdefault(_SET_G, []).append(pair)
            elif name_len:
                raise BadResult(at + 2, "this op has no name")
            else:
                value = _VALUES[op](data[value_at:end], at)
                if op == _ANSWER:
                    headers, found, allowed, which = [], {}, _AFTER_ANSWER, 1
                    sections.append((headers, found))
                elif op == _SET_BODY:
                    found[_BODY_AT] = at
                found[op] = value
            at = end
        return sections

    def _name(self, name: bytes, at: int) -> _Name:
        if not _is_token(name):
            raise BadResult(at, "a header name is an RFC 9110 token")
        text = name.decode("ascii")
        lower = text.lower()
        # In the environ "_" and "-" are one, so both spellings are the server's.
        if lower.replace("_", "-") in _SERVERS_OWN:
            raise BadResult(at, "headers that belong to the server are left alone")
        known = (text, lower, environ_key(text))
        if len(name) <= _CACHED_NAME:
            _remember(self._names, name, known)
        return known


def _remember(cache: dict[bytes, _T], key: bytes, value: _T) -> None:
    # Bounded by clearing: an entry costs little to make again, and needs no order kept.
    if len(cache) >= _CACHED:
        cache.clear()
    cache[key] = value


def _frame_error(data: bytes, at: int, allowed: frozenset[int]) -> BadResult:
    op, reserved, name_len, value_len = _edit_head(data, at)
    room = len(data) - at - 8
    if name_len > room:
        return BadResult(at + 2, _INSIDE)
    if name_len + value_len > room:
        return BadResult(at + 4, _INSIDE)
    if reserved:
        return BadResult(at + 1, "reserved bytes are 0")
    known = "the op is allowed at this place" if op in _KNOWN else "the op is known"
    return BadResult(at, known)


def _header_value(op: int, value: bytes, at: int, value_at: int) -> str:
    if op == REMOVE_HEADER:
        if value:
            raise BadResult(at + 4, _NO_VALUE)
        return ""
    text = value.decode("latin-1")
    # `isprintable` is the quick way to know that nothing is wrong; it is stricter than the rule.
    if not text.isprintable() and _has_control(text):
        raise BadResult(value_at, "a header value has no control characters other than tab")
    if text.strip(" \t") != text:
        raise BadResult(value_at, "a header value neither starts nor ends with space or tab")
    return text


def _g_pair(name: bytes, value: bytes, at: int) -> tuple[str, str]:
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
    return value.decode("latin-1")


def _query(value: bytes, at: int) -> str:
    if not _is_query(value):
        raise BadResult(at + 8, "a query is printable ASCII without space or #")
    return value.decode("ascii")


def _method(value: bytes, at: int) -> str:
    if not _is_method(value):
        raise BadResult(at + 8, "a method is an RFC 9110 token in upper case")
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


_VALUES: dict[int, Callable[[bytes, int], str | bytes | int]] = {
    _SET_PATH: _path,
    _SET_QUERY: _query,
    _SET_METHOD: _method,
    _SET_BODY: _body,
    _SET_CONTEXT: _context,
    _ANSWER: _status,
    _SET_STATUS: _status,
}
"""For ops without a name: checks and converts a value, given it and where its edit starts."""


def _check_body(found: dict[int, Any], status: int) -> None:
    if status in BODILESS and found.get(_SET_BODY):
        raise BadResult(found[_BODY_AT], "a body does not go with status 204, 205 or 304")
