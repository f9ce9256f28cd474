"""Telling a machine that has too little of something from a module that is wrong."""

from __future__ import annotations

import errno
import os
import re
from typing import Final

#: The first cause is named last, before a backtrace, if one is asked for and the release has them.
#: A guest's names, which errors quote in backticks, are never at the end.
_CODE: Final = re.compile(r"\(os error (\d{1,5})\)\s*(?:\n\nStack backtrace:\n[^`]*)?\Z")
_SHORT: Final = {
    errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EFBIG, errno.EIO,
}  # fmt: skip


def shortage(exc: BaseException) -> str:
    """Return the operating system's words if it had too little for wasmtime; else nothing.

    :param exc: a WasmtimeError; its text names the causes down to the system's error.
    """
    found = _CODE.search(str(exc))
    code = int(found[1]) if found else 0
    return os.strerror(code) if code in _SHORT else ""
