"""The native ABI, version 1: everything that ``docs/abi.md`` says about bytes."""

from __future__ import annotations

from plugin_host.abi.edits import EditsDecoder
from plugin_host.abi.records import BODY, BODY_OMITTED, ResponseEncoder
from plugin_host.abi.request_records import REQUEST_FIELDS, RequestEncoder
from plugin_host.errors import BadResult

__all__ = [
    "BODY",
    "BODY_OMITTED",
    "MAX_ERROR_MESSAGE",
    "REQUEST_FIELDS",
    "VERSION",
    "EditsDecoder",
    "RequestEncoder",
    "ResponseEncoder",
    "unpack_result",
]

VERSION = 1
MAX_ERROR_MESSAGE = 4096
"""Bytes of a guest's error message that are kept."""


def unpack_result(value: int) -> tuple[int, int, bool]:
    """Return pointer, length and error flag of what a hook returned, signed or not.

    0, "unchanged", gives ``(0, 0, False)``. Pointer and length are below 2³² and 2³¹; that they lie
    inside the memory is for the reader of the memory to check.

    :raises BadResult: something is returned, at pointer 0.
    """
    pointer = (value >> 32) & 0xFFFFFFFF
    if not pointer and value:
        raise BadResult(0, "a result's pointer is not 0")
    return pointer, value & 0x7FFFFFFF, bool(value & 0x80000000)
