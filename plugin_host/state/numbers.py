"""Numbers as values: decimal text that every language reads, the same bytes in every backend.

An i64 is canonical (``0``, ``-7``: no sign before a positive one, no leading zeros). An f64 is
written with the fewest of 15, 16 or 17 digits that read back as the same number.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from plugin_host.errors import StateTypeError, StateValueError

I64_MIN: Final = -(1 << 63)
I64_MAX: Final = (1 << 63) - 1

N = TypeVar("N", int, float)

_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}", re.ASCII)
#: Which bytes there may be; `float` decides the rest. The scripts in Redis have the same rule.
_FLOAT: Final = re.compile(rb"-?[0-9][0-9.eE+-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Addition(Generic[N]):
    """A number to be added, and the bounds that the sum may not leave; None is no bound."""

    delta: N
    floor: N | None = None
    ceiling: N | None = None

    @property
    def is_integer(self) -> bool:
        """Whether this adds an i64, not an f64."""
        return isinstance(self.delta, int)

    def to(self, old: bytes | None) -> tuple[N, N | None]:
        """Return the number that ``old`` is and the sum, or None if the sum is out of bounds.

        :param old: what the key holds; None counts as zero.
        :raises StateTypeError: ``old`` is not a number of this kind.
        :raises StateValueError: the sum is within the bounds, and no number of this kind.
        """
        now: N = self._read(old)
        total = now + self.delta
        if (self.floor is not None and total < self.floor) or (
            self.ceiling is not None and total > self.ceiling
        ):
            return now, None
        if self.is_integer and not I64_MIN <= total <= I64_MAX:
            raise overflow("i64")
        if not self.is_integer and not math.isfinite(total):
            raise overflow("f64")
        return now, total

    def _read(self, old: bytes | None) -> N:
        kind: type[N] = type(self.delta)
        if old is None:
            return kind(0)
        if self.is_integer:
            number = int(old) if _INTEGER.fullmatch(old) else I64_MAX + 1
            if not I64_MIN <= number <= I64_MAX:
                raise not_a_number("i64")
            return kind(number)
        return kind(read_float(old))


def read_float(text: bytes) -> float:
    """Return the f64 that a value is.

    :raises StateTypeError: it is none, or none that is finite.
    """
    try:
        number = float(text) if _FLOAT.fullmatch(text) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise not_a_number("f64")
    return number


def write_number(number: int | float) -> bytes:
    """Return the value that holds a number."""
    if isinstance(number, int):
        return b"%d" % number
    number += 0.0  # there is one zero
    for digits in (15, 16):
        text = f"{number:.{digits}g}"
        if float(text) == number:
            return text.encode()
    return f"{number:.17g}".encode()


def not_a_number(kind: str) -> StateTypeError:
    """Return the error for a value that is no ``kind``."""
    return StateTypeError(
        f"what the key holds is not the decimal text of an {kind}; put a number there first, or"
        " add to another key",
        "not_a_number",
    )


def overflow(kind: str) -> StateValueError:
    """Return the error for a sum that is no ``kind``."""
    return StateValueError(
        f"the sum is beyond what an {kind} can hold; give a floor or a ceiling", "overflow"
    )
