"""Where plugins may send HTTP requests: the reading of the allow-list, and what it allows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from itertools import chain
from typing import Any, Final

from .bynames import ByNames, fitting, parse_by_names
from .keys import Key, Rejected
from .text import show

Network = IPv4Network | IPv6Network

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
#: What a rule allows that names no methods: what a server is not changed by.
DEFAULT_METHODS: Final = frozenset(("GET", "HEAD"))
#: Methods that are about the connection, not about what is there; nobody may use them.
_NEVER: Final = frozenset(("CONNECT", "TRACE"))

_rule = re.compile(
    r"(?:(?P<methods>\*|[A-Z]+(?:,[A-Z]+)*) )?(?P<scheme>https?)://"
    r"(?P<host>\*|(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?/?"
).fullmatch
# The address of version 4 is in the last 32 bits: NAT64, and a form that is no longer in use.
_HOLD_V4 = ip_network("64:ff9b::/96"), ip_network("::/96")
# What may be public: of version 6 only what is given to the internet, and not what is left over,
# where networks of their own live (Yggdrasil in 200::/7, say).
_GIVEN = ip_network("0.0.0.0/0"), ip_network("2000::/3")
# Not public either, whatever this release of Python thinks: documentation, the relays of 6to4, and
# protocols' own addresses, which the nearest gateway answers.
_ODD = (
    ip_network("3fff::/20"),
    ip_network("192.88.99.0/24"),
    ip_network("192.0.0.0/24"),
    ip_network("2001::/23"),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests that are allowed.

    :param methods: None is all.
    :param host: in lower case; ``*.`` before it stands for what lies below, ``*`` for all.
    """

    methods: frozenset[str] | None
    scheme: str
    host: str
    port: int

    def allows(self, method: str, scheme: str, host: str, port: int) -> bool:
        """Whether it allows a request."""
        return (
            (self.methods is None or method in self.methods)
            and (scheme, port) == (self.scheme, self.port)
            and (self.host in ("*", host) or (self.host[0] == "*" and host.endswith(self.host[1:])))
        )


Rules = ByNames[tuple[Rule, ...]]


@dataclass(frozen=True, slots=True)
class Outbound:
    """Where one plugin may send requests.

    :param private: networks that are not public, and may be connected to nonetheless.
    """

    rules: tuple[Rule, ...] = ()
    private: tuple[Network, ...] = ()

    @classmethod
    def of(cls, plugin: str, rules: Rules, private: tuple[Network, ...]) -> Outbound:
        """Return what the patterns that fit a plugin's name allow, taken together."""
        return cls(tuple(chain.from_iterable(fitting(plugin, rules))), private)

    def allows(self, method: str, scheme: str, host: str, port: int) -> bool:
        """Whether a rule allows a request."""
        if method in _NEVER:
            return False
        return any(rule.allows(method, scheme, host, port) for rule in self.rules)

    def reaches(self, address: str) -> bool:
        """Whether an address, as `socket.getaddrinfo` gives it, may be connected to."""
        written = ip_address(address.partition("%")[0])
        plain = _plain(written)
        odd = plain.is_multicast or any(plain in network for network in _ODD)
        given = any(plain in network for network in _GIVEN)
        if plain.is_global and given and not odd:
            return True
        return any(plain in network or written in network for network in self.private)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the address of version 4 that one of version 6 stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in _HOLD_V4):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _parse_rule(value: Any) -> Rule:
    found = _rule(value) if isinstance(value, str) else None
    port = int((found and found["port"]) or 0)
    if found is None or port > 65_535:
        raise Rejected(f"{show(value)} is not like 'https://host:port' or 'GET,POST https://host'")
    methods = found["methods"]
    return Rule(
        None if methods == "*" else frozenset(methods.split(",")) if methods else DEFAULT_METHODS,
        found["scheme"],
        found["host"].strip("[]"),
        port or DEFAULT_PORTS[found["scheme"]],
    )


def _parse_rules(value: Any) -> tuple[Rule, ...]:
    return tuple(_parse_rule(item) for item in _listed(value))


def _parse_http(value: Any) -> Rules:
    """Read a list for all plugins, or a mapping of name patterns to lists."""
    return parse_by_names(value, _parse_rules)


def _listed(value: Any) -> Sequence[Any]:
    """Return a list's items; a text is a list of one."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list | tuple):
        raise Rejected(f"{show(value)} is not a list")
    return value


def _parse_private(value: Any) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(item) for item in _listed(value))
    except ValueError as exc:
        raise Rejected(str(exc)) from None


HTTP: Final = Key(
    "HTTP",
    (),
    "a list of rules like 'GET,POST https://host:port', or a mapping of plugin name patterns to"
    " lists",
    "Where plugins that are granted http may send requests.",
    _parse_http,
)
HTTP_PRIVATE: Final = Key(
    "HTTP_PRIVATE",
    (),
    "a list of addresses and networks",
    "Addresses that are not public, and may be sent requests nonetheless.",
    _parse_private,
)
