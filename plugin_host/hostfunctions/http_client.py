"""One HTTP request to a checked address, within a time that holds whatever the server does.

The protocol is h11's and the sockets are our own: a client that brings its own resolves the name a
second time, counts its time-outs per read, and under gevent switches greenlets below a guest
(docs/rationale.md, "Why h11 and sockets of our own?").
"""

from __future__ import annotations

import functools
import socket
import ssl
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from time import monotonic
from typing import Any, Final, NamedTuple

from .. import osthread
from ..config.outbound import DEFAULT_PORTS
from ..sockets import Connection, Tls, connect, time_left

try:
    import h11
except ImportError:  # the extra "http" is not installed: `available` says so
    h11 = None  # type: ignore[assignment]

#: What a guest is told when there is no response.
DENIED, UNREACHABLE, TIMED_OUT, TOO_LARGE = -1, -2, -3, -4

#: Names that are being looked up at once for one plugin: a look-up cannot be given up.
MAX_LOOKUPS: Final = 16
#: Bytes of a response's head, and of what is taken at once: nothing ends the reading of a head.
MAX_HEAD: Final = 16_384
#: By plugin, so that one whose names' server never answers takes nothing from the others.
_lookups: defaultdict[str, list[None]] = defaultdict(list)


class Request(NamedTuple):
    """A request that a guest wants to be sent.

    :param target: path and query, as they go over the wire.
    """

    method: str
    scheme: str
    host: str
    port: int
    target: str
    headers: list[tuple[str, str]]
    body: bytes


class Response(NamedTuple):
    """What came: a status, headers and a body, or an error with its reason."""

    error: int = 0
    reason: str = ""
    status: int = 0
    headers: list[tuple[str, str]] = []  # noqa: RUF012 - never changed
    body: bytes = b""


class _Failed(Exception):
    def __init__(self, error: int, reason: str) -> None:
        self.error, self.reason = error, reason


def available() -> bool:
    """Whether the extra ``http`` is installed."""
    return h11 is not None


def fetch(
    request: Request,
    reaches: Callable[[str], bool],
    seconds: float,
    max_body: int,
    plugin: str = "",
) -> Response:
    """Send a request, and wait for the whole response; redirects are not followed.

    :param reaches: whether an address may be connected to.
    :param seconds: how long all of it may take.
    :param max_body: the most bytes that a response may have.
    :param plugin: whose request it is.
    """
    deadline = monotonic() + seconds
    try:
        with closing(_connect(request, reaches, deadline, plugin)) as connection:
            return _exchange(connection, request, max_body)
    except _Failed as exc:
        return Response(exc.error, exc.reason)
    except TimeoutError:
        return Response(TIMED_OUT, f"it takes longer than {seconds * 1000:.0f} ms")
    except h11.ProtocolError as exc:
        return Response(UNREACHABLE, f"this is not HTTP: {exc}")
    except OSError as exc:
        return Response(UNREACHABLE, exc.strerror or str(exc))


def _connect(
    request: Request, reaches: Callable[[str], bool], deadline: float, plugin: str
) -> Connection:
    """Connect to the first address of the host that may be and can be connected to."""
    found = _resolve(request.host, request.port, deadline, _lookups[plugin])
    allowed = [item for item in found if reaches(item[4][0])]
    if not allowed:
        addresses = ", ".join(str(item[4][0]) for item in found)
        raise _Failed(DENIED, f"its address {addresses} is private; see PLUGIN_HOST_HTTP_PRIVATE")
    tls = Tls(tls_context(), request.host) if request.scheme == "https" else None
    return connect(allowed, deadline, tls)


def _resolve(host: str, port: int, deadline: float, lookups: list[None]) -> list[Any]:
    """Look a name up, in a thread of its own: nothing else can end a look-up in time."""
    if len(lookups) >= MAX_LOOKUPS:
        raise _Failed(UNREACHABLE, "too many names are being looked up")
    found: list[Any] = []
    done = osthread.allocate_lock()
    done.acquire()

    def look_up() -> None:
        try:
            resolve = osthread.original("socket", "getaddrinfo")
            found.extend(resolve(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError):
            pass  # not found
        finally:
            lookups.pop()
            done.release()

    lookups.append(None)
    try:
        osthread.start(look_up, "plugin-host-lookup")
    except RuntimeError as exc:
        lookups.pop()
        raise _Failed(UNREACHABLE, f"no thread can be started to look its name up ({exc})") from exc
    if not done.acquire(True, time_left(deadline)):
        raise TimeoutError
    if not found:
        raise _Failed(UNREACHABLE, "its name is unknown")
    return found


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return what checks servers' certificates against those that the system trusts; slow once."""
    return ssl.create_default_context()


def _exchange(connection: Connection, request: Request, max_body: int) -> Response:
    protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    head = h11.Request(method=request.method, target=request.target, headers=_headers(request))
    connection.sendall(protocol.send(head) + protocol.send(h11.Data(request.body)))
    protocol.send(h11.EndOfMessage())
    answer, parts, size = None, [], 0
    while True:
        event = protocol.next_event()
        time_left(connection.deadline)  # what has come at once may be thousands of events
        if event is h11.NEED_DATA:
            protocol.receive_data(connection.recv(MAX_HEAD if answer else 4096))
        elif isinstance(event, h11.Response):
            answer = event
        elif isinstance(event, h11.Data):
            parts.append(bytes(event.data))
            size += len(event.data)
            if size > max_body:
                raise _Failed(TOO_LARGE, f"its response has more than {max_body} bytes")
        elif isinstance(event, h11.EndOfMessage) and answer is not None:
            headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in answer.headers]
            return Response(status=answer.status_code, headers=headers, body=b"".join(parts))


def _headers(request: Request) -> list[tuple[bytes, bytes]]:
    """Return the request's headers, with those that are the host's."""
    host = f"[{request.host}]" if ":" in request.host else request.host
    if request.port != DEFAULT_PORTS[request.scheme]:
        host += f":{request.port}"
    own = [("Host", host), ("Connection", "close")]
    if request.body or request.method not in ("GET", "HEAD"):
        own.append(("Content-Length", str(len(request.body))))
    return [(n.encode("latin-1"), v.encode("latin-1")) for n, v in own + request.headers]
