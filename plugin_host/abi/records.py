"""Encodes request and response records (``docs/abi.md``, section 4), straight from WSGI's values.

Everything up to a record's values depends only on which fields there are: its *shape*. A shape's
bytes, its value table and the getter of its values are made once and kept, so that a record costs
one look-up, one join and one encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from struct import Struct
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

from plugin_host.message import environ_key

BODY = 1
BODY_OMITTED = 2
"""Flags: the body is there; it was needed and is not there."""

ABSENT = 0xFFFFFFFF
_REQUEST, _RESPONSE = 1, 2
# A client chooses which headers it sends, so what it can make us keep is bounded: in number by
# clearing, and in size by not keeping long ones.
_SHAPES = 256
_SHAPE_PREFIX = 4096

_ENVIRON_KEYS = {
    ":method": "REQUEST_METHOD",
    ":scheme": "wsgi.url_scheme",
    ":host": "HTTP_HOST",
    ":path": "PATH_INFO",
    ":query": "QUERY_STRING",
    ":remote": "REMOTE_ADDR",
    ":protocol": "SERVER_PROTOCOL",
    ":cookies": "HTTP_COOKIE",
}
_ROUTE_FIELDS = (":endpoint", ":args")
REQUEST_FIELDS = frozenset((*_ENVIRON_KEYS, *_ROUTE_FIELDS))
# Never among the headers: given as a field, or CGI's second spelling of a header given already.
_NOT_HEADERS = frozenset(("HTTP_HOST", "HTTP_COOKIE", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"))
# Servers may set these to "" to say that the header was not sent (PEP 3333).
_CONTENT_KEYS = ("CONTENT_TYPE", "CONTENT_LENGTH")
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_Pack = Callable[..., bytes]
_Get = Callable[[Mapping[str, Any]], tuple[Any, ...]]


def _prefix(kind: int, names: list[str]) -> bytes:
    """Return a record up to its flags."""
    encoded = [_bytes(name) for name in names]
    block = b"".join(encoded)
    block += b"\0" * (-len(block) % 4)
    table = Struct(f"<BBHI{len(names)}I")
    return table.pack(1, kind, len(names), len(block), *map(len, encoded)) + block


def _packer(count: int) -> _Pack:
    """Return what packs flags, status, body_len and `count` value lengths."""
    return Struct(f"<{3 + count}I").pack


def _bytes(text: object) -> bytes:
    """Return WSGI text as the bytes it stands for; text that cannot stand for bytes as UTF-8."""
    text = str(text)
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _values(
    pack: _Pack, flags: int, status: int, body: bytes, values: Iterable[object], *tail: bytes | None
) -> bytes:
    """The slow and safe way to write what follows the prefix: any values, None for absent ones."""
    encoded = [None if value is None else _bytes(value) for value in values]
    encoded += tail
    lengths = [ABSENT if value is None else len(value) for value in encoded]
    return pack(flags, status, len(body), *lengths) + b"".join(filter(None, encoded)) + body


class _Shape(NamedTuple):
    """What records of one shape share.

    :param get: the fields' values, from an environ.
    :param content: the values of the content headers, when the environ has them.
    """

    prefix: bytes
    pack: _Pack
    get: _Get
    content: _Get | None


class RequestEncoder:
    """Encodes request records of one plugin; safe to share between threads.

    :param fields: the ``:name`` fields that are needed.
    :param headers: the headers that are needed, in any case, or True for all that there are.
    :raises ValueError: a field is unknown.

    The record has the fields in the order given, then the headers, then ``:endpoint`` and ``:args``.
    With declared headers, what was not sent is marked absent; with all headers, it is left out.
    """

    __slots__ = (
        "_content", "_fields", "_host", "_keys", "_pack", "_prefix", "_route", "_routed", "_unrouted",
    )  # fmt: skip

    def __init__(
        self, fields: tuple[str, ...], headers: Literal[True] | tuple[str, ...] = True
    ) -> None:
        unknown = [name for name in fields if name not in REQUEST_FIELDS]
        if unknown:
            raise ValueError(f"unknown request field {unknown[0]!r}")
        names = list(dict.fromkeys(name for name in fields if name in _ENVIRON_KEYS))
        self._route = tuple(dict.fromkeys(name for name in fields if name in _ROUTE_FIELDS))
        self._fields = names
        self._keys: tuple[str, ...] | None = None
        self._unrouted: dict[tuple[str, ...], _Shape] = {}
        self._routed: dict[tuple[str, ...], _Shape] = {}
        if headers is not True:
            self._declare(names, headers)

    def _declare(self, names: list[str], headers: tuple[str, ...]) -> None:
        # These two are only ever given as fields.
        lower = [{"cookie": ":cookies", "host": ":host"}.get(n.lower(), n.lower()) for n in headers]
        names = list(dict.fromkeys((*names, *lower)))
        keys = tuple(_ENVIRON_KEYS.get(name) or environ_key(name) for name in names)
        self._keys = keys
        self._host = keys.index("HTTP_HOST") if "HTTP_HOST" in keys else None
        self._content = tuple(keys.index(key) for key in _CONTENT_KEYS if key in keys)
        names += self._route
        self._prefix = _prefix(_REQUEST, names)
        self._pack = _packer(len(names))

    def encode(
        self,
        environ: dict[str, Any],
        endpoint: str | None = None,
        args: Mapping[str, Any] | None = None,
        body: bytes = b"",
        flags: int = 0,
    ) -> bytes:
        """Return the record.

        :param endpoint: what the path routes to; None when it routes nowhere, and then `args` do
            not count.
        """
        if self._keys is not None:
            return self._encode_declared(environ, endpoint, args, body, flags)
        shapes = self._unrouted if endpoint is None else self._routed
        key = tuple(environ)
        shape = shapes.get(key)
        if shape is None:
            shape = self._shape(environ, endpoint is not None)
            _remember(shapes, key, shape)
        prefix, pack, get, content = shape
        if content is not None and not all(content(environ)):
            return self.encode(_without_empty(environ), endpoint, args, body, flags)
        values = get(environ)
        if self._route and endpoint is not None:
            values += self._route_values(endpoint, args)
        try:
            return (
                prefix
                + pack(flags, 0, len(body), *map(len, values))
                + "".join(values).encode("latin-1")
                + body
            )
        except (TypeError, UnicodeEncodeError):
            return prefix + _values(pack, flags, 0, body, values)

    def _encode_declared(
        self,
        environ: dict[str, Any],
        endpoint: str | None,
        args: Mapping[str, Any] | None,
        body: bytes,
        flags: int,
    ) -> bytes:
        values = list(map(environ.get, self._keys or ()))
        for index in self._content:
            values[index] = values[index] or None
        if self._host is not None and values[self._host] is None:
            values[self._host] = _server(environ)
        if self._route:
            values += self._route_values(endpoint, args)
        try:
            if None in values:
                lengths = [ABSENT if value is None else len(value) for value in values]
                table = self._pack(flags, 0, len(body), *lengths)
                text = "".join(filter(None, values))
            else:
                table = self._pack(flags, 0, len(body), *map(len, values))
                text = "".join(values)
            return self._prefix + table + text.encode("latin-1") + body
        except (TypeError, UnicodeEncodeError):
            return self._prefix + _values(self._pack, flags, 0, body, values)

    def _route_values(
        self, endpoint: str | None, args: Mapping[str, Any] | None
    ) -> tuple[str | None, ...]:
        if endpoint is None:
            return (None,) * len(self._route)
        # An endpoint is a name from the app, so it is UTF-8 whatever its characters.
        name = endpoint if endpoint.isascii() else endpoint.encode().decode("latin-1")
        return tuple(
            name if field == ":endpoint" else urlencode(args, errors="replace") if args else ""
            for field in self._route
        )

    def _shape(self, environ: dict[str, Any], routed: bool) -> _Shape:
        names, keys = [], []
        for field in self._fields:
            key = _ENVIRON_KEYS[field]
            if key in environ or field == ":host":
                names.append(field)
                keys.append(key)
        for key in environ:
            name = _header_name(key)
            if name is not None:
                names.append(name)
                keys.append(key)
        if routed:
            names += self._route
        get = _getter(keys)
        if "HTTP_HOST" in keys and "HTTP_HOST" not in environ:
            get = _getter_with_host(keys)
        content = [key for key in keys if key in _CONTENT_KEYS]
        return _Shape(
            _prefix(_REQUEST, names),
            _packer(len(names)),
            get,
            _getter(content) if content else None,
        )


def _header_name(key: str) -> str | None:
    if key.startswith("HTTP_"):
        return None if key in _NOT_HEADERS else key[5:].replace("_", "-").lower()
    return key.replace("_", "-").lower() if key in _CONTENT_KEYS else None


def _getter(keys: list[str]) -> _Get:
    """Return the values of `keys` as a tuple, however many there are."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda environ: tuple(environ[key] for key in keys)


def _getter_with_host(keys: list[str]) -> _Get:
    get = _getter(keys)
    return lambda environ: get({"HTTP_HOST": _server(environ), **environ})


def _server(environ: Mapping[str, Any]) -> str:
    """Return what stands for a Host header that was not sent."""
    name, port = environ.get("SERVER_NAME", ""), environ.get("SERVER_PORT", "")
    if not port or port == _DEFAULT_PORTS.get(environ.get("wsgi.url_scheme", "")):
        return str(name)
    return f"{name}:{port}"


def _without_empty(environ: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in environ.items() if value or key not in _CONTENT_KEYS}


def _remember(shapes: dict[tuple[str, ...], Any], key: tuple[str, ...], shape: Any) -> None:
    if len(shape[0]) <= _SHAPE_PREFIX:
        if len(shapes) >= _SHAPES:
            shapes.clear()
        shapes[key] = shape


class ResponseEncoder:
    """Encodes response records of one plugin; safe to share between threads.

    :param headers: the headers that are needed, in any case, or True for all that there are.
    :param context: whether ``:context`` is needed.

    The record has the headers, in their order and with their repetitions, then ``:context``.
    Declared headers that the response does not have are left out.
    """

    __slots__ = ("_context", "_shapes", "_wanted")

    def __init__(
        self, headers: Literal[True] | tuple[str, ...] = True, context: bool = False
    ) -> None:
        self._wanted = None if headers is True else frozenset(name.lower() for name in headers)
        self._context = context
        self._shapes: dict[tuple[str, ...], tuple[bytes, _Pack]] = {}

    def encode(
        self,
        status: int,
        headers: list[tuple[str, str]],
        context: bytes | None = None,
        body: bytes = b"",
        flags: int = 0,
    ) -> bytes:
        """Return the record; `context` is None when the plugin set none."""
        wanted = self._wanted
        if wanted is not None:
            headers = [pair for pair in headers if pair[0].lower() in wanted]
        names, values = zip(*headers, strict=True) if headers else ((), ())
        shape = self._shapes.get(names)
        if shape is None:
            shape = self._shape(names)
            _remember(self._shapes, names, shape)
        prefix, pack = shape
        tail = (context,) if self._context else ()
        try:
            lengths = [len(value) for value in values]
            if self._context:
                lengths.append(ABSENT if context is None else len(context))
            text = "".join(values).encode("latin-1")
        except (TypeError, UnicodeEncodeError):
            return prefix + _values(pack, flags, status, body, values, *tail)
        table = pack(flags, status, len(body), *lengths)
        if self._context and context:
            return prefix + table + text + context + body
        return prefix + table + text + body

    def _shape(self, names: tuple[str, ...]) -> tuple[bytes, _Pack]:
        fields = [name.lower() for name in names]
        if self._context:
            fields.append(":context")
        return _prefix(_RESPONSE, fields), _packer(len(fields))
