"""Our own candidates, through the names that the extension uses itself."""

from __future__ import annotations

from benchmarks.peers import Technology

ALL: tuple[type[Technology], ...] = ()
