"""Which plugins the operator isolates, whatever their manifests say."""

from __future__ import annotations

from typing import Any, Final

from .bynames import ByNames, parse_by_names
from .keys import Key, Rejected
from .text import did_you_mean

_MODES: Final = ("shared", "request")

Isolation = ByNames[str]


def _parse(value: Any) -> Isolation:
    """Read a mode for all plugins, or a mapping of name patterns to modes."""
    return parse_by_names(value, _parse_mode)


def _parse_mode(value: Any) -> str:
    if not isinstance(value, str) or value not in _MODES:
        raise Rejected(did_you_mean(value, _MODES) if isinstance(value, str) else "")
    return value


ISOLATION: Final = Key(
    "ISOLATION",
    "shared",
    "'shared' or 'request', or a mapping of plugin name patterns to one of them",
    "Whether a plugin's instances outlive a request, whatever its manifest says.",
    _parse,
)
