"""Connections to Redis: made in the background, kept, checked before use; errors translated.

A connection takes longer than some hooks may, so none is made by a hook's own thread: a thread of
the operating system makes it, and who came in vain has made it for the next one.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from typing import Any, Final

import redis
from redis.exceptions import ConnectionError as LinkError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as LateError

from plugin_host import osthread
from plugin_host.config import StateUrl
from plugin_host.errors import MORE_RESOURCES, StateUnavailable
from plugin_host.sockets import Connection, Tls, connect

from . import forking
from .backend import time_left
from .redis_scripts import Script

#: Seconds to connect, to authenticate and to select the database.
CONNECT_TIMEOUT: Final = 5.0
#: After a failure, nobody tries again for so many seconds.
_PAUSE: Final = 0.1

#: By the word that the server's answer begins with, or the client's error for it.
_REMEDIES: Final = {
    "BusyLoadingError": "wait: it is starting",
    "ReadOnlyError": "name the primary: this is a replica",
    "OutOfMemoryError": "give the server more memory (maxmemory); nothing may be evicted",
    "NoPermissionError": "let the user run EVAL, EVALSHA and SCAN on these keys",
    "AuthenticationError": "correct user and password in PLUGIN_HOST_STATE",
    "AuthenticationWrongNumberOfArgsError": "correct user and password in PLUGIN_HOST_STATE",
    "MISCONF": "look at the server's disk: it cannot save",
    "MOVED": "name the node, or a proxy: this is a cluster, and another node has the namespace",
    "BUSY": "wait, or end the script that keeps the server busy",
}


class _Connection(redis.Connection):
    """The client's protocol on a socket of ours."""

    url: StateUrl
    wire: Connection

    def _connect(self) -> Any:
        self.wire = _connect(self.url, time.monotonic() + CONNECT_TIMEOUT)
        return self.wire

    def _host_error(self) -> str:
        return str(self.url)


class Wire:
    """The connections of one process to one server; each is used by one thread at a time."""

    def __init__(self, url: StateUrl) -> None:
        self._url = url
        self._idle: deque[_Connection] = deque()
        self._reset()
        forking.watch(self)

    def _reset(self) -> None:
        self._turn = osthread.allocate_lock()  # guards _thread
        self._thread: osthread.Handle | None = None
        self._failure: tuple[float, StateUnavailable] | None = None  # when, and what

    def before_fork(self) -> None:
        """Do nothing: sockets may be inherited."""

    def after_fork(self, in_child: bool) -> None:
        """In a child: close what the parent goes on with; that hangs up for nobody."""
        if in_child:
            self._reset()
            self.close()

    def close(self) -> None:
        """Close what is idle, and wait for a connection that is being made."""
        thread = self._thread
        if thread is not None:
            thread.join(CONNECT_TIMEOUT)
        while self._idle:
            self._idle.pop().disconnect()

    def run(self, script: Script, deadline: float, *arguments: Any) -> Any:
        """Run a script; ``arguments`` are how many keys, the keys, and the rest.

        :raises StateUnavailable: it was not done by ``deadline``, or its answer was lost.
        """
        return self._use(deadline, self._run, script, arguments)

    def ask(self, deadline: float, *command: Any) -> Any:
        """Do one command.

        :raises StateUnavailable: it was not done by ``deadline``, or its answer was lost.
        """
        return self._use(deadline, _ask, command)

    @staticmethod
    def _run(connection: _Connection, script: Script, arguments: tuple[Any, ...]) -> Any:
        try:
            return _ask(connection, ("EVALSHA", script.digest, *arguments))
        except NoScriptError:  # a server that has been restarted; it has done nothing
            return _ask(connection, ("EVAL", script.text, *arguments))

    def _use(self, deadline: float, work: Any, *arguments: Any) -> Any:
        connection = self._take(deadline)
        connection.wire.deadline = time.monotonic() + time_left(deadline)
        try:
            reply = work(connection, *arguments)
        except (RedisError, OSError) as error:
            if isinstance(error, LinkError | LateError | OSError):
                connection.disconnect()
            else:
                self._idle.append(connection)
            raise self._unavailable(error) from error
        except BaseException:
            connection.disconnect()
            raise
        self._idle.append(connection)
        return reply

    def _take(self, deadline: float) -> _Connection:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                self._wait(deadline)
                continue
            if not connection.wire.is_stale():
                return connection
            connection.disconnect()

    def _wait(self, deadline: float) -> None:
        """Wait until there may be a connection; see that one is being made."""
        left = time_left(deadline)
        with self._turn:
            failure = self._failure
            if failure and time.monotonic() - failure[0] < _PAUSE:
                raise self._away(failure[1].cause, failure[1].remedy) from failure[1].__cause__
            if not left:
                raise self._away(
                    "there was no connection before the deadline",
                    "see whether the server can be reached; if it can, the next call will do",
                )
            thread = self._thread
            if thread is None:
                thread = self._thread = self._start()
        thread.join(left)

    def _start(self) -> osthread.Handle:
        try:
            return osthread.start(self._make, "plugin-host-redis")
        except RuntimeError as error:
            raise self._away(f"no thread can be started ({error})", MORE_RESOURCES) from error

    def _make(self) -> None:
        url = self._url
        failure = None
        try:
            connection = _Connection(
                db=url.db,
                username=url.user or None,
                password=url.password or None,
                protocol=2,
                socket_timeout=CONNECT_TIMEOUT,
            )
            connection.url = url
            connection.connect()
            _ask(connection, ("PING",))  # a server that wants a password says so now
            self._idle.append(connection)
        except (RedisError, OSError) as error:
            failure = time.monotonic(), self._unavailable(error)
        except Exception as error:
            failure = time.monotonic(), self._away(f"connecting failed: {error!r}", "report this")
        with self._turn:
            self._failure, self._thread = failure, None

    def _unavailable(self, error: RedisError | OSError) -> StateUnavailable:
        name, text = type(error).__name__, str(error)
        remedy = _REMEDIES.get(name) or _REMEDIES.get(text.partition(" ")[0])
        if isinstance(error, LateError | TimeoutError):
            made = self._away(
                "no answer came before the deadline",
                "see what keeps the server busy, or give the hook a longer timeout_ms",
            )
        elif remedy:
            made = self._away(f"the server refuses: {text}", remedy)
        elif isinstance(error, LinkError | OSError):
            made = self._away(f"the connection failed: {text}", "see whether the server runs")
        else:
            made = self._away(f"the server refuses: {text}", "see the server's log")
        made.__cause__ = error
        return made

    def _away(self, cause: str, remedy: str) -> StateUnavailable:
        return StateUnavailable(str(self._url), cause, remedy)


def _ask(connection: _Connection, command: tuple[Any, ...]) -> Any:
    connection.send_packed_command(connection.pack_command(*command), check_health=False)
    return connection.read_response(disable_decoding=True)


def _connect(url: StateUrl, deadline: float) -> Connection:
    """Connect to the server of a URL; looking its name up is not bounded.

    :raises OSError: it cannot be reached, or its certificate is not trusted.
    """
    if url.scheme == "unix":
        return Connection(socket.AF_UNIX, str(url.path), deadline)
    resolve = osthread.original("socket", "getaddrinfo")
    found = resolve(url.host, url.port, type=socket.SOCK_STREAM)
    tls = Tls(_context(url), url.host) if url.scheme == "rediss" else None
    return connect(found, deadline, tls)


def _context(url: StateUrl) -> ssl.SSLContext:
    options = url.options
    context = ssl.create_default_context(cafile=options.get("ca_certs"))
    if options.get("verify") == "no":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if "certfile" in options:
        context.load_cert_chain(options["certfile"], options.get("keyfile"))
    return context
