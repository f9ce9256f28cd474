"""Capabilities, and the reading of who is granted which."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from .keys import Rejected
from .text import did_you_mean, show

#: What every plugin is granted if the app says nothing: what cannot reach beyond the plugin.
DEFAULT_GRANTS: Final = ("log", "clock", "random")
#: What a plugin can be granted; each name stands for a group of host functions.
CAPABILITIES: Final = (*DEFAULT_GRANTS, "http", "state")
#: What is granted beside ``state`` to open one shared namespace.
SHARED: Final = "state:NAME"
#: All that there are, as a phrase.
CAPABILITIES_ALLOWED: Final = ", ".join((*CAPABILITIES, SHARED))

_shared = re.compile(r"state:([a-z0-9_.-]{1,64})", re.ASCII).fullmatch

Grants = tuple[tuple[str, frozenset[str]], ...]


def is_capability(name: object) -> bool:
    """Whether it is a word that stands for a capability."""
    return name in CAPABILITIES or (isinstance(name, str) and _shared(name) is not None)


def capability_hint(name: object) -> str:
    """Return what to write in place of a word that stands for none; empty if nobody knows."""
    if not isinstance(name, str):
        return ""
    if name.startswith("state:"):
        return "a shared namespace is 'state:' and 1 to 64 of a-z 0-9 _ . -"
    return did_you_mean(name, CAPABILITIES)


def shared_namespaces(granted: Iterable[str]) -> Iterator[str]:
    """Yield the names of the shared namespaces that are among capabilities."""
    return (found[1] for found in map(_shared, granted) if found is not None)


def _parse_capabilities(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    if not isinstance(value, list | tuple | set | frozenset):
        raise Rejected(f"{show(value)} is not a list")
    for name in value:
        if not is_capability(name):
            hint = capability_hint(name)
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
