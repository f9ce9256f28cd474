"""What a configuration key is, and how values of each kind are read."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from ..errors import ConfigError
from .text import did_you_mean, show

N = TypeVar("N", int, float)

PREFIX: Final = "PLUGIN_HOST_"
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})


class Rejected(Exception):
    """A value is not allowed; the text, if any, says more than the key's `allowed` does."""


@dataclass(frozen=True, slots=True)
class Key:
    """One configuration key.

    :param suffix: the key without ``PLUGIN_HOST_``.
    :param default: what an absent key means.
    :param allowed: the values that are allowed, as a phrase.
    :param description: what the key does, one line.
    :param parse: returns the value in its final type, or raises `Rejected`.
    """

    suffix: str
    default: Any
    allowed: str
    description: str
    parse: Callable[[Any], Any]

    @property
    def name(self) -> str:
        """The key in ``app.config``."""
        return PREFIX + self.suffix

    @property
    def field(self) -> str:
        """The attribute of `Settings`."""
        return self.suffix.lower()

    def read(self, config: Mapping[str, Any]) -> Any:
        """Return the key's value in its final type.

        :raises ConfigError: naming key, value and what is allowed.
        """
        value = config.get(self.name, self.default)
        try:
            return self.parse(value)
        except Rejected as why:
            more = f" ({why})" if str(why) else ""
            raise ConfigError(
                f"{self.name} is {show(value)}{more}; allowed: {self.allowed}"
            ) from None


def _parse_bool(value: Any) -> bool:
    # The environment gives text, and Flask's from_prefixed_env turns some of it into 0 and 1.
    word = str(value).strip().lower() if isinstance(value, bool | int | str) else ""
    if word not in _TRUE | _FALSE:
        raise Rejected
    return word in _TRUE


def _parse_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Rejected
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise Rejected from None
    if not math.isfinite(number):
        raise Rejected
    return number


def _parse_integer(value: Any) -> int:
    number = _parse_number(value)
    if not number.is_integer():
        raise Rejected
    return int(number)


def _only(parse: Callable[[Any], N], allows: Callable[[N], bool]) -> Callable[[Any], N]:
    def checked(value: Any) -> N:
        number = parse(value)
        if not allows(number):
            raise Rejected
        return number

    return checked


def parse_seed(value: Any) -> int | None:
    """Read an integer, or None for none."""
    return None if value is None else _parse_integer(value)


def parse_folder(value: Any) -> Path:
    """Read a path that may be relative."""
    if not isinstance(value, str | os.PathLike):
        raise Rejected("not a path")
    text = os.fspath(value)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise Rejected("not a path")
    return Path(text)


def parse_data_dir(value: Any) -> Path | None:
    """Read a path that may be empty, for none."""
    return None if value is None or value == "" else parse_folder(value)


def flag(suffix: str, default: bool, description: str) -> Key:
    """Return a key that is true or false."""
    return Key(suffix, default, "true or false", description, _parse_bool)


def choice(suffix: str, choices: tuple[str, ...], description: str) -> Key:
    """Return a key that is one of some words; the first is the default."""

    def parse(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in choices:
            raise Rejected(did_you_mean(value, choices) if isinstance(value, str) else "")
        return value.lower()

    return Key(suffix, choices[0], " or ".join(map(repr, choices)), description, parse)


def seconds(suffix: str, default: float, low: float, high: float, description: str) -> Key:
    """Return a key that is a length of time in a range."""

    parse = _only(_parse_number, lambda number: low <= number <= high)
    return Key(suffix, default, f"seconds from {low:g} to {high:g}", description, parse)


def factor(suffix: str, default: float, high: float, description: str) -> Key:
    """Return a key that is a factor above 1, or 0 for off."""

    parse = _only(_parse_number, lambda number: not number or 1 < number <= high)
    return Key(suffix, default, f"a factor above 1, up to {high:g}, or 0", description, parse)


def count(suffix: str, default: int, low: int, high: int, unit: str, description: str) -> Key:
    """Return a key that is an integer in a range."""

    parse = _only(_parse_integer, lambda number: low <= number <= high)
    return Key(suffix, default, f"{unit} from {low} to {high}", description, parse)
