"""Request records (``docs/abi.md``, section 4), encoded straight from the WSGI environ.

A framework's header objects are never looked at: going through them costs ten times the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import urlencode

from plugin_host.abi.records import (
    ABSENT,
    REQUEST,
    Pack,
    careful_values,
    prefix,
    remember,
    table_packer,
)
from plugin_host.message import environ_key

#: The field of keys that were read beforehand, and where it is in an environ while it is encoded.
STATE, STATE_KEY = ":state", "plugin_host.state"
_ENVIRON_KEYS = {
    ":method": "REQUEST_METHOD",
    ":scheme": "wsgi.url_scheme",
    ":host": "HTTP_HOST",
    ":path": "PATH_INFO",
    ":query": "QUERY_STRING",
    ":remote": "REMOTE_ADDR",
    ":protocol": "SERVER_PROTOCOL",
    ":cookies": "HTTP_COOKIE",
    STATE: STATE_KEY,
}
_ROUTE_FIELDS = (":endpoint", ":args")
REQUEST_FIELDS = frozenset((*_ENVIRON_KEYS, *_ROUTE_FIELDS))

# Headers that are only ever given as fields.
_AS_FIELDS = {"cookie": ":cookies", "host": ":host"}
# Never among the headers: given as a field, or CGI's second spelling of a header given already.
_NOT_HEADERS = frozenset(("HTTP_HOST", "HTTP_COOKIE", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"))
# Servers may set these to "" to say that the header was not sent (PEP 3333).
_CONTENT_KEYS = ("CONTENT_TYPE", "CONTENT_LENGTH")
_DEFAULT_PORTS = {"http": "80", "https": "443"}

# Environ keys seen, and their header names, "" for what is no header; shared and bounded, so that
# a client that varies its headers costs little.
_names: dict[str, str] = {}
_MAX_NAMES = 1024
_MAX_NAME = 64

_Get = Callable[[Mapping[str, Any]], tuple[Any, ...]]


class Encode(Protocol):
    """Returns the record of a request."""

    def __call__(
        self,
        environ: dict[str, Any],
        endpoint: str | None = None,
        args: Mapping[str, Any] | None = None,
        body: bytes = b"",
        flags: int = 0,
    ) -> bytes: ...


class RequestEncoder:
    """Encodes request records of one plugin; safe to share between threads.

    :param fields: the ``:name`` fields that are needed.
    :param headers: the headers that are needed, in any case, or True for all that there are.
    :raises ValueError: a field is unknown.

    A record has the fields in the order given, the headers, then ``:endpoint`` and ``:args``. With
    declared headers, what was not sent is marked absent; with all headers, it is left out.
    """

    __slots__ = ("encode",)

    encode: Encode
    """``encode(environ, endpoint, args, body, flags)`` returns the record. `endpoint` is what the
    path routes to; with None, it routes nowhere and `args` do not count."""

    def __init__(
        self, fields: tuple[str, ...], headers: Literal[True] | tuple[str, ...] = True
    ) -> None:
        unknown = [name for name in fields if name not in REQUEST_FIELDS]
        if unknown:
            raise ValueError(f"unknown request field {unknown[0]!r}")
        line = [name for name in dict.fromkeys(fields) if name in _ENVIRON_KEYS]
        route = tuple(name for name in dict.fromkeys(fields) if name in _ROUTE_FIELDS)
        if headers is True:
            self.encode = _AllHeaders(line, route).encode
        else:
            self.encode = _DeclaredHeaders(line, headers, route).encode


class _DeclaredHeaders:
    """Records of one shape.

    When everything declared is there, one getter fetches it all. Whether it will be is guessed
    from the request before: to find out by failing costs a quarter of the record.
    """

    __slots__ = ("_content", "_get", "_host", "_keys", "_pack", "_prefix", "_route", "_whole")

    def __init__(self, line: list[str], headers: tuple[str, ...], route: tuple[str, ...]) -> None:
        lower = (name.lower() for name in headers)
        names = list(dict.fromkeys((*line, *(_AS_FIELDS.get(name, name) for name in lower))))
        self._keys = [_ENVIRON_KEYS.get(name) or environ_key(name) for name in names]
        self._get = _getter(self._keys)
        self._host = self._keys.index("HTTP_HOST") if "HTTP_HOST" in self._keys else None
        self._content = [self._keys.index(key) for key in _CONTENT_KEYS if key in self._keys]
        self._route = route
        self._prefix = prefix(REQUEST, [*names, *route])
        self._pack = table_packer(len(names) + len(route))
        self._whole = True  # a guess, so threads may overwrite each other's

    def encode(
        self,
        environ: dict[str, Any],
        endpoint: str | None = None,
        args: Mapping[str, Any] | None = None,
        body: bytes = b"",
        flags: int = 0,
    ) -> bytes:
        if not self._whole:
            return self._encode_some(environ, endpoint, args, body, flags)
        try:
            values = self._get(environ)
            if self._route:
                values += _route_values(self._route, endpoint, args)
            for index in self._content:
                if not values[index]:
                    return self._encode_some(environ, endpoint, args, body, flags)
            table = self._pack(flags, 0, len(body), *map(len, values))
            return b"".join((self._prefix, table, "".join(values).encode("latin-1"), body))
        except (KeyError, TypeError, UnicodeEncodeError):
            return self._encode_some(environ, endpoint, args, body, flags)

    def _encode_some(
        self,
        environ: dict[str, Any],
        endpoint: str | None,
        args: Mapping[str, Any] | None,
        body: bytes,
        flags: int,
    ) -> bytes:
        values = list(map(environ.get, self._keys))
        for index in self._content:
            values[index] = values[index] or None
        if self._host is not None and values[self._host] is None:
            values[self._host] = server(environ)
        self._whole = None not in values
        if self._route:
            values += _route_values(self._route, endpoint, args)
        try:
            lengths = [ABSENT if value is None else len(value) for value in values]
            text = "".join(filter(None, values)).encode("latin-1")
            table = self._pack(flags, 0, len(body), *lengths)
            return b"".join((self._prefix, table, text, body))
        except (TypeError, UnicodeEncodeError):
            return self._prefix + careful_values(self._pack, flags, 0, body, values)


class _Shape(NamedTuple):
    """What records of one shape share.

    :param get: the values, from an environ.
    :param content: the values of the content headers; None if the environ has none of them.
    """

    prefix: bytes
    pack: Pack
    get: _Get
    content: _Get | None


class _AllHeaders:
    """Records of whatever the client sends; shapes are looked up by the environ's keys."""

    __slots__ = ("_line", "_route", "_routed", "_unrouted")

    def __init__(self, line: list[str], route: tuple[str, ...]) -> None:
        self._line = line
        self._route = route
        self._routed: dict[tuple[str, ...], _Shape] = {}
        self._unrouted: dict[tuple[str, ...], _Shape] = {}

    def encode(
        self,
        environ: dict[str, Any],
        endpoint: str | None = None,
        args: Mapping[str, Any] | None = None,
        body: bytes = b"",
        flags: int = 0,
    ) -> bytes:
        route = self._route if endpoint is not None else ()
        shapes = self._routed if route else self._unrouted
        key = tuple(environ)
        shape = shapes.get(key)
        if shape is None:
            shape = self._shape(environ, route)
            remember(shapes, key, shape)
        start, pack, get, content = shape
        if content is not None and not all(content(environ)):
            return self.encode(_without_empty(environ), endpoint, args, body, flags)
        values = get(environ)
        if route:
            values += _route_values(route, endpoint, args)
        try:
            table = pack(flags, 0, len(body), *map(len, values))
            return b"".join((start, table, "".join(values).encode("latin-1"), body))
        except (TypeError, UnicodeEncodeError):
            return start + careful_values(pack, flags, 0, body, values)

    def _shape(self, environ: dict[str, Any], route: tuple[str, ...]) -> _Shape:
        line = [name for name in self._line if name == ":host" or _ENVIRON_KEYS[name] in environ]
        keys = [_ENVIRON_KEYS[name] for name in line]
        content, headers = [], []
        for key in environ:
            name = _names.get(key)
            if name is None:
                name = _learn(key)
            if name:
                headers.append(name)
                keys.append(key)
                if key in _CONTENT_KEYS:
                    content.append(key)
        hostless = ":host" in line and "HTTP_HOST" not in environ
        names = [*line, *headers, *route]
        return _Shape(
            prefix(REQUEST, names),
            table_packer(len(names)),
            _getter_with_host(keys) if hostless else _getter(keys),
            _getter(content) if content else None,
        )


def _learn(key: str) -> str:
    name = ""
    if (key.startswith("HTTP_") and key not in _NOT_HEADERS) or key in _CONTENT_KEYS:
        name = key.removeprefix("HTTP_").replace("_", "-").lower()
    if len(key) <= _MAX_NAME:
        if len(_names) >= _MAX_NAMES:
            _names.clear()
        _names[key] = name
    return name


def _getter(keys: list[str]) -> _Get:
    """Return what gives the values of `keys` as a tuple, however many there are."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda environ: tuple([environ[key] for key in keys])


def _getter_with_host(keys: list[str]) -> _Get:
    get = _getter(keys)
    return lambda environ: get({"HTTP_HOST": server(environ), **environ})


def _route_values(
    route: Iterable[str], endpoint: str | None, args: Mapping[str, Any] | None
) -> tuple[str | None, ...]:
    if endpoint is None:
        return tuple([None for _ in route])
    # An endpoint is a name in the app's code, so it is UTF-8 whatever its characters.
    name = endpoint if endpoint.isascii() else endpoint.encode().decode("latin-1")
    return tuple(
        [name if field == ":endpoint" else _arguments(args) if args else "" for field in route]
    )


def _arguments(args: Mapping[str, Any]) -> str | None:
    """Return a view's arguments as a form; None if one of them is no text."""
    try:
        return urlencode(args, errors="replace")
    except Exception:  # a converter may make objects that say what they like
        return None


def server(environ: Mapping[str, Any]) -> str:
    """Return what stands for a Host header that was not sent."""
    name, port = environ.get("SERVER_NAME", ""), environ.get("SERVER_PORT", "")
    if not port or port == _DEFAULT_PORTS.get(environ.get("wsgi.url_scheme", "")):
        return str(name)
    return f"{name}:{port}"


def _without_empty(environ: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in environ.items() if value or key not in _CONTENT_KEYS}
