"""The reading of what is trusted: public keys, pinned digests, folders that links may lead to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from .bynames import ByNames, parse_by_names
from .keys import Rejected, parse_folder
from .text import show

#: How a public key begins that is given as text; anything else is the path of a file of keys.
KEY_PREFIX: Final = "ed25519:"

Pins = ByNames[frozenset[str]]


def parse_trusted_keys(value: Any) -> tuple[str, ...] | None:
    """Read a list of keys and paths; an empty one is refused, since it would trust everybody."""
    if value is None:
        return None
    keys = tuple(_texts(value, "a list of keys"))
    if not keys:
        raise Rejected("it names no key; leave it out to load plugins without signatures")
    return keys


def absolute_keys(keys: tuple[str, ...] | None, root: Path) -> tuple[str, ...] | None:
    """Return them with paths that are absolute."""
    if keys is None:
        return None
    return tuple(key if key.startswith(KEY_PREFIX) else str(root / key) for key in keys)


def parse_pins(value: Any) -> Pins:
    """Read a mapping of patterns of plugin names to a digest, or to a list of them."""
    if not isinstance(value, Mapping):
        raise Rejected(f"{show(value)} is not a mapping")
    return parse_by_names(value, _digests)


def parse_links(value: Any) -> tuple[Path, ...]:
    """Read a list of folders."""
    return tuple(parse_folder(text) for text in _texts(value, "a list of folders"))


def _digests(value: Any) -> frozenset[str]:
    digests = [text.lower() for text in _texts(value, "a digest or a list of digests")]
    for digest in digests:
        if not re.fullmatch("[0-9a-f]{64}", digest):
            raise Rejected(f"{show(digest)} is not 64 hexadecimal digits")
    return frozenset(digests)


def _texts(value: Any, what: str) -> Iterable[str]:
    """Return texts that are listed, also in one text with commas between them."""
    if isinstance(value, str):
        return [text.strip() for text in value.split(",") if text.strip()]
    if not isinstance(value, list | tuple | set | frozenset):
        raise Rejected(f"{show(value)} is not {what}")
    for text in value:
        if not isinstance(text, str | os.PathLike) or not str(text).strip():
            raise Rejected(f"{show(text)} in it is no text")
    return [str(text).strip() for text in value]
