"""Capabilities, and the reading of who is granted which."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from .bynames import ByNames, parse_by_names
from .keys import Rejected
from .text import did_you_mean, show

#: What every plugin is granted if the app says nothing: what cannot reach beyond the plugin and the
#: requests that it meets.
DEFAULT_GRANTS: Final = ("log", "clock", "random", "metrics", "cookies")
#: What a plugin can be granted; each name stands for a group of host functions, or for something
#: that records hold.
CAPABILITIES: Final = (*DEFAULT_GRANTS, "http", "state", "emit", "call", "session")
#: Those of which a part can be granted, too, and how a part is called.
DIVISIBLE: Final = ("call", "session")
PARTS: Final = ("call:NAME", "session:KEY")
#: What is granted beside ``state`` to open one shared namespace.
SHARED: Final = "state:NAME"
#: All that there are, as a phrase.
CAPABILITIES_ALLOWED: Final = ", ".join((*CAPABILITIES, SHARED, *PARTS))

_shared = re.compile(r"state:([a-z0-9_.-]{1,64})", re.ASCII).fullmatch
_part = re.compile(r"call:[A-Za-z][A-Za-z0-9_]{0,127}|session:[^\s,]{1,128}", re.ASCII).fullmatch

Grants = ByNames[frozenset[str]]


def is_capability(name: object) -> bool:
    """Whether it is a word that stands for a capability."""
    if not isinstance(name, str):
        return False
    return name in CAPABILITIES or bool(_shared(name) or _part(name))


def capability_hint(name: object) -> str:
    """Return what to write in place of a word that stands for none; empty if nobody knows."""
    if not isinstance(name, str):
        return ""
    if name.startswith("state:"):
        return "a shared namespace is 'state:' and 1 to 64 of a-z 0-9 _ . -"
    if name.startswith("call:"):
        return "a question is 'call:' and the identifier under which the app answers it"
    if name.startswith("session:"):
        return "a key of the session is 'session:' and up to 128 characters without blanks"
    return did_you_mean(name, CAPABILITIES)


def shared_namespaces(granted: Iterable[str]) -> Iterator[str]:
    """Yield the names of the shared namespaces that are among capabilities."""
    return (found[1] for found in map(_shared, granted) if found is not None)


def is_open(capability: str, part: str, granted: Collection[str]) -> bool:
    """Whether one part of a divisible capability is granted."""
    return capability in granted or f"{capability}:{part}" in granted


def touches(capability: str, names: Collection[str]) -> bool:
    """Whether a capability, or any part of it, is among ``names``."""
    return capability in names or any(True for _ in parts_of(capability, names))


def parts_of(capability: str, names: Iterable[str]) -> Iterator[str]:
    """Yield what among ``names`` is a part of a divisible capability."""
    if capability in DIVISIBLE:
        yield from (name for name in names if name.startswith(f"{capability}:"))


def common(asked: frozenset[str] | None, granted: frozenset[str]) -> frozenset[str]:
    """Return what is both asked for and granted.

    :param asked: None is everything.
    """
    if asked is None:
        return granted
    both = asked & granted
    for capability in DIVISIBLE:
        if capability in granted:
            both = both.union(parts_of(capability, asked))
        if capability in asked:
            both = both.union(parts_of(capability, granted))
    return both


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
    return parse_by_names(value, _parse_capabilities)
