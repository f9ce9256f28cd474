"""Reading and replacing bodies on Flask's side, never more of them than the limit."""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Request, Response
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.utils import cached_property
from werkzeug.wsgi import ClosingIterator, get_input_stream

from .abi.native import BODY, BODY_OMITTED
from .serving.dispatch import Body

_CHUNK = 65_536
OMITTED = Body(flags=BODY_OMITTED)
_OVERSIZE = Body(flags=BODY_OMITTED, oversize=True)


def _shown(data: bytes, limit: int) -> Body:
    return Body(data, BODY) if len(data) <= limit else _OVERSIZE


class RequestBody:
    """A request's body: read at most once, and still there for the view afterwards.

    :param limit: bytes; a longer body is left to the view unread, or re-joined.
    """

    __slots__ = ("_body", "_environ", "_limit", "_replaced", "_request")

    def __init__(self, request: Request, limit: int) -> None:
        self._request = request
        self._environ: dict[str, Any] = request.environ
        self._limit = limit
        self._body: Body | None = None
        self._replaced = False

    def read(self) -> Body:
        """Return the body as it is now."""
        if self._body is None:
            self._body = self._read()
        return self._body

    def replace(self, data: bytes) -> None:
        """Make ``data`` the body; ``CONTENT_LENGTH`` is the caller's."""
        self._environ["wsgi.input"] = io.BytesIO(data)
        self._body = _shown(data, self._limit)
        self._replaced = True

    def forget_cached(self) -> None:
        """Drop what the request object has worked out from an environ that has been edited since.

        What the app has read of a body that is still the client's cannot be read again: it stays.
        """
        cached = vars(self._request)
        kind = type(self._request)
        derived = _derived_names.get(kind) or _derived(kind)
        if not derived.isdisjoint(cached):
            for name in derived & cached.keys():
                if self._replaced or name not in _OF_THE_BODY:
                    del cached[name]
        cached["query_string"] = self._environ.get("QUERY_STRING", "").encode("latin-1")

    def rewind(self) -> None:
        """Let the request object of a start over find what the app has read of the body."""
        read = vars(self._request).get("_cached_data")
        if read is not None and not self._replaced:
            self._environ["wsgi.input"] = io.BytesIO(read)

    def _read(self) -> Body:
        environ, cached = self._environ, vars(self._request)
        if "_cached_data" in cached:
            return _shown(self._request.get_data(), self._limit)
        if "stream" in cached:
            return OMITTED  # the app has begun to read it, before every before_request
        length = environ.get("CONTENT_LENGTH") or ""
        if length.isdecimal() and int(length[:20]) > self._limit:  # Python reads no 5 000 digits
            return _OVERSIZE
        stream = get_input_stream(environ, safe_fallback=True)
        data = _read_up_to(self._limit + 1, stream)
        if len(data) > self._limit:
            environ["wsgi.input"] = io.BufferedReader(_Rejoined(data, stream))
            return _OVERSIZE
        if data:  # else the server's own stays: a view may know it, such as one that upgrades
            environ["wsgi.input"] = io.BytesIO(data)
        return Body(data, BODY)


def _read_up_to(most: int, stream: Any) -> bytes:
    """Return what a server's input gives, at most so many bytes.

    :raises BadRequest: the client has gone, or what it sent is no body.
    """
    pieces, left = [], most
    try:
        while left and (piece := stream.read(min(_CHUNK, left))):
            pieces.append(piece)
            left -= len(piece)
    except HTTPException:
        raise
    except Exception as exc:  # servers have their own for chunks that are cut off or malformed
        raise BadRequest from exc
    return b"".join(pieces)


class _Rejoined(io.RawIOBase):
    """What was read of a stream, and then the rest of it."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        if self._head:
            data: Any = self._head[:size]
            self._head = self._head[size:]
        else:
            data = self._rest.read(size)
        buffer[: len(data)] = data
        return len(data)


class ResponseBody:
    """A response's body, for plugins that need it; whatever is not shown comes through untouched.

    :param method: of the request: a response to HEAD shows no body.
    :param limit: bytes.
    """

    def __init__(self, method: str, response: Response, limit: int) -> None:
        self._response = response
        self._limit = limit
        #: Whether a body may be shown and edited at all.
        self.editable = method != "HEAD" and response.status_code not in (204, 205, 206, 304)

    def read(self, stream: bool, edited: bytes | None) -> Body:
        """Return the body as it is now.

        :param stream: also buffer a body that the app streams, up to the limit.
        :param edited: what plugins have made of it; None if nothing.
        """
        response = self._response
        if not self.editable:
            return OMITTED
        if edited is not None:
            return _shown(edited, self._limit)
        if response.is_sequence and not response.direct_passthrough:
            return _shown(response.get_data(), self._limit)
        return self._buffer() if stream else OMITTED

    def _buffer(self) -> Body:
        try:
            return self._read_ahead()
        except BaseException:
            self._response.close()  # nobody else will: an error page takes its place
            raise

    def _read_ahead(self) -> Body:
        response = self._response
        source: Any = response.response
        chunks: Iterator[bytes] = iter(response.iter_encoded())
        pieces, size = [], 0
        for piece in chunks:
            pieces.append(piece)
            size += len(piece)
            if size > self._limit:
                rest: Iterable[bytes] = itertools.chain(pieces, chunks)
                close = getattr(source, "close", None)
                response.response = ClosingIterator(rest, [close] if close else None)
                return _OVERSIZE
        data = b"".join(pieces)
        replace(response, data)
        return Body(data, BODY)


def measure(response: Response) -> None:
    """Make ``Content-Length`` that of the body that is there: one to HEAD says what GET gives."""
    if "Content-Length" not in response.headers:
        return
    if response.is_sequence:
        response.headers["Content-Length"] = str(sum(map(len, response.iter_encoded())))
    else:
        del response.headers["Content-Length"]


def replace(response: Response, data: bytes) -> None:
    """Make ``data`` the response's body; what produced the old one is closed."""
    close = getattr(response.response, "close", None)
    if close is not None:
        close()
    response.direct_passthrough = False
    response.set_data(data)
    if "Content-Length" in response.headers:  # not every response class sees to it
        response.headers["Content-Length"] = str(len(data))


#: The names under which a request keeps what it has read of its body.
_OF_THE_BODY = frozenset(("stream", "data", "form", "files", "_cached_data", "_cached_json"))
_derived_names: dict[type, frozenset[str]] = {}


def _derived(kind: type[Request]) -> frozenset[str]:
    """Return the names under which a request class keeps what it derives from the environ."""
    properties = (
        name
        for base in kind.__mro__
        for name, value in vars(base).items()
        if isinstance(value, (cached_property, functools.cached_property))
    )
    names = frozenset((*properties, "_cached_data", "_cached_json", "_parsed_content_type"))
    return _derived_names.setdefault(kind, names)
