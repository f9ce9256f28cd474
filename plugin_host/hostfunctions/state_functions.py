"""The capability ``state``: a plugin's keys and values (docs/abi.md, "State").

Namespaces of plugins and shared ones have names of two kinds, so none collides with another.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Final

from ..config import shared_namespaces
from ..errors import GuestTrap, StateError, StateValueError
from ..state import MAX_KEY, Namespace, Store
from ..wasm.instance import HostFunction, Instance
from .services import Group, Services, late
from .stage import LIVE, Stage, too_early
from .state_operations import OPERATIONS, Operation

#: The part of the time left to the hook that an operation may take: the rest is for its answer.
SHARE: Final = 0.8

_KINDS: Final = {"i": "i32", "l": "i64"}


def own_namespace(plugin: str) -> str:
    """Return the name of a plugin's own namespace in the app's store."""
    return f"plugin:{plugin}"


def shared_namespace(name: str) -> str:
    """Return the name of a shared namespace in the app's store."""
    return f"shared:{name}"


def groups(services: Services) -> Iterator[Group]:
    """Provide ``plugin_host.state_*``."""
    state = _State(services)
    opening = HostFunction("plugin_host", "state_open", ("i32", "i32"), ("i32",), state.open)
    yield Group("state", (opening, *map(state.function, OPERATIONS)))


class _State:
    """The namespaces that one version of a plugin may use, by handle, on each stage."""

    __slots__ = ("_handles", "_live", "_names", "_services")

    def __init__(self, services: Services) -> None:
        shared = sorted(shared_namespaces(services.granted))
        self._services = services
        self._names = [own_namespace(services.plugin), *map(shared_namespace, shared)]
        self._handles = {name: handle for handle, name in enumerate(shared, 1)}
        self._live = self._in(services.store)

    def open(self, instance: Instance, pointer: int, length: int) -> int:
        """Do ``state_open``."""
        if instance.stage is None:
            raise _too_early()
        name = instance.read(pointer, length).decode("latin-1") if length <= MAX_KEY else ""
        handle = self._handles.get(name)
        return self._failed(instance, "state_open", _closed(name)) if handle is None else handle

    def function(self, operation: Operation) -> HostFunction:
        """Return the function for an operation on the namespace of a handle."""
        name, work, live = f"state_{operation.name}", operation.work, self._live

        def call(instance: Instance, handle: int, *arguments: int) -> int:
            spaces = live if instance.stage is LIVE else self._on(instance.stage)
            try:
                space = spaces[handle]
            except IndexError:
                raise GuestTrap(f"{handle} is no handle of a namespace", "host") from None
            now = monotonic()
            left = instance.deadline - now
            if left <= 0:
                raise late()
            try:
                return work(instance, space, now + left * SHARE, *arguments)
            except StateError as error:
                return self._failed(instance, f"{name} in {space.name}", error)

        params = ("i32", *(_KINDS[letter] for letter in operation.params))
        return HostFunction("plugin_host", name, params, (operation.result,), call)

    def _on(self, stage: object) -> tuple[Namespace, ...]:
        """Return the namespaces of a stage that is not the app.

        :raises GuestTrap: there is none.
        """
        if not isinstance(stage, Stage):
            raise _too_early()
        return self._in(stage.store)

    def _in(self, store: Store) -> tuple[Namespace, ...]:
        return tuple(store.namespace(name, self._services.quota) for name in self._names)

    def _failed(self, instance: Instance, what: str, error: StateError) -> int:
        services = self._services
        return services.state_failures.note(instance, services.log, what, error)


def _too_early() -> GuestTrap:
    return too_early("state was used")


def _closed(name: str) -> StateValueError:
    return StateValueError(
        f"the shared namespace {name[:64]!r} is not open to this plugin; ask for the capability"
        f" 'state:{name[:64]}' in its manifest, and grant it in PLUGIN_HOST_GRANTS",
        "namespace",
    )
