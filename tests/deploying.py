"""A plugins folder that is watched, and a record of all that is handed out: for reload tests.

Each content carries its own digest, so that a prefix or a mixture of two is recognised wherever it
is handed out. Waits end as soon as the folder has settled, or fail at a deadline.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plugin_host.folder.notifier import is_available
from plugin_host.folder.scan import Candidate, Scan
from plugin_host.folder.scanner import FolderScanner
from plugin_host.folder.settling import Timing
from plugin_host.folder.watcher import Watcher

DEADLINE = 30.0
TIMING = Timing(confirm=0.1, new_folder=1.0)

try:
    import fcntl

    HAS_LEASES = hasattr(fcntl, "F_SETLEASE")
except ImportError:
    HAS_LEASES = False


def content(version: str, size: int = 200_000) -> bytes:
    """Return bytes that say their version and can be checked for being whole."""
    body = (version.encode() + b" ") * (size // (len(version) + 1))
    return body + hashlib.sha256(body).digest()


def version(data: bytes) -> str:
    """Return the version of a whole content, or say that it is not whole."""
    if hashlib.sha256(data[:-32]).digest() != data[-32:]:
        return f"not whole: {len(data)} bytes"
    return data.split(b" ", 1)[0].decode()


class Site:
    """A plugins folder with a watcher, and a record of all that was handed out."""

    def __init__(self, root: Path, mode: str) -> None:
        self.root = root
        self.folder = root / "plugins"
        self.aside = root / "aside"
        self.handed: list[Candidate] = []
        self.removed: list[str] = []
        self.scans = 0
        self.last = Scan()
        self.changed = threading.Condition()
        self.looking = threading.Lock()
        self.folder.mkdir()
        self.aside.mkdir()
        self.scanner = FolderScanner(self.folder, max_module_size=1 << 24, timing=TIMING)
        self.watcher = Watcher(
            self.folder,
            self.look,
            0.05 if mode == "poll" else 0.5,
            "poll" if mode == "poll" else "watchdog",
            on_event=self.scanner.hint,
        )

    def look(self, *, initial: bool = False) -> float | None:
        if initial:
            return None  # the thread looks first, as when there was time since the start
        with self.looking:
            scan = self.scanner.scan(initial=self.scans == 0)
        with self.changed:
            self.scans += 1
            self.last = scan
            self.handed += scan.candidates
            self.removed += sorted(scan.removed)
            self.changed.notify_all()
        return scan.seconds_left(time.monotonic())

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE), (self.versions(), self.last)

    def start(self, **files: bytes) -> None:
        for stem, data in files.items():
            (self.folder / f"{stem}.wasm").write_bytes(data)
        self.watcher.ensure_started()
        self.wait(lambda: len(self.handed) == len(files) and self.last.pending_until is None)
        self.clear()

    def clear(self) -> None:
        with self.changed:
            self.handed.clear()
            self.removed.clear()

    def versions(self, stem: str = "x") -> list[str]:
        return [version(c.module) for c in self.handed if c.stem == stem]

    def settle(self, *, looks: int = 1) -> None:
        """Wait until a look that began after now found nothing left to do."""
        with self.changed:
            target = self.scans + 1 + looks
        self.watcher.wake()
        self.wait(
            lambda: (
                self.scans >= target
                and self.last.folder_error is None
                and self.last.pending_until is None
            )
        )

    def expect(self, *versions: str, stem: str = "x") -> None:
        """Wait for the last version, and check that exactly these were handed out."""
        self.wait(lambda: self.versions(stem)[-1:] == [versions[-1]])
        self.settle()
        assert self.versions(stem) == list(versions)


MODES = [
    pytest.param(
        "events", marks=pytest.mark.skipif(not is_available(), reason="watchdog not installed")
    ),
    "poll",
]


@contextmanager
def watched(root: Path, mode: str) -> Iterator[Site]:
    """Watch a new folder, and leave no thread behind."""
    threads = set(threading.enumerate())
    site = Site(root, mode)
    yield site
    assert site.watcher.stop(DEADLINE)
    deadline = time.monotonic() + DEADLINE
    while not set(threading.enumerate()) <= threads:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def put(path: Path, content: str | bytes) -> None:
    """Deploy as an operator should: rename into place."""
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content.encode() if isinstance(content, str) else content)
    draft.rename(path)


def until(condition: Callable[[], object]) -> None:
    """Wait for what must come; fail when it does not."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


@contextmanager
def permissions_count() -> Iterator[None]:
    """Let permissions hold also for root, in this thread and those that it starts."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "capset"):
        pytest.skip("root may do everything")
    header, now = _Header(0x20080522, 0), (_Capabilities * 2)()
    libc.capget(ctypes.byref(header), now)
    before = now[0].effective
    now[0].effective &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    assert libc.capset(ctypes.byref(header), now) == 0
    try:
        yield
    finally:
        now[0].effective = before
        assert libc.capset(ctypes.byref(header), now) == 0
