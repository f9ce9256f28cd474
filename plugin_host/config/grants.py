"""Capabilities, and the reading of who is granted which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .keys import Rejected
from .text import did_you_mean, show

#: What every plugin is granted if the app says nothing: what cannot reach beyond the plugin.
DEFAULT_GRANTS: Final = ("log", "clock", "random")
#: What a plugin can be granted; each name stands for a group of host functions.
CAPABILITIES: Final = (*DEFAULT_GRANTS, "http")

Grants = tuple[tuple[str, frozenset[str]], ...]


def _parse_capabilities(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    if not isinstance(value, list | tuple | set | frozenset):
        raise Rejected(f"{show(value)} is not a list")
    for name in value:
        if name not in CAPABILITIES:
            hint = did_you_mean(name, CAPABILITIES) if isinstance(name, str) else ""
            raise Rejected(f"unknown capability {show(name)}" + (f", {hint}" if hint else ""))
    return frozenset(value)


def parse_grants(value: Any) -> Grants:
    """Read a list for all plugins, or a mapping of name patterns to lists."""
    if not isinstance(value, Mapping):
        value = {"*": value}
    for pattern in value:
        if not isinstance(pattern, str) or not pattern:
            raise Rejected(f"{show(pattern)} is not a pattern of plugin names")
    return tuple((pattern.lower(), _parse_capabilities(names)) for pattern, names in value.items())
