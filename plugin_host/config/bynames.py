"""What the operator says of plugins by patterns of their names, in which case does not matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from .keys import Rejected
from .text import show

T = TypeVar("T")

#: Patterns, in lower case, each with what holds for the names that it fits.
ByNames = tuple[tuple[str, T], ...]


def parse_by_names(value: Any, parse: Callable[[Any], T]) -> ByNames[T]:
    """Read a mapping of patterns to values; anything else is the value for all names.

    :param parse: reads one value.
    :raises Rejected: a key is no pattern, or ``parse`` rejects a value.
    """
    if not isinstance(value, Mapping):
        value = {"*": value}
    for pattern in value:
        if not isinstance(pattern, str) or not pattern:
            raise Rejected(f"{show(pattern)} is not a pattern of plugin names")
    return tuple((pattern.lower(), parse(each)) for pattern, each in value.items())


def fitting(name: str, values: ByNames[T]) -> list[T]:
    """Return the values of all patterns that fit a plugin's name, in their order."""
    folded = name.lower()
    return [value for pattern, value in values if fnmatchcase(folded, pattern)]
