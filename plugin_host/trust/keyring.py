"""Public keys: their text, their ids, and the ones that an app trusts."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..config.trust import KEY_PREFIX
from ..errors import ConfigError, PluginHostError
from .ed25519 import PUBLIC_SIZE, require

#: The public keys that are trusted, by id.
Keyring = Mapping[str, bytes]

MAX_KEY_FILE: Final = 64 * 1024
_KEYS: Final = "PLUGIN_HOST_TRUSTED_KEYS"


class KeyTextError(PluginHostError):
    """A text is not a public key; the message does not repeat it."""


def key_id(public: bytes) -> str:
    """Return 16 digits that tell one key from another, for people and to find it; not a secret."""
    return hashlib.sha256(public).hexdigest()[:16]


def to_text(public: bytes) -> str:
    """Return a key as configuration and files hold it."""
    return KEY_PREFIX + base64.b64encode(public).decode()


def from_text(text: str) -> bytes:
    """Read what `to_text` made.

    :raises KeyTextError: it is something else.
    """
    try:
        public = base64.b64decode(text.removeprefix(KEY_PREFIX), validate=True)
    except ValueError:
        public = b""
    if len(public) != PUBLIC_SIZE or text != to_text(public):
        raise KeyTextError(
            f"is not {KEY_PREFIX!r} and {PUBLIC_SIZE} bytes in base64, as flask plugins keygen"
            " writes a public key"
        )
    return public


def read_keys(path: Path) -> list[bytes]:
    """Read a file of public keys: one on a line; empty lines and those after ``#`` are skipped.

    :raises KeyTextError: it cannot be read, holds no key, or something else.
    """
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(MAX_KEY_FILE + 1)
    except OSError as exc:
        raise KeyTextError(f"cannot be read: {exc.strerror}") from exc
    if hasattr(os, "geteuid") and status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        raise KeyTextError(f"can be written by others (mode {mode:04o}); chmod go-w it")
    if len(content) > MAX_KEY_FILE:
        raise KeyTextError(f"has more than {MAX_KEY_FILE} bytes")
    # Only by what every editor shows as a line's end: a comment must not hide a key.
    lines = [line.strip() for line in content.decode(errors="replace").split("\n")]
    keys = []
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#"):
            try:
                keys.append(from_text(line))
            except KeyTextError as exc:
                raise KeyTextError(f"line {number} {exc}") from exc
    if not keys:
        raise KeyTextError("holds no key")
    return keys


def keys_of(source: str) -> list[bytes]:
    """Return the key that a text is, or those of the file that it names.

    :raises KeyTextError: see `from_text` and `read_keys`.
    """
    return [from_text(source)] if source.startswith(KEY_PREFIX) else read_keys(Path(source))


@functools.lru_cache(maxsize=16)
def trusted(sources: tuple[str, ...]) -> Keyring:
    """Return the keys of ``PLUGIN_HOST_TRUSTED_KEYS``; files are read once in a process.

    :raises ConfigError: one cannot be read, or signatures cannot be checked here.
    """
    try:
        require()
    except PluginHostError as exc:
        raise ConfigError(f"{_KEYS} is set, but {exc}") from exc
    keys: dict[str, bytes] = {}
    for source in sources:
        try:
            keys.update((key_id(public), public) for public in keys_of(source))
        except KeyTextError as exc:
            raise ConfigError(f"{_KEYS}: {source!a} {exc}") from exc
    return keys
