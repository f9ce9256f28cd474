"""The key that signs sessions: given by the operator, or made once and kept."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from .once import publish_once

_SHORTEST = 16


def secret_key(configured: object, folder: Path) -> str | bytes:
    """Return the configured key, or the one in `folder`, which is made if it is missing.

    :raises RuntimeError: the key is of the wrong type, or the kept one is damaged.
    """
    if configured is None:
        return _kept(folder / "secret_key")
    if not isinstance(configured, str | bytes) or not configured:
        raise RuntimeError(
            "SECRET_KEY must be text; in the environment, quote it when it is only digits: "
            "FLASK_SECRET_KEY='\"123…\"'"
        )
    return configured


def _kept(path: Path) -> str:
    publish_once(path, _write)
    key = path.read_text("ascii").strip()
    if len(key) < _SHORTEST:
        raise RuntimeError(f"{path} holds no usable key; delete it and start again")
    return key


def _write(path: Path) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
