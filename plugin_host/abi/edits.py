"""Decodes edit lists (``docs/abi.md``, section 5). Nothing that a guest wrote is trusted.

Guests say the same thing again and again, so a small result that was seen before costs one
dictionary look-up, and a header name that was seen before is not checked twice.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, TypeVar

from plugin_host.abi.edit_values import (
    ANSWER,
    SET_BODY,
    SET_CONTEXT,
    SET_G,
    SET_METHOD,
    SET_PATH,
    SET_QUERY,
    SET_STATUS,
    URLS,
    VALUES,
    HeaderName,
    check_url,
    g_pair,
    header_name,
    header_value,
)
from plugin_host.errors import BadResult
from plugin_host.message import (
    BODILESS,
    REMOVE_HEADER,
    Answer,
    HeaderEdit,
    OnlyHeaders,
    RequestEdits,
    ResponseEdits,
    edited_headers,
)

MAX_EDITS = 1000
MAX_HEADERS = 131_072
"""Bytes of the names and values of all headers of a list: what is set goes into the record of every
plugin after it, and what is added to one header is joined again and again."""
DEFAULT_MAX_RESULT = 4 << 20
# What is remembered, per plugin: at most 512 results of at most 1 KiB, 512 names of 64 bytes.
_CACHED = 512
_CACHED_RESULT = 1024
_CACHED_NAME = 64

_HEAD = b"\x01\x03\x00\x00"
_edit_head = Struct("<BBHI").unpack_from

_KNOWN = frozenset(range(1, 12))
_IN_REQUEST = _KNOWN - {SET_STATUS}
_AFTER_ANSWER = frozenset((1, 2, 3, SET_BODY, SET_CONTEXT))
_IN_RESPONSE = frozenset((1, 2, 3, SET_BODY, SET_STATUS))

_INSIDE = "an edit lies wholly inside the result"

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
        self._names: dict[bytes, HeaderName] = {}
        self._requests: dict[bytes, RequestEdits] = {}
        self._responses: dict[bytes, ResponseEdits] = {}

    def request(self, data: bytes) -> RequestEdits:
        """Decode what an ``on_request`` hook returned.

        :raises BadResult: when it breaks a rule.
        """
        if len(data) > _CACHED_RESULT:
            return self._decode_request(data)
        edits = self._requests.get(data)
        if edits is None:
            edits = self._decode_request(data)
            _remember(self._requests, data, edits)
        return edits

    def response(self, data: bytes) -> ResponseEdits:
        """Decode what an ``on_response`` hook returned.

        :raises BadResult: when it breaks a rule.
        """
        if len(data) > _CACHED_RESULT:
            return self._decode_response(data)
        edits = self._responses.get(data)
        if edits is None:
            edits = self._decode_response(data)
            _remember(self._responses, data, edits)
        return edits

    def _decode_request(self, data: bytes) -> RequestEdits:
        sections = self._scan(data, _IN_REQUEST)
        headers, found = sections[0]
        if not found and len(sections) == 1:
            only = OnlyHeaders(tuple(headers))
            return RequestEdits(*only) if only.reroutes else only
        context = found.get(SET_CONTEXT)
        answer = None
        if len(sections) == 2:
            edits, asked = sections[1]
            status: int = asked[ANSWER]
            _check_body(asked, status)
            final = tuple(edited_headers([], edits))
            answer = Answer(status, final, asked.get(SET_BODY, b""))
            context = asked.get(SET_CONTEXT, context)
        return RequestEdits(
            tuple(headers),
            found.get(SET_PATH),
            found.get(SET_QUERY),
            found.get(SET_METHOD),
            found.get(SET_BODY),
            tuple(found.get(SET_G, ())),
            context,
            answer,
        )

    def _decode_response(self, data: bytes) -> ResponseEdits:
        headers, found = self._scan(data, _IN_RESPONSE)[0]
        if not found:
            return ResponseEdits(tuple(headers))
        _check_body(found, found.get(SET_STATUS, 200))
        return ResponseEdits(tuple(headers), found.get(SET_STATUS), found.get(SET_BODY))

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
                value = header_value(op, data[value_at:end], at, value_at)
                if which == 1 and known[1] in URLS:
                    check_url(value, value_at)
                headers.append((op, known[0], value, known[which]))
            elif op == SET_G:
                pair = g_pair(data[at + 8 : value_at], data[value_at:end], at + 8)
                found.setdefault(SET_G, []).append(pair)
            elif name_len:
                raise BadResult(at + 2, "this op has no name")
            else:
                checked = VALUES[op](data[value_at:end], at)
                if op == ANSWER:
                    headers, found, allowed, which = [], {}, _AFTER_ANSWER, 1
                    sections.append((headers, found))
                elif op == SET_BODY:
                    found[_BODY_AT] = at
                found[op] = checked
            at = end
        if size > MAX_HEADERS and sum(map(_header_bytes, sections)) > MAX_HEADERS:
            raise BadResult(0, f"the headers of a list have at most {MAX_HEADERS} bytes")
        return sections

    def _name(self, name: bytes, at: int) -> HeaderName:
        known = header_name(name, at)
        if len(name) <= _CACHED_NAME:
            _remember(self._names, name, known)
        return known


def _remember(cache: dict[bytes, _T], key: bytes, value: _T) -> None:
    # Bounded by clearing: an entry costs little to make again, and needs no order kept.
    if len(cache) >= _CACHED:
        cache.clear()
    cache[key] = value


def _header_bytes(section: _Section) -> int:
    return sum(len(name) + len(value) for _, name, value, _ in section[0])


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


def _check_body(found: dict[int, Any], status: int) -> None:
    if status in BODILESS and found.get(SET_BODY):
        raise BadResult(found[_BODY_AT], "a body does not go with status 204, 205 or 304")
