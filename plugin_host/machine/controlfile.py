"""The file that holds what was decided: every worker follows it, and all change it under a lock.

``file.update(lambda control: disable(control, "pricing"))``
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Annotated, Final

import msgspec

from ..files.private import read
from ..files.remedies import remedy
from . import audit
from .control import Control, describe
from .datadir import DataDir, DataDirError, unusable

_log = logging.getLogger("plugin_host")

_FORMAT: Final = 1
_MAX_SIZE: Final = 4 * 1024 * 1024
_CORRECT: Final = "correct or remove it"
#: A file that changed so recently could change again without a new time stamp.
_RACY: Final = 2.0


class _Document(msgspec.Struct, frozen=True):
    control: Control
    format: Annotated[int, msgspec.Meta(ge=_FORMAT, le=_FORMAT)]


class ControlFile:
    """The file ``control.json`` of a data directory."""

    def __init__(self, datadir: DataDir) -> None:
        self.path = datadir.path / "control.json"
        self._datadir = datadir
        #: The last good value and the signature of its file, if that can be relied on; replaced
        #: as a whole. None: no good file, nor its absence, was seen yet.
        self._good: tuple[tuple[int, ...] | None, Control] | None = None
        self._complaint: str | None = None

    def read(self) -> Control:
        """Return what holds now; one ``stat`` when nothing has changed.

        Never raises: while the file cannot be understood, the last good value holds, and one
        log line says so.
        """
        signature, control = self._good or (None, Control())
        try:
            if signature is not None and signature == _signature(os.lstat(self.path)):
                return control
            return self._load()
        except (OSError, ValueError, RecursionError) as error:  # ValueError: not JSON, not UTF-8
            self._complain(error)
            return control

    def update(self, change: Callable[[Control], Control], by: str = "") -> Control:
        """Apply a change to what holds, for all workers, durably; return what holds then.

        Nothing is written, and the generation stays, if the change changes nothing.

        :param by: what decided it, for the audit log; the user and process are always named.
        :raises DataDirError: the lock or the file cannot be had, or the file was written by a newer
            version; nothing is changed then.
        """
        with self._datadir.lock("control"):
            old = self._load_or_mend()
            new = msgspec.structs.replace(change(old), generation=old.generation)
            if new == old:
                return old
            new = msgspec.structs.replace(new, generation=old.generation + 1)
            try:
                if self._complaint is not None:
                    os.replace(self.path, self.path.with_suffix(".corrupt"))
                self._datadir.write(self.path, [_encode(new)], durable=True)
            except OSError as error:
                raise unusable(self.path, "written", error) from error
            self._good, self._complaint = (None, new), None
        what = "; ".join(describe(old, new))
        audit.note(self._datadir, f"{what} (generation {new.generation})", by)
        return new

    def _load(self) -> Control:
        """Read the file and remember it."""
        try:
            status, content = read(self.path, _MAX_SIZE)
        except FileNotFoundError:
            self._good, self._complaint = (None, Control()), None
            return Control()
        control = msgspec.json.decode(content, type=_Document).control
        settled = abs(time.time() - status.st_mtime) > _RACY
        self._good, self._complaint = (_signature(status) if settled else None, control), None
        return control

    def _load_or_mend(self) -> Control:
        """Read the file, or remember what it held, and complain, if it is garbage now."""
        try:
            return self._load()
        except OSError as error:
            raise unusable(self.path, "read", error) from error
        except (ValueError, RecursionError) as error:
            # What is JSON may be a newer version's, or an operator's slip: not ours to discard.
            if self._good is None or isinstance(error, msgspec.ValidationError):
                raise DataDirError(
                    self.path, f"cannot be understood: {error}", "correct it, or remove it"
                ) from error
            self._complain(error)
            return self._good[1]

    def _complain(self, error: Exception) -> None:
        text = f"{self.path} cannot be used ({type(error).__name__}: {error})"
        if text != self._complaint:  # once, not at every look
            help_ = remedy(error, _CORRECT) if isinstance(error, OSError) else _CORRECT
            _log.error("%s; what held before keeps holding; %s", text, help_)
        self._complaint = text


def _encode(control: Control) -> bytes:
    document = _Document(control, _FORMAT)
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic"))


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
