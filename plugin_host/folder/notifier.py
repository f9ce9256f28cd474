"""File events from watchdog: they make the watcher look sooner, and nothing depends on them.

Events are blind to much (a folder replaced, a link's target rewritten, a network file system), and
watchdog's threads end silently on an exception, so everything here is re-checked by `ensure`, and
the watcher looks at the folder at its interval in any case (docs/rationale.md, "Why watchdog only
wakes").
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

from plugin_host.folder.rehearsal import rehearse
from plugin_host.folder.settling import Event

# Imported here and not where it is used: a fork while another thread imports it leaves the import
# lock held in the child, whose own import then never returns.
try:
    from watchdog import events
    from watchdog.observers import Observer
except (ImportError, OSError):  # not installed, or the platform's notifier does not load
    events = None  # type: ignore[assignment]

_TELLS_CLOSE = sys.platform == "linux"
"""Whether a write is followed by an event when the writer closes the file (inotify)."""
_RETRY = 30.0  # seconds between attempts after the operating system refused

_log = logging.getLogger(__name__)


def is_available() -> bool:
    """Whether watchdog can be used on this platform."""
    return events is not None


def _event_filter() -> list[Any]:
    """Return the event types to ask for: none of those that reading a file causes.

    With them, every worker's read would wake every other worker.
    """
    names = (
        "FileCreatedEvent FileModifiedEvent FileClosedEvent FileMovedEvent FileDeletedEvent "
        "FileAttribEvent DirCreatedEvent DirMovedEvent DirDeletedEvent"  # FileAttrib: 7 and later
    )
    return [getattr(events, name) for name in names.split() if hasattr(events, name)]


@contextmanager
def _held(folder: Path) -> Iterator[str]:
    """A path to the folder that is there now, for as long as it is needed to start watching.

    It is no link, which the kernel's watch would not follow, and leads to the folder also when that
    is moved or removed before it is watched: watchdog 6, told so, never closes what it has opened.
    """
    path = os.path.realpath(folder)
    if sys.platform != "linux":
        yield path
        return
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        held = f"/proc/self/fd/{fd}/."
        yield held if os.path.isdir(held) else path  # without /proc there are no such paths
    finally:
        os.close(fd)


class _Handler:
    """What watchdog calls; an exception that leaves it would end watchdog's thread."""

    def __init__(self, hint: Callable[[Event, str], None], wake: Callable[[], None]) -> None:
        self._hint = hint
        self._wake = wake

    def dispatch(self, event: Any) -> None:
        try:
            self._take(event)
        except Exception:
            _log.exception("plugins folder: an event was lost; the next scan makes up for it")

    def _take(self, event: Any) -> None:
        kind = event.event_type
        # Elsewhere a write or a creation tells nothing about when the content is complete.
        telling = ("created", "modified", "closed", "moved") if _TELLS_CLOSE else ("moved",)
        if not event.is_directory and kind in telling:
            path = event.dest_path if kind == "moved" else event.src_path
            self._hint(cast("Event", kind), os.path.basename(os.fsdecode(path)))
            if kind == "modified":
                return  # the file is not whole before it is closed: nothing to look at
        self._wake()


class _Replacement:
    """What watchdog calls for a folder of which one file matters."""

    def __init__(self, name: str, wake: Callable[[], None]) -> None:
        self._name = name
        self._wake = wake

    def dispatch(self, event: Any) -> None:
        if os.path.basename(os.fsdecode(event.dest_path)) == self._name:
            self._wake()


class FolderNotifier:
    """Watches one folder, whatever it is replaced by.

    Belongs to one thread, except that ``hint`` and ``wake`` are called from watchdog's.

    :param hint: told the kind of event and the file's name.
    :param wake: told that it is time to look.
    :param also: a file elsewhere; when another takes its place, it is time to look, too.
    """

    def __init__(
        self,
        directory: Path,
        hint: Callable[[Event, str], None],
        wake: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        also: Path | None = None,
    ) -> None:
        self._directory = directory
        self._also = also
        self._wake = wake
        self._handler = _Handler(hint, wake)
        self._clock = clock
        self._observer: Any = None
        self._watched: tuple[int, int] | None = None
        self._refusal = ""
        self._retry_at = float("-inf")

    def ensure(self) -> bool:
        """Watch the folder that is there now; returns whether events can be expected."""
        try:
            status = os.stat(self._directory)
        except OSError as error:
            self.close()
            return self._refused(error)
        identity = (status.st_dev, status.st_ino)
        if identity == self._watched and self._is_alive():
            return True
        if identity == self._watched and self._clock() < self._retry_at:
            return False
        self.close()
        self._watched = identity
        try:
            self._start()
        except Exception as error:  # OSError for inotify's limits; never end the caller's thread
            return self._refused(error)
        self._refusal, self._retry_at = "", float("-inf")
        return True

    def _start(self) -> None:
        also = self._also if self._also is not None and self._also.parent.is_dir() else None
        folders = [self._directory] if also is None else [self._directory, also.parent]
        with ExitStack() as stack:
            paths = [stack.enter_context(_held(folder)) for folder in folders]
            rehearse(paths)
            observer = self._observer = Observer()
            handler = cast("events.FileSystemEventHandler", self._handler)
            observer.schedule(handler, paths[0], recursive=False, event_filter=_event_filter())
            if also is not None:  # looked at in any case
                handler = cast("events.FileSystemEventHandler", _Replacement(also.name, self._wake))
                moved: list[Any] = [events.FileMovedEvent]
                observer.schedule(handler, paths[1], recursive=False, event_filter=moved)
            observer.start()

    def _is_alive(self) -> bool:
        observer = self._observer
        return (
            observer is not None
            and observer.is_alive()
            and bool(observer.emitters)
            and all(emitter.is_alive() for emitter in observer.emitters)
        )

    def _refused(self, error: Exception) -> bool:
        watched = self._watched
        self.close()
        self._watched = watched
        self._retry_at = self._clock() + _RETRY
        if str(error) != self._refusal:
            self._refusal = str(error)
            _log.warning("plugins folder %s: no file events (%s); polling", self._directory, error)
        return False

    def close(self) -> None:
        """End watchdog's threads and close its files."""
        observer, self._observer, self._watched = self._observer, None, None
        if observer is None:
            return
        with suppress(Exception):  # one that never started, or died, may refuse any of these
            observer.stop()
        with suppress(RuntimeError):
            observer.join(timeout=2.0)
