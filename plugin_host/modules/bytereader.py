"""Bounds-checked reading of the values that the WebAssembly binary format is made of (5.1, 5.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


class BinaryError(ValueError):
    """The bytes are no core module that this host can read.

    :param offset: byte offset at which the rule is broken.
    :param rule: the rule, or what the bytes are instead.
    """

    def __init__(self, offset: int, rule: str) -> None:
        self.offset = offset
        self.rule = rule
        super().__init__(f"at byte {offset}: {rule}")


class ByteReader:
    """A position in ``data`` that never passes ``end``.

    What would have it do so, or is malformed, is a BinaryError, which says ``what`` it is.
    """

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data = data
        self.at = at
        self.end = end

    def skip(self, size: int, what: str) -> int:
        """Step over ``size`` bytes and return where they start."""
        start = self.at
        if size > self.end - start:
            raise BinaryError(start, f"{what} needs {size} bytes, {self.end - start} are left")
        self.at = start + size
        return start

    def byte(self, what: str) -> int:
        """Read one byte."""
        return self.data[self.skip(1, what)]

    def number(self, what: str, bits: int = 32) -> int:
        """Read an unsigned integer in LEB128 (5.2.2)."""
        start, value = self.at, 0
        for shift in range(0, bits, 7):
            byte = self.byte(what)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> bits:
                    break
                return value
        raise BinaryError(start, f"{what} does not fit into {bits} bits")

    def name(self, what: str) -> str:
        """Read a name (5.2.4)."""
        start = self.skip(self.number(f"the length of {what}"), what)
        try:
            return self.data[start : self.at].decode()
        except UnicodeDecodeError as error:
            raise BinaryError(start + error.start, f"{what} is not UTF-8") from None

    def count(self, what: str) -> int:
        """Read the length of a vector whose elements take at least a byte each (5.1.3)."""
        start, count = self.at, self.number(f"the number of {what}s")
        if count > self.end - self.at:
            raise BinaryError(start, f"{count} {what}s cannot fit into {self.end - self.at} bytes")
        return count

    def vector(self, what: str, element: Callable[[], _T]) -> Iterator[_T]:
        """Yield the elements of a section that is one vector, and check that it ends with them."""
        for _ in range(self.count(what)):
            yield element()
        self.finish(what)

    def finish(self, what: str) -> None:
        """Check that nothing is left of a section."""
        if self.at != self.end:
            raise BinaryError(self.at, f"bytes follow the last element of the {what} section")
