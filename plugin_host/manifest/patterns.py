"""How long a regular expression of a plugin's schema may take, in the worst case.

Python's `re` backtracks, cannot be interrupted, and holds the GIL meanwhile: ``^(a+)+$`` and 40
letters would stop a worker for hours. So a pattern is measured before it is used.
"""

from __future__ import annotations

import math
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final

#: Steps of one search; a million take some 20 ms.
MOST_STEPS: Final = 2_000_000

_REPEATS: Final = (op.MAX_REPEAT, op.MIN_REPEAT)


def is_quick(pattern: str, length: int) -> bool:
    """Whether a search in a text of that many characters ends soon, whatever the text.

    :raises re.error: it is no regular expression.
    """
    items = _parser.parse(pattern)
    anchored = bool(items) and items[0] == (op.AT, op.AT_BEGINNING)
    places = 1 if anchored else length + 1
    return places * _steps(items, length) <= MOST_STEPS


def _steps(items: Any, length: int) -> float:
    """Return in how many ways a sequence can be tried from one place: those of its parts."""
    return math.prod((_ways(kind, value, length) for kind, value in items), start=1.0)


def _ways(kind: Any, value: Any, length: int) -> float:
    if kind in _REPEATS:
        low, high, body = value
        return _repeated(low, high, body, length)
    if kind is op.POSSESSIVE_REPEAT:  # never tried again
        return float(1 + min(value[1], length) * _steps(value[2], length))
    if kind is op.BRANCH:
        return sum(_steps(items, length) for items in value[1])
    if kind in (op.SUBPATTERN, op.ASSERT, op.ASSERT_NOT):
        return _steps(value[-1], length)
    if kind is op.ATOMIC_GROUP:
        return _steps(value, length)
    if kind is op.GROUPREF_EXISTS:
        _, yes, no = value
        return _steps(yes, length) + (_steps(no, length) if no else 1)
    return length + 1 if kind in (op.GROUPREF, op.GROUPREF_IGNORE) else 1


def _repeated(low: int, high: int, items: Any, length: int) -> float:
    inner = _steps(items, length)
    most = min(high, length)
    if inner == 1:
        return most - min(low, most) + 1
    if most <= 1:
        return 1 + inner
    # Something that fits in several ways, several times: that is what never ends.
    return inner**most if most * math.log(inner) < 20 else math.inf
