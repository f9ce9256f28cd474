"""What guests may import (docs/abi.md, section 7), and who may import what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ..config import Settings
from ..errors import ImportDenied
from ..modules.moduleinfo import Import
from ..wasm.instance import HostFunction
from . import basics, http, state_functions, wasi
from .services import Group, Provider, Services

PROVIDERS: Final[tuple[Provider, ...]] = (
    basics.groups,
    wasi.groups,
    http.groups,
    state_functions.groups,
)


def functions(services: Services) -> dict[tuple[str, str], tuple[HostFunction, Group]]:
    """Return every host function with its group, by module and name."""
    return {
        (function.module, function.name): (function, group)
        for provide in PROVIDERS
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
    allowed = granted if asked is None else granted & asked
    offered = functions(replace(services, granted=allowed))
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
    there = names or sorted({f"{module}.*" for module, _ in offered})
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
    if asked is not None and capability not in asked:
        raise ImportDenied(
            str(path),
            f"imports {what}, but its manifest does not ask for the capability {capability!r}",
            f'add "{capability}" to capabilities in the manifest',
        )
    if capability not in granted:
        raise ImportDenied(
            str(path),
            f"imports {what}, but the app does not grant it the capability {capability!r}",
            f"add {capability!r} to PLUGIN_HOST_GRANTS, or use the plugin without it",
        )
    if group.extra:
        raise ImportDenied(
            str(path),
            f"imports {what}, for which something is not installed here",
            f"pip install 'flask-plugin-host[{group.extra}]'",
        )
