"""What every candidate is: a guest, loaded when the object is made, that does the works."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.measure import Skipped
from benchmarks.works import Environ

GUESTS = Path(__file__).parent / "guests"


def guest(name: str) -> bytes:
    """The bytes of one of the guests beside this file."""
    return (GUESTS / name).read_bytes()


def optional(module: str, distribution: str) -> Any:
    """Import a peer; raises `Skipped` when it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise Skipped(f"{distribution} is not installed ({exc})") from exc


class Technology:
    """One candidate: a way to run a hook."""

    name: ClassVar[str]
    #: Whether there is a guest to load, so that a cold start means something.
    cold_start: ClassVar[bool] = True
    #: Environment variables that turn its compile cache off, if it has one.
    no_cache: ClassVar[dict[str, str]] = {}

    def edit(self, environ: Environ) -> Environ:
        """W1 and W2: from environ to edited environ."""
        raise NotImplementedError

    def hash(self, rounds: int) -> int:
        """W3: the hash after `rounds`."""
        raise NotImplementedError

    def nothing(self, _: object = None) -> object:
        """Call a hook that has nothing to do."""
        raise NotImplementedError

    def fresh_edit(self, environ: Environ) -> Environ:
        """The same as `edit`, in an instance made for this call alone."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything."""
