"""WASI preview 1 as a plugin may have it: standard streams, clock, chance, and nothing else.

There are no files, arguments, environment variables or sockets; what would open one says so by its
error number. Everything runs in the calling thread and ends with the call's deadline
(docs/rationale.md, "Why not the runtime's own WASI?"). A pointer outside the memory is a trap, as
with every host function.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from functools import wraps
from struct import Struct
from typing import Final
from weakref import WeakKeyDictionary

from .. import osthread
from ..errors import GuestTrap
from ..wasm.instance import HostFunction, Instance
from .services import Group, Services, late, time_left
from .wasi_signatures import SIGNATURES

MODULE: Final = "wasi_snapshot_preview1"

SUCCESS, BADF, INVAL, NOSYS, SPIPE, NOTCAPABLE = 0, 8, 28, 52, 70, 76

#: What one call looks at, at most; guests come back for the rest.
MAX_VECTORS, MAX_WRITE, MAX_EVENTS = 1024, 65_536, 128
#: Bytes of an unfinished line that are kept.
MAX_LINE: Final = 8192
_CHUNK = 65_536

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_LEVELS = {_STDOUT: logging.INFO, _STDERR: logging.WARNING}
_CHARACTER_DEVICE = 2
_MAY_READ, _MAY_WRITE = 1 << 1, 1 << 6
_CLOCKS: tuple[Callable[[], int], ...] = (time.time_ns, time.monotonic_ns)
_CLOCK, _ABSOLUTE = 0, 1

_size = Struct("<I").pack
_vectors = Struct("<II").iter_unpack
_filesize = Struct("<Q").pack
_fdstat = Struct("<BxHxxxxQQ").pack
_subscriptions = Struct("<QB7xI4xQQH6x").iter_unpack
_SUBSCRIPTION = 48
_event = Struct("<QHB5xQH6x").pack

_Function = Callable[..., int | None]


def groups(services: Services) -> Iterator[Group]:
    """Provide all of preview 1; what nobody can be granted answers with an error number."""
    granted: dict[str, dict[str, _Function]] = {
        "log": {"fd_write": _fd_write(services)},
        "clock": {
            "clock_res_get": _clock_res_get,
            "clock_time_get": _clock_time_get,
            "poll_oneoff": _poll_oneoff,
        },
        "random": {"random_get": _random_get(services)},
    }
    for capability, served in granted.items():
        yield Group(capability, tuple(_host_function(*item) for item in served.items()))
    taken = {name for served in granted.values() for name in served}
    free = {name: _FREE.get(name) or _refused(name) for name in SIGNATURES if name not in taken}
    yield Group("", tuple(_host_function(*item) for item in free.items()))


def _host_function(name: str, function: _Function) -> HostFunction:
    params = tuple("i64" if letter == "I" else "i32" for letter in SIGNATURES[name])
    results = () if name == "proc_exit" else ("i32",)
    return HostFunction(MODULE, name, params, results, function)


def _refused(name: str) -> _Function:
    """Return what answers for a function that the host does not serve."""
    kind, _, _ = name.partition("_")
    errno = {"fd": BADF, "path": NOTCAPABLE, "sock": NOTCAPABLE}.get(kind, NOSYS)
    return lambda *_: errno


def _standard(function: _Function) -> _Function:
    """Let a function be called on the standard streams only: no others are ever open."""

    @wraps(function)
    def checked(instance: Instance, fd: int, *more: int) -> int | None:
        return function(instance, fd, *more) if fd <= _STDERR else BADF

    return checked


# Standard streams


def _fd_write(services: Services) -> _Function:
    # By descriptor: the deadline of the call that began a line, and what there is of it.
    unfinished: WeakKeyDictionary[Instance, dict[int, tuple[float, bytes]]] = WeakKeyDictionary()

    def fd_write(instance: Instance, fd: int, vectors: int, count: int, written: int) -> int:
        if fd not in _LEVELS:
            return BADF
        if count > MAX_VECTORS:
            return INVAL
        data = _gather(instance, vectors, count)
        instance.write(written, _size(len(data)))
        kept = unfinished.setdefault(instance, {})
        deadline, begun = kept.get(fd, (0.0, b""))
        if begun and deadline != instance.deadline:
            begun += b"\n"  # a line does not go on in another call: that may be another request's
        *lines, rest = (begun + data).split(b"\n")
        if len(rest) > MAX_LINE:
            lines.append(rest)
            rest = b""
        kept[fd] = instance.deadline, rest
        for line in filter(None, lines):
            time_left(instance)
            services.log(instance, _LEVELS[fd], line[:MAX_LINE].decode("utf-8", "replace"))
        return SUCCESS

    return fd_write


def _gather(instance: Instance, vectors: int, count: int) -> bytes:
    """Return the first `MAX_WRITE` bytes of what an array of vectors points at."""
    parts, room = [], MAX_WRITE
    for pointer, length in _vectors(instance.read(vectors, 8 * count)):
        taken = min(length, room)
        parts.append(instance.read(pointer, taken))
        room -= taken
    return b"".join(parts)


@_standard
def _fd_read(instance: Instance, fd: int, _vectors: int, _count: int, read: int) -> int:
    if fd != _STDIN:
        return BADF
    instance.write(read, _size(0))  # the end of the file
    return SUCCESS


@_standard
def _fd_fdstat_get(instance: Instance, fd: int, result: int) -> int:
    # A terminal is what C's stdio writes to line by line, instead of when a buffer is full.
    rights = _MAY_READ if fd == _STDIN else _MAY_WRITE
    instance.write(result, _fdstat(_CHARACTER_DEVICE, 0, rights, 0))
    return SUCCESS


@_standard
def _accepted(_instance: Instance, _fd: int, *_more: int) -> int:
    return SUCCESS


@_standard
def _no_position(_instance: Instance, _fd: int, *_more: int) -> int:
    return SPIPE


# The process


def _nothing_to_count(instance: Instance, count: int, size: int) -> int:
    instance.write(count, _size(0))
    instance.write(size, _size(0))
    return SUCCESS


def _nothing_to_do(*_: object) -> int:
    return SUCCESS


def _proc_exit(_instance: Instance, code: int) -> None:
    raise GuestTrap(f"the guest exited with code {code}", "exit")


_FREE: Final[dict[str, _Function]] = {
    "args_get": _nothing_to_do,
    "args_sizes_get": _nothing_to_count,
    "environ_get": _nothing_to_do,
    "environ_sizes_get": _nothing_to_count,
    "fd_close": _accepted,
    "fd_fdstat_get": _fd_fdstat_get,
    "fd_fdstat_set_flags": _accepted,
    "fd_read": _fd_read,
    "fd_seek": _no_position,
    "fd_tell": _no_position,
    "proc_exit": _proc_exit,
    "sched_yield": _nothing_to_do,
}
"""What needs no capability, since it shows and moves nothing."""


# Time and chance


def _clock_res_get(instance: Instance, clock: int, result: int) -> int:
    if clock >= len(_CLOCKS):
        return INVAL
    instance.write(result, _filesize(1))
    return SUCCESS


def _clock_time_get(instance: Instance, clock: int, _precision: int, result: int) -> int:
    if clock >= len(_CLOCKS):
        return INVAL
    instance.write(result, _filesize(_CLOCKS[clock]()))
    return SUCCESS


def _poll_oneoff(instance: Instance, wanted: int, events: int, count: int, stored: int) -> int:
    """Wait for the first of some clocks; streams are ready at once.

    A wait that ends after the deadline ends the call here and now: it could not answer any more.
    """
    if not 0 < count <= MAX_EVENTS:
        return INVAL
    waits = []
    for user, kind, which, timeout, _, flags in _subscriptions(
        instance.read(wanted, _SUBSCRIPTION * count)
    ):
        errno, wait = SUCCESS, 0
        if kind != _CLOCK:
            errno = SUCCESS if which <= _STDERR else BADF
        elif which >= len(_CLOCKS):
            errno = INVAL
        else:
            wait = max(0, timeout - _CLOCKS[which]() if flags & _ABSOLUTE else timeout)
        waits.append((wait, _event(user, errno, kind, 0, 0)))
    first = min(wait for wait, _ in waits)
    if first:
        if first / 1e9 > time_left(instance):
            raise late()
        osthread.sleep(first / 1e9)
    ready = [event for wait, event in waits if wait <= first]
    instance.write(events, b"".join(ready))
    instance.write(stored, _size(len(ready)))
    return SUCCESS


def _random_get(services: Services) -> _Function:
    def random_get(instance: Instance, pointer: int, length: int) -> int:
        end = pointer + length
        if end > instance.memory_size():
            raise instance.outside(pointer, length)
        for at in range(pointer, end, _CHUNK):
            instance.write(at, services.random(min(_CHUNK, end - at)))
            time_left(instance)
        return SUCCESS

    return random_get
