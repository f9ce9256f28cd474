"""Keys that are read before ``on_request``, and come along in its record (docs/abi.md, "State")."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from ..abi.records import wire_bytes
from ..abi.request_records import STATE, STATE_KEY, Encode, RequestEncoder, server
from ..errors import ManifestError, StateError
from ..manifest import Manifest
from ..manifest.prefetch import Part, Template
from ..message import environ_key
from ..state import Namespace
from .services import Services
from .stage import LIVE, Stage
from .state_functions import own_namespace
from .state_packing import pack_field

#: The part of a hook's deadline that reading beforehand may take; the hook has its whole deadline
#: all the same.
SHARE: Final = 0.5
#: Seconds for which nothing is read after a read that failed: a store that is away does not cost
#: every request.
PAUSE: Final = 1.0

_PLAIN: Final = {
    "method": "REQUEST_METHOD",
    "scheme": "wsgi.url_scheme",
    "path": "PATH_INFO",
    "query": "QUERY_STRING",
    "remote": "REMOTE_ADDR",
    "protocol": "SERVER_PROTOCOL",
}

#: Gives a part of a request, given its environ, endpoint and the view's arguments.
_Get = Callable[[Mapping[str, Any], str | None, Mapping[str, Any] | None], bytes | None]


def check_granted(path: Path, manifest: Manifest, granted: frozenset[str]) -> None:
    """Refuse what would be read for a plugin that may not read it.

    :param path: the file that errors name.
    :raises ManifestError: it names keys, and does not ask for state or is not granted it.
    """
    if not manifest.prefetch:
        return
    asked = manifest.capabilities
    if asked is not None and "state" not in asked:
        what = "state.prefetch names keys, but the manifest does not ask for the capability 'state'"
        raise ManifestError(path, what, 'add "state" to capabilities')
    if "state" not in granted:
        what = "state.prefetch names keys, but the app does not grant the capability 'state'"
        raise ManifestError(path, what, "add 'state' to PLUGIN_HOST_GRANTS")
    pieces = chain.from_iterable(manifest.prefetch)
    if "cookies" not in granted and any(piece[0] == "cookies" for piece in pieces):
        what = (
            "state.prefetch has cookies in it, but the app does not grant the capability 'cookies'"
        )
        raise ManifestError(path, what, "add 'cookies' to PLUGIN_HOST_GRANTS")


def request_encoder(manifest: Manifest, services: Services, stage: Stage, timeout: float) -> Encode:
    """Return what encodes the requests that a plugin is shown, with the keys it wants beforehand.

    :param stage: in whose store these are.
    :param timeout: the hook's deadline, in seconds.
    """
    needs = manifest.request_needs
    if not manifest.prefetch:
        return RequestEncoder(needs.fields, needs.headers).encode
    encode = RequestEncoder((*needs.fields, STATE), needs.headers).encode
    store = services.store if stage is LIVE else stage.store
    space = store.namespace(own_namespace(services.plugin), services.quota)
    read = _Prefetch(manifest.prefetch, space, services, timeout).read

    def encoded(
        environ: dict[str, Any],
        endpoint: str | None = None,
        args: Mapping[str, Any] | None = None,
        body: bytes = b"",
        flags: int = 0,
    ) -> bytes:
        value = read(environ, endpoint, args)
        if value is None:
            return encode(environ, endpoint, args, body, flags)
        environ[STATE_KEY] = value.decode("latin-1")
        try:
            return encode(environ, endpoint, args, body, flags)
        finally:
            del environ[STATE_KEY]

    return encoded


class _Prefetch:
    """Reads the keys of one plugin's templates."""

    __slots__ = ("_not_before", "_result", "_services", "_share", "_space", "_templates")

    def __init__(
        self,
        templates: Iterable[Template],
        space: Namespace,
        services: Services,
        timeout: float,
    ) -> None:
        self._templates = [[_getter(piece) for piece in template] for template in templates]
        self._space = space
        self._services = services
        self._share = timeout * SHARE
        self._not_before, self._result = 0.0, 0

    def read(
        self, environ: Mapping[str, Any], endpoint: str | None, args: Mapping[str, Any] | None
    ) -> bytes | None:
        """Return the field; None if there is no key to be read."""
        keys = self._keys(environ, endpoint, args)
        if not keys:
            return None
        now = monotonic()
        if now < self._not_before:
            return pack_field(self._result)
        try:
            values = self._space.get_many(keys, deadline=now + self._share)
        except StateError as error:
            services = self._services
            what = f"reading beforehand in {self._space.name}"
            self._result = services.state_failures.note(None, services.log, what, error)
            self._not_before = monotonic() + PAUSE
            return pack_field(self._result)
        return pack_field(0, keys, values)

    def _keys(
        self, environ: Mapping[str, Any], endpoint: str | None, args: Mapping[str, Any] | None
    ) -> list[bytes]:
        """Return the keys that the request has all parts for; one that is too long is none."""
        keys: dict[bytes, None] = {}
        most = self._services.quota.max_key
        for template in self._templates:
            parts = [get(environ, endpoint, args) for get in template]
            if None not in parts:
                key = b"".join(filter(None, parts))
                if 0 < len(key) <= most:
                    keys[key] = None
        return list(keys)


def _getter(piece: bytes | Part) -> _Get:
    if isinstance(piece, bytes):
        return lambda _environ, _endpoint, _args: piece
    kind, name = piece
    if kind == "endpoint":
        return lambda _environ, endpoint, _args: None if endpoint is None else endpoint.encode()
    if kind == "args":
        return lambda _environ, _endpoint, args: _argument(args, name)
    if kind == "host":
        return lambda environ, _endpoint, _args: wire_bytes(
            environ.get("HTTP_HOST", server(environ))
        )
    if kind == "cookies":
        return lambda environ, _endpoint, _args: _cookie(environ.get("HTTP_COOKIE", ""), name)
    if kind == "query" and name:
        return lambda environ, _endpoint, _args: _parameter(environ.get("QUERY_STRING", ""), name)
    key = environ_key(name) if name else _PLAIN[kind]
    # Servers may set these to "" to say that the header was not sent (PEP 3333).
    empty = b"" if key not in ("CONTENT_TYPE", "CONTENT_LENGTH") else None
    return lambda environ, _endpoint, _args: (
        None if (value := environ.get(key)) is None else wire_bytes(value) or empty
    )


def _argument(args: Mapping[str, Any] | None, name: str) -> bytes | None:
    if not args or name not in args:
        return None
    try:
        return str(args[name]).encode("utf-8", "replace")
    except Exception:  # a converter may make objects that say what they like
        return None


def _parameter(query: str, name: str) -> bytes | None:
    """Return the first parameter of a name in a query, decoded."""
    wanted = name.encode()
    for pair in wire_bytes(query).replace(b"+", b" ").split(b"&"):
        key, _, value = pair.partition(b"=")
        if unquote_to_bytes(key) == wanted:
            return unquote_to_bytes(value)
    return None


def _cookie(cookies: str, name: str) -> bytes | None:
    """Return the first cookie of a name, as sent but without quotes."""
    wanted = name.encode()
    for pair in wire_bytes(cookies).split(b";"):
        key, equals, value = pair.lstrip(b" \t").partition(b"=")
        if equals and key == wanted:
            quoted = len(value) > 1 and value[:1] == value[-1:] == b'"'
            return value[1:-1] if quoted else value
    return None
