"""Which requests a plugin's HTTP hooks see: patterns of paths and endpoints, and methods.

In a path pattern ``*`` stands for any characters within one segment, ``**`` for any characters
including slashes (both for none, too); everything else is literal. Patterns match the whole path:
``/api/**`` matches ``/api/`` and ``/api/v1/items`` but not ``/api``. Endpoint patterns are those of
`fnmatch`, case-sensitive. Methods are exact: ``GET`` does not stand for ``HEAD``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate

_Pattern = re.Pattern[str]


#: Whole segments, as few as will do.
_SEGMENTS = "(?:[^/]*+/)*?"


def _pieces(text: str) -> list[str]:
    """Translate what lies between the single wildcards of a part that holds no ``**``."""
    return [re.escape(piece) for piece in text.split("*")]


def _gaps(pieces: Iterable[str]) -> str:
    # Atomic, leftmost: what follows a wildcard is looked for once. A path comes from the client, or
    # from a plugin, and backtracking over several wildcards would cost its length to their power.
    return "".join(f"(?>[^/]*?{piece})" for piece in pieces)


def _anywhere(text: str) -> str:
    """Translate a part that follows a ``**`` and stands before another."""
    pieces = _pieces(text)
    if len(pieces) == 1:
        return f"(?>.*?{pieces[0]})"
    # If what begins at the leftmost place of a segment does not fit, nothing does that begins later
    # in it: to try it all the same would cost the square of the segment's length.
    return f"(?>{_SEGMENTS}{_gaps(pieces)})"


def _at_end(text: str) -> str:
    """Translate the last part, which follows a ``**``."""
    *pieces, last = _pieces(text)
    return f"{_SEGMENTS}{_gaps(pieces)}[^/]*{last}" if pieces else f".*{last}"


def _path_regex(pattern: str) -> str:
    first, *others = re.split(r"\*\*+", pattern)
    begin, *pieces = _pieces(first)
    if not others:
        end = [f"[^/]*{pieces.pop()}"] if pieces else []
        return "".join((begin, _gaps(pieces), *end))
    return "".join((begin, _gaps(pieces), *map(_anywhere, others[:-1]), _at_end(others[-1])))


def _any_of(regexes: Iterable[str]) -> _Pattern:
    return re.compile("|".join(f"(?:{regex})" for regex in regexes), re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rule:
    """One table under ``match``: every part that is given must fit; None fits everything."""

    paths: tuple[str, ...] | None = None
    methods: frozenset[str] | None = None
    endpoints: tuple[str, ...] | None = None
    _path: _Pattern | None = field(init=False, repr=False, compare=False)
    _endpoint: _Pattern | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        paths = None if self.paths is None else _any_of(map(_path_regex, self.paths))
        endpoints = None if self.endpoints is None else _any_of(map(translate, self.endpoints))
        object.__setattr__(self, "_path", paths)
        object.__setattr__(self, "_endpoint", endpoints)

    def may_match(self, method: str, path: str) -> bool:
        """Whether a request fits every part that is given, whatever its endpoint."""
        if self.methods is not None and method not in self.methods:
            return False
        return self._path is None or self._path.fullmatch(path) is not None

    def matches(self, method: str, path: str, endpoint: str | None) -> bool:
        """Whether the request fits every part that is given."""
        if not self.may_match(method, path):
            return False
        if self._endpoint is None:
            return True
        return endpoint is not None and self._endpoint.fullmatch(endpoint) is not None


@dataclass(frozen=True, slots=True)
class Match:
    """The rules of one plugin, of which one must fit; no rules fit everything."""

    rules: tuple[Rule, ...] = ()

    def matches(self, method: str, path: str, endpoint: str | None) -> bool:
        """Whether the plugin's HTTP hooks see this request.

        :param method: in upper case.
        :param path: below the application's root, percent-decoded.
        :param endpoint: what the path routes to, or None if nowhere.
        """
        return not self.rules or any(rule.matches(method, path, endpoint) for rule in self.rules)

    def may_match(self, method: str, path: str) -> bool:
        """Whether the plugin's HTTP hooks see this request if its endpoint fits."""
        return not self.rules or any(rule.may_match(method, path) for rule in self.rules)

    @property
    def uses_path(self) -> bool:
        """Whether the answer of `matches` depends on the path."""
        return any(rule.paths is not None for rule in self.rules)

    @property
    def uses_endpoint(self) -> bool:
        """Whether the answer of `matches` depends on the endpoint."""
        return any(rule.endpoints is not None for rule in self.rules)
