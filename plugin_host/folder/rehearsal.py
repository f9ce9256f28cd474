"""Asking the operating system for what watchdog is about to ask for, and giving it back.

Where watchdog is refused a watch, a pipe or a thread, it never closes what it has opened until
then. It is tried again and again, so that a process would run out of descriptors because the
machine has run out of watches.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

from plugin_host import osthread
from plugin_host.errors import MORE_RESOURCES

_IN_CREATE: Final = 0x100
_INSTANCES: Final = "raise fs.inotify.max_user_instances, or the limit of open files (ulimit -n)"
_WATCHES: Final = "raise fs.inotify.max_user_watches"


def rehearse(folders: Sequence[str]) -> None:
    """Raise what watchdog would be refused, if it were to watch these folders now.

    :raises OSError: there is no watch, inotify instance or descriptor left; or no such folder.
    :raises RuntimeError: there are not enough threads.
    """
    if sys.platform != "linux":
        return
    with ExitStack() as stack:
        for folder in folders:
            _watch(stack, folder)
        _threads(stack, 2 * len(folders) + 1)


def _watch(stack: ExitStack, folder: str) -> None:
    libc = _libc()
    fd = libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0:
        raise _refused("no inotify instance", {errno.EMFILE: _INSTANCES})
    stack.callback(osthread.close, fd)
    for end in os.pipe():
        stack.callback(osthread.close, end)
    if libc.inotify_add_watch(fd, os.fsencode(folder), _IN_CREATE) < 0:
        raise _refused("no inotify watch", {errno.ENOSPC: _WATCHES})


def _threads(stack: ExitStack, count: int) -> None:
    """Have so many threads at once."""
    gate = osthread.allocate_lock()
    gate.acquire()

    def wait() -> None:
        with gate:
            pass

    started: list[osthread.Handle] = []
    stack.callback(lambda: [thread.join(1.0) for thread in started])
    stack.callback(gate.release)
    try:
        for _ in range(count):
            started.append(osthread.start(wait, "plugin-host-rehearsal"))
    except RuntimeError as error:
        raise RuntimeError(f"{error}; {MORE_RESOURCES}") from error


def _refused(what: str, remedies: dict[int, str]) -> OSError:
    code = ctypes.get_errno()
    help_ = remedies.get(code)
    return OSError(code, f"{what}: {os.strerror(code)}" + (f"; {help_}" if help_ else ""))


@functools.cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)
