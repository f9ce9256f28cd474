"""What serves: an immutable snapshot of plugins, replaced as a whole by one reference."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from ..manifest import Rollout
from .plugin import ON_REQUEST, ON_RESPONSE, Plugin

T = TypeVar("T")

#: Plans kept per snapshot; a client can vary its paths, so the cache starts over when it is full.
MAX_PLANS = 4096
#: Characters of a path whose plan is kept: a plugin can vary its paths, too, of four bytes each.
MAX_PATH = 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """The plugins that one kind of request meets, in the order in which they are called."""

    on_request: tuple[Plugin, ...]
    on_response: tuple[Plugin, ...]


#: Stands for a plan that depends on what the request routes to.
UNDECIDED = Plan((), ())


@dataclass(frozen=True, slots=True)
class Canary:
    """A new version that serves a share of the requests beside the version before it.

    :param until: when it is to serve all, by `time.monotonic`: setting the clock ends no rollout.
    """

    plugin: Plugin
    rollout: Rollout
    until: float


class Snapshot:
    """The plugins that serve from one reload to the next.

    Immutable, except for its cache of plans. A request keeps the snapshot it started with.
    """

    def __init__(
        self,
        plugins: Iterable[Plugin] = (),
        generation: int = 0,
        canaries: Iterable[Canary] = (),
        standing_in: Iterable[Plugin] = (),
    ) -> None:
        self.generation = generation
        #: New versions that some requests meet: see `for_request`.
        self.canaries = tuple(canaries)
        self._variants: dict[tuple[bool, ...], Snapshot] = {}
        #: In calling order: by the manifests' ``order``, then by name.
        self.plugins = _in_order(plugins)
        #: What fails in place of plugins that are not there.
        self.standing_in = frozenset(standing_in)
        called = _in_order((*self.plugins, *self.standing_in))
        self._http = tuple(p for p in called if {ON_REQUEST, ON_RESPONSE} & {*p.hooks})
        self._by_path = any(p.manifest.match.uses_path for p in self._http)
        self._plans: dict[tuple[str, str, str | None], Plan | None] = {}
        self._early: dict[tuple[str, str], Plan | None] = {}
        hooks: dict[str, tuple[Plugin, ...]] = {}
        for plugin in called:
            for hook in plugin.hooks:
                hooks[hook] = (*hooks.get(hook, ()), plugin)
        #: The plugins that export a hook, by its name, in calling order.
        self.hooks = MappingProxyType(hooks)

    def for_request(self, environ: Mapping[str, Any] | None) -> Snapshot:
        """Return the snapshot that one request meets: this one, or one with canaries in it.

        :param environ: None for a call outside a request.
        """
        if not self.canaries:
            return self
        chosen = tuple(c.rollout.chooses(environ, c.plugin.digest) for c in self.canaries)
        variant = self._variants.get(chosen)
        if variant is None:
            new = {c.plugin.name: c.plugin for c in itertools.compress(self.canaries, chosen)}
            plugins = [new.get(plugin.name, plugin) for plugin in self.plugins]
            variant = Snapshot(plugins, self.generation, (), self.standing_in)
            self._variants[chosen] = variant
        return variant

    def plan_early(self, method: str, path: str) -> Plan | None:
        """Return the plan for a request that is not routed yet; None if no plugin can match it.

        :param path: as WSGI has it, one character per byte.
        :returns: `UNDECIDED` if it depends on the endpoint; ask `plan` when that is known.
        """
        if not self._http:
            return None
        key = (method, path if self._by_path else "")
        try:
            return self._early[key]
        except KeyError:
            # As the framework's own request has it, or a plugin could be passed by.
            decoded = "/" + path.encode("latin-1").decode(errors="replace").lstrip("/")
            return _remember(self._early, key, self._plan_early(method, decoded))

    def _plan_early(self, method: str, path: str) -> Plan | None:
        rules = [plugin.manifest.match for plugin in self._http]
        if any(match.uses_endpoint for match in rules if match.may_match(method, path)):
            return UNDECIDED
        return self._make_plan(method, path, None)

    def plan(self, method: str, path: str, endpoint: str | None) -> Plan | None:
        """Return the plan for a request, or None if no plugin matches it."""
        key = (method, path if self._by_path else "", endpoint)
        try:
            return self._plans[key]
        except KeyError:
            return _remember(self._plans, key, self._make_plan(method, path, endpoint))

    def _make_plan(self, method: str, path: str, endpoint: str | None) -> Plan | None:
        met = [p for p in self._http if p.manifest.match.matches(method, path, endpoint)]
        if not met:
            return None
        return Plan(
            tuple(p for p in met if ON_REQUEST in p.hooks),
            tuple(p for p in reversed(met) if ON_RESPONSE in p.hooks),
        )


def _in_order(plugins: Iterable[Plugin]) -> tuple[Plugin, ...]:
    return tuple(sorted(plugins, key=lambda plugin: (plugin.manifest.order, plugin.name)))


def _remember(cache: dict[Any, T], key: tuple[Any, ...], value: T) -> T:
    if len(key[1]) > MAX_PATH:
        return value
    if len(cache) >= MAX_PLANS:
        cache.clear()
    cache[key] = value
    return value
