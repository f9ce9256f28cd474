"""Connections that keep a deadline, whatever the other side does, and switch no greenlet.

Under gevent's patching `socket` and `ssl` would switch greenlets, and while a guest is on the stack
that kills the process. The sockets here are the originals; TLS goes through memory, because the
original of its socket does not survive the patching.
"""

from __future__ import annotations

import socket
import ssl
from time import monotonic
from typing import Any

from . import osthread

_CHUNK = 65_536


def time_left(deadline: float) -> float:
    """Return the seconds until an absolute time.

    :raises TimeoutError: there are none.
    """
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class Connection:
    """A stream to an address.

    :param family: of the address, as `socket.getaddrinfo` says.
    :param deadline: the absolute time by which connecting and everything else must be done.
    :raises OSError: (all methods, too) the other side fails; a TimeoutError at the deadline.
    """

    def __init__(self, family: int, address: Any, deadline: float) -> None:
        self.deadline = deadline
        self._plain: socket.socket = osthread.original("socket", "socket")(
            family, socket.SOCK_STREAM
        )
        try:
            self._plain.settimeout(time_left(deadline))
            self._plain.connect(address)
        except BaseException:
            self.close()
            raise

    def receive(self) -> bytes:
        """Wait for some bytes; none are the end."""
        self._plain.settimeout(time_left(self.deadline))
        return self._plain.recv(_CHUNK)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._plain.settimeout(time_left(self.deadline))
        self._plain.sendall(data)

    def close(self) -> None:
        """Hang up."""
        self._plain.close()


class TlsConnection(Connection):
    """A stream over TLS to an address, whose certificate is for `host` and trusted."""

    def __init__(
        self, family: int, address: Any, deadline: float, context: ssl.SSLContext, host: str
    ) -> None:
        super().__init__(family, address, deadline)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        try:
            while not self._shaken():
                self._feed()
        except BaseException:
            self.close()
            raise

    def receive(self) -> bytes:
        while True:
            try:
                return self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def send(self, data: bytes) -> None:
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
            super().send(self._out.read())

    def _feed(self) -> None:
        data = super().receive()
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
