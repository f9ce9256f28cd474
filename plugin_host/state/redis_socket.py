"""Sockets that keep a deadline and switch no greenlet.

Under gevent's patching `socket` and `ssl` would switch greenlets while a guest is on the stack,
which crashes; these are the originals. TLS goes through memory, as that has no socket of its own.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any, Final

from plugin_host import osthread
from plugin_host.config import StateUrl

_CHUNK: Final = 1 << 16


def connect(url: StateUrl, deadline: float) -> DeadlineSocket:
    """Connect to the server of a URL; resolving its name is not bounded.

    :raises OSError: it cannot be reached, or its certificate is not trusted.
    """
    plain = _connect_unix(url, deadline) if url.scheme == "unix" else _connect_tcp(url, deadline)
    try:
        return (
            _TlsSocket(plain, url, deadline)
            if url.scheme == "rediss"
            else DeadlineSocket(plain, deadline)
        )
    except BaseException:
        plain.close()
        raise


def _connect_unix(url: StateUrl, deadline: float) -> socket.socket:
    made = _new(socket.AF_UNIX, deadline)
    try:
        made.connect(str(url.path))
    except BaseException:
        made.close()
        raise
    return made


def _connect_tcp(url: StateUrl, deadline: float) -> socket.socket:
    resolve = osthread.original("socket", "getaddrinfo")
    failure: OSError = OSError("the name has no address")
    for family, _, _, _, address in resolve(url.host, url.port, type=socket.SOCK_STREAM):
        made = _new(family, deadline)
        try:
            made.connect(address)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as error:
            made.close()
            failure = error
        else:
            return made
    raise failure


def _new(family: int, deadline: float) -> socket.socket:
    made: socket.socket = osthread.original("socket", "socket")(family, socket.SOCK_STREAM)
    made.settimeout(_left(deadline))
    return made


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class DeadlineSocket:
    """What the redis client uses of a socket; all of it ends by `deadline`."""

    def __init__(self, plain: socket.socket, deadline: float) -> None:
        self._plain = plain
        self.deadline = deadline

    def is_stale(self) -> bool:
        """Whether the server has hung up, or says something that nobody asked for."""
        try:
            self._plain.setblocking(False)
            self._plain.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def recv(self, size: int) -> bytes:
        """Receive something; nothing is the end."""
        self._plain.settimeout(_left(self.deadline))
        return self._plain.recv(size)

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        """Receive something into a buffer."""
        data = self.recv(size or len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self._plain.settimeout(_left(self.deadline))
        self._plain.sendall(data)

    def settimeout(self, _timeout: float | None) -> None:
        """Do nothing: there is a deadline."""

    def shutdown(self, how: int) -> None:
        """End the connection, for all processes that have it."""
        self._plain.shutdown(how)

    def close(self) -> None:
        """Let go of it; another process may still have it."""
        self._plain.close()


class _TlsSocket(DeadlineSocket):
    def __init__(self, plain: socket.socket, url: StateUrl, deadline: float) -> None:
        super().__init__(plain, deadline)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context(url).wrap_bio(self._in, self._out, server_hostname=url.host)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            else:
                return self._flush()

    def is_stale(self) -> bool:
        """Whether the server has hung up; it may send tickets unasked."""
        try:
            self._plain.setblocking(False)
            return self._plain.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def recv(self, size: int) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._flush()
                if not self._feed():
                    return b""
            except ssl.SSLZeroReturnError:
                return b""

    def sendall(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def _flush(self) -> None:
        if self._out.pending:
            super().sendall(self._out.read())

    def _feed(self) -> int:
        data = super().recv(_CHUNK)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
        return len(data)


def _context(url: StateUrl) -> ssl.SSLContext:
    options = url.options
    context = ssl.create_default_context(cafile=options.get("ca_certs"))
    if options.get("verify") == "no":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if "certfile" in options:
        context.load_cert_chain(options["certfile"], options.get("keyfile"))
    return context
