"""What guests may import (docs/abi.md, section 7), and who may import what."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from typing import Final

from ..config import Settings, common, is_open, parts_of, touches
from ..errors import ImportDenied
from ..modules.moduleinfo import Import
from ..wasm.instance import HostFunction
from . import basics, events, http, metric_functions, questions, session, state_functions, wasi
from .services import Group, Provider, Services

#: What provides host functions, by the module that guests import them from.
PROVIDERS: Final[dict[str, tuple[Provider, ...]]] = {
    "plugin_host": (
        basics.groups,
        http.groups,
        state_functions.groups,
        events.groups,
        questions.groups,
        metric_functions.groups,
        session.groups,
    ),
    "env": (basics.runtime_groups,),
    wasi.MODULE: (wasi.groups,),
}


def functions(
    services: Services, modules: Container[str] = PROVIDERS
) -> dict[tuple[str, str], tuple[HostFunction, Group]]:
    """Return every host function of these modules with its group, by module and name."""
    return {
        (module, function.name): (function, group)
        for module, providers in PROVIDERS.items()
        if module in modules
        for provide in providers
        for group in provide(services)
        for function in group.functions
    }


def capabilities() -> dict[tuple[str, str], str]:
    """Return the capability that each host function needs, by module and name; empty is none."""
    unused = Services.of("", Settings.from_mapping({}, "."))
    return {key: group.capability for key, (_, group) in functions(unused).items()}


def select(
    path: object,
    imports: Iterable[Import],
    wanted: Iterable[str] | None,
    granted: frozenset[str],
    services: Services,
) -> list[HostFunction]:
    """Pick the host functions for a module's imports.

    :param imports: what the module imports.
    :param wanted: the capabilities that the manifest asks for; None: whatever is imported.
    :param granted: the capabilities that the app grants.
    :param services: what the functions may use.
    :raises ImportDenied: an import is unknown, was not asked for, or is not granted.
    """
    asked = None if wanted is None else frozenset(wanted)
    imports = list(imports)
    modules = {item.module for item in imports}
    offered = functions(replace(services, granted=common(asked, granted)), modules)
    chosen = {}
    for item in imports:
        key, kind = (item.module, item.name), item.type
        if key not in offered:
            raise _unknown(path, item, offered)
        function, group = offered[key]
        _allow(path, ".".join(key), group, asked, granted)
        if kind != (function.params, function.results):
            raise ImportDenied(
                str(path),
                f"imports {'.'.join(key)} as {_show(kind)}, which cannot be linked",
                f"import it as {_show((function.params, function.results))}",
            )
        chosen[key] = function
    return list(chosen.values())


def _unknown(path: object, item: Import, offered: Iterable[tuple[str, str]]) -> ImportDenied:
    """Name what there is instead: the module's functions, or, if it is unknown too, the modules."""
    names = sorted(f"{module}.{name}" for module, name in offered if module == item.module)
    there = names or sorted(f"{module}.*" for module in PROVIDERS)
    return ImportDenied(
        str(path),
        f"imports {item.module}.{item.name}, which this host does not offer",
        f"build the plugin without it; the host offers {', '.join(there)}",
    )


def _show(kind: tuple[tuple[str, ...], tuple[str, ...]] | None) -> str:
    """Show a function's type; None is no function."""
    return "no function" if kind is None else f"({', '.join(kind[0])}) -> ({', '.join(kind[1])})"


def _allow(
    path: object, what: str, group: Group, asked: frozenset[str] | None, granted: frozenset[str]
) -> None:
    capability = group.capability
    if not capability:
        return
    if asked is not None and not touches(capability, asked):
        raise ImportDenied(
            str(path),
            f"imports {what}, but its manifest does not ask for the capability {capability!r}",
            f'add "{capability}" to capabilities in the manifest',
        )
    for missing in _not_granted(capability, asked, granted):
        raise ImportDenied(
            str(path),
            f"imports {what}, but the app does not grant it the capability {missing!r}",
            f"add {missing!r} to PLUGIN_HOST_GRANTS, or use the plugin without it",
        )
    if group.extra:
        raise ImportDenied(
            str(path),
            f"imports {what}, for which something is not installed here",
            f"pip install 'flask-plugin-host[{group.extra}]'",
        )


def _not_granted(
    capability: str, asked: frozenset[str] | None, granted: frozenset[str]
) -> Iterator[str]:
    """Yield what of a capability is asked for and not granted.

    A plugin that does not say which parts of it it wants, having no manifest, has what is granted.
    """
    if asked is None or capability in asked:
        if capability not in granted and (asked or not touches(capability, granted)):
            yield capability
        return
    for name in sorted(parts_of(capability, asked)):
        if not is_open(capability, name.partition(":")[2], granted):
            yield name
