"""Files that several processes may want to create in the same instant."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def publish_once(target: Path, fill: Callable[[Path], None]) -> None:
    """Create `target` whole, readable by its owner only, unless it exists.

    `fill` writes a draft beside the target. Linking the draft to its final name is atomic and fails
    if another process was first, so every process sees the same complete file and no lock is held.

    :raises OSError: the folder cannot be created or written.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    draft = Path(name)
    try:
        fill(draft)
        with contextlib.suppress(FileExistsError):
            os.link(draft, target)
    finally:
        draft.unlink(missing_ok=True)
