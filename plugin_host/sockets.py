"""Connections that keep a deadline, whatever the other side does, and switch no greenlet.

Under gevent's patching `socket` and `ssl` would switch greenlets, and while a guest is on the stack
that kills the process. The sockets here are the originals; TLS goes through memory, because the
original of its socket does not survive the patching.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final, NamedTuple

from . import osthread

#: A good size for `Connection.recv`.
CHUNK: Final = 65_536


class Tls(NamedTuple):
    """What a server's certificate is checked by, and the name that it must be for."""

    context: ssl.SSLContext
    host: str | None


def connect(found: Iterable[Any], deadline: float, tls: Tls | None = None) -> Connection:
    """Connect to the first address that can be connected to.

    :param found: addresses as `socket.getaddrinfo` returns them.
    :param deadline: see `Connection`.
    :raises OSError: there is none; the last one's failure.
    """
    failure = OSError("the name has no address")
    for family, _, _, _, address in found:
        try:
            if tls is not None:
                return TlsConnection(family, address, deadline, tls)
            return Connection(family, address, deadline)
        except OSError as exc:
            failure = exc
    raise failure


def time_left(deadline: float) -> float:
    """Return the seconds until an absolute time.

    :raises TimeoutError: there are none.
    """
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class Connection:
    """A stream to an address; methods of a socket's name do as a socket's.

    :param family: of the address, as `socket.getaddrinfo` says.
    :param deadline: the absolute time by which connecting and everything else must be done; may
        be set anew.
    :raises OSError: (all methods, too) the other side fails; a TimeoutError at the deadline.
    """

    #: Whether the other side may send something that nobody asked for.
    _chatty = False

    def __init__(self, family: int, address: Any, deadline: float) -> None:
        self.deadline = deadline
        self._plain: socket.socket = osthread.original("socket", "socket")(
            family, socket.SOCK_STREAM
        )
        try:
            self._plain.settimeout(time_left(deadline))
            self._plain.connect(address)
            if family in (socket.AF_INET, socket.AF_INET6):
                self._plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except BaseException:
            self.close()
            raise

    def is_stale(self) -> bool:
        """Whether the other side has hung up, or says something that nobody asked for."""
        try:
            self._plain.setblocking(False)
            return not self._plain.recv(1, socket.MSG_PEEK) or not self._chatty
        except BlockingIOError:
            return False
        except OSError:
            return True

    def recv(self, size: int) -> bytes:
        """Wait for some bytes; none are the end."""
        self._plain.settimeout(time_left(self.deadline))
        return self._plain.recv(size)

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        """Wait for some bytes; return how many have come."""
        data = self.recv(size or len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        self._plain.settimeout(time_left(self.deadline))
        self._plain.sendall(data)

    def settimeout(self, _timeout: float | None) -> None:
        """Do nothing: there is a deadline."""

    def shutdown(self, how: int) -> None:
        """End the connection, for all processes that have it."""
        self._plain.shutdown(how)

    def close(self) -> None:
        """Let go of it; another process may still have it."""
        self._plain.close()


class TlsConnection(Connection):
    """A stream over TLS to an address."""

    _chatty = True  # with tickets

    def __init__(self, family: int, address: Any, deadline: float, tls: Tls) -> None:
        super().__init__(family, address, deadline)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self._tls = tls.context.wrap_bio(self._in, self._out, server_hostname=tls.host)
            while not self._shaken():
                self._feed()
        except BaseException:
            self.close()
            raise

    def recv(self, size: int) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def sendall(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def _shaken(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._flush()
        return True

    def _flush(self) -> None:
        if self._out.pending:
            super().sendall(self._out.read())

    def _feed(self) -> None:
        data = super().recv(CHUNK)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
