"""Connections and forks: none is open while this process forks, and no child uses its parent's."""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol


class Forking(Protocol):
    """Something that holds connections or locks."""

    def before_fork(self) -> None:
        """Close what a child must not inherit."""

    def after_fork(self, in_child: bool) -> None:
        """Go on; a child forgets what it inherited all the same, and makes its locks anew."""


_known: Final[weakref.WeakSet[Forking]] = weakref.WeakSet()


def watch(item: Forking) -> None:
    """Tell ``item`` of every fork for as long as it lives."""
    _known.add(item)


def _before() -> None:
    for item in tuple(_known):
        item.before_fork()


def _after(in_child: bool) -> None:
    for item in tuple(_known):
        item.after_fork(in_child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=lambda: _after(False),
        after_in_child=lambda: _after(True),
    )
