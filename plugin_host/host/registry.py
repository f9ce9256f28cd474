"""What serves: an immutable snapshot of plugins, replaced as a whole by one reference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from .plugin import ON_REQUEST, ON_RESPONSE, Plugin

#: Plans kept per snapshot; a client can vary its paths, so the cache starts over when it is full.
MAX_PLANS = 4096


@dataclass(frozen=True, slots=True)
class Plan:
    """The plugins that one kind of request meets, in the order in which they are called."""

    on_request: tuple[Plugin, ...]
    on_response: tuple[Plugin, ...]


class Snapshot:
    """The plugins that serve from one reload to the next.

    Immutable, except for its cache of plans. A request keeps the snapshot it started with.
    """

    def __init__(self, plugins: Iterable[Plugin] = (), generation: int = 0) -> None:
        self.generation = generation
        #: In calling order: by the manifests' ``order``, then by name.
        self.plugins = tuple(sorted(plugins, key=lambda p: (p.manifest.order, p.name)))
        self._http = tuple(p for p in self.plugins if {ON_REQUEST, ON_RESPONSE} & {*p.hooks})
        #: Whether any plugin wants to see HTTP requests or responses at all.
        self.has_http_hooks = bool(self._http)
        self._by_path = any(p.manifest.match.uses_path for p in self._http)
        self._plans: dict[tuple[str, str, str | None], Plan | None] = {}
        hooks: dict[str, tuple[Plugin, ...]] = {}
        for plugin in self.plugins:
            for hook in plugin.hooks:
                hooks[hook] = (*hooks.get(hook, ()), plugin)
        #: The plugins that export a hook, by its name, in calling order.
        self.hooks = MappingProxyType(hooks)

    def plan(self, method: str, path: str, endpoint: str | None) -> Plan | None:
        """Return the plan for a request, or None if no plugin matches it."""
        key = (method, path if self._by_path else "", endpoint)
        try:
            return self._plans[key]
        except KeyError:
            plan = self._make_plan(method, path, endpoint)
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[key] = plan
            return plan

    def _make_plan(self, method: str, path: str, endpoint: str | None) -> Plan | None:
        met = [p for p in self._http if p.manifest.match.matches(method, path, endpoint)]
        if not met:
            return None
        return Plan(
            tuple(p for p in met if ON_REQUEST in p.hooks),
            tuple(p for p in reversed(met) if ON_RESPONSE in p.hooks),
        )
