"""The key that artefacts are signed with: a file of random bytes beside them."""

from __future__ import annotations

import errno
import secrets
from pathlib import Path

from ..files.private import not_private, read, write_whole
from ..files.remedies import remedy

KEY_FILE = "key"
KEY_SIZE = 32

#: Why a key cannot be read, if it is to be replaced: gone, a link or no file, another user's or
#: of a mode that shuts us out, too long.
_DOUBTFUL = {
    errno.ENOENT, errno.ELOOP, errno.EINVAL, errno.EPERM, errno.EACCES, errno.EFBIG,
}  # fmt: skip


class Unusable(Exception):
    """The folder cannot be used; the text says why and what to do."""


class NotRoots(Unusable):
    """The folder is of the user whom a root master's workers become: nothing is wrong."""


def read_or_make_key(directory: Path) -> bytes:
    """This installation's key; made at the first use and whenever it is not beyond doubt.

    It is read anew each time: the folder may have been removed and made again.

    :raises Unusable: it can be neither read nor made.
    """
    path = directory / KEY_FILE
    try:
        for replace in (False, True):  # a key that is there but not to be trusted is replaced
            if key := _read_key(path):
                return key
            # Without hard links two workers may replace each other's key; the artefacts signed
            # with the one that lost are compiled again.
            write_whole(path, [secrets.token_bytes(KEY_SIZE)], replace=replace)
        key = _read_key(path)
    except OSError as exc:
        what = remedy(exc, "make room, or make the folder writable to this user")
        raise Unusable(f"the key in {directory} cannot be made: {exc.strerror}; {what}") from exc
    if key is None:
        raise Unusable(f"the key in {directory} does not stay private; remove the folder")
    return key


def _read_key(path: Path) -> bytes | None:
    """The key, or None if there is none that only we could have written and read."""
    try:
        status, key = read(path, KEY_SIZE)
    except OSError as exc:
        if exc.errno in _DOUBTFUL:
            return None
        raise
    return key if len(key) == KEY_SIZE and not not_private(status) else None
