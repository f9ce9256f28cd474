"""What tests of faults do in a process of its own, since it cannot be undone in one."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from plugin_host.errors import StateError
from plugin_host.state import Namespace, Quota
from plugin_host.state.sqlite import SqliteBackend
from tests.state.crowd import soon

__all__ = ["fill_up", "read_only", "sys"]


def fill_up(path: str) -> None:
    """Write until the disk is full; print how much, why not more, what is there, and then again."""
    space = Namespace(SqliteBackend(Path(path)), "shop", Quota())
    space.put(b"first", b"", deadline=soon())
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    written = 0
    try:
        while written < 10_000:
            space.put(b"%05d" % written, b"x" * 1000, deadline=soon())
            written += 1
    except StateError as error:
        refusal = str(error)
    print(written)
    print(refusal)
    print(sum(space.get(b"%05d" % n, deadline=soon()) == b"x" * 1000 for n in range(written)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    space.put(b"again", b"written", deadline=soon())
    print((space.get(b"again", deadline=soon()) or b"").decode())


def read_only(path: str) -> None:
    """Read and write as a user who may only read."""
    if os.geteuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    space = Namespace(SqliteBackend(Path(path)), "shop", Quota())
    try:
        print(space.get(b"k", deadline=soon()))
    except StateError as error:
        print(error)
    try:
        space.put(b"k", b"w", deadline=soon())
    except StateError as error:
        print(error)
