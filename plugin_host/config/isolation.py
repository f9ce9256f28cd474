"""Which plugins the operator isolates, whatever their manifests say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .keys import Key, Rejected
from .text import did_you_mean, show

_MODES: Final = ("shared", "request")

Isolation = tuple[tuple[str, str], ...]


def _parse(value: Any) -> Isolation:
    """Read a mode for all plugins, or a mapping of name patterns to modes."""
    if not isinstance(value, Mapping):
        value = {"*": value}
    for pattern, mode in value.items():
        if not isinstance(pattern, str) or not pattern:
            raise Rejected(f"{show(pattern)} is not a pattern of plugin names")
        if mode not in _MODES:
            hint = did_you_mean(mode, _MODES) if isinstance(mode, str) else ""
            raise Rejected(hint)
    return tuple((pattern.lower(), mode) for pattern, mode in value.items())


ISOLATION: Final = Key(
    "ISOLATION",
    "shared",
    "'shared' or 'request', or a mapping of plugin name patterns to one of them",
    "Whether a plugin's instances outlive a request, whatever its manifest says.",
    _parse,
)
