"""Telling a machine that has too little of something from a module that is wrong."""

from __future__ import annotations

import errno
import os
import re
from typing import Final

_CODE: Final = re.compile(r"\(os error (\d+)\)")
_SHORT: Final = {
    errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EFBIG, errno.EIO,
}  # fmt: skip


def shortage(exc: BaseException) -> str:
    """Return the operating system's words if it had too little for wasmtime; else nothing.

    :param exc: a WasmtimeError; its text names the causes down to the system's error.
    """
    codes = (int(code) for code in _CODE.findall(str(exc)))
    return next((os.strerror(code) for code in codes if code in _SHORT), "")
