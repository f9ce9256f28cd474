"""The floors of docs/architecture.md, held by parsing what each file imports."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final, NamedTuple

import pytest

import plugin_host

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = ROOT / "plugin_host"

#: Each room (a module or package directly below plugin_host) and its floor.
FLOORS: Final = {
    "errors": 0,
    "config": 0,
    "manifest": 0,
    "hookspec": 0,
    "message": 0,
    "osthread": 0,
    "throttle": 0,
    "files": 0,
    "sdk": 0,
    "sockets": 0,
    "modules": 0,
    "wasm": 1,
    "compilecache": 1,
    "folder": 1,
    "abi": 2,
    "hostfunctions": 2,
    "machine": 2,
    "state": 2,
    "trust": 2,
    "host": 3,
    "loading": 3,
    "serving": 3,
    "extension": 4,
    "gunicorn": 4,
    "site": 4,
    "problem": 4,
    "bodies": 4,
    "cli": 4,
    "__init__": 4,
}

#: What a floor may import of other people's packages.
PACKAGES: Final = {
    0: {"msgspec"},
    1: {"msgspec", "wasmtime"},
    2: {"msgspec"},
    3: {"msgspec"},
    4: {"blinker", "click", "flask", "msgspec", "werkzeug"},
}

#: Single files that may import more than their floor; docs/architecture.md says why.
EXCEPTIONS: Final = {
    "plugin_host.manifest.schema": {"jsonschema", "referencing"},
    "plugin_host.folder.notifier": {"watchdog"},
    "plugin_host.hostfunctions.http_client": {"h11"},
    "plugin_host.state.redis_wire": {"redis"},
    "plugin_host.trust.ed25519": {"cryptography"},
    "plugin_host.cli.datafile": {"yaml"},
}

FOREIGN_ERRORS: Final = {"Trap", "WasmtimeError", "ExitTrap", "TrapCode"}


class Import(NamedTuple):
    """One imported module, and the name taken from it, if any."""

    module: str
    name: str | None
    line: int


def module_name(path: Path) -> str:
    """The dotted name of a file below the repository's root."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES: Final = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))
                  if "node_modules" not in path.parts}  # fmt: skip
MODULES: Final = [pytest.param(name, id=name) for name in SOURCES]


def tree_of(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def absolute(node: ast.ImportFrom, importer: str, is_package: bool) -> str:
    """The module that a `from … import` names."""
    if not node.level:
        return node.module or ""
    parts = importer.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


def imports(path: Path, importer: str) -> Iterator[Import]:
    """Everything that a file imports, also within functions."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, None, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = absolute(node, importer, path.name == "__init__.py")
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                submodule = inner in SOURCES
                yield Import(inner if submodule else module, alias.name, node.lineno)


def room_of(module: str) -> str:
    """The room of a module of ours."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_every_form_of_import_is_seen(tmp_path: Path) -> None:
    """The checks below see absolute, relative and late imports, of modules and of names."""
    path = tmp_path / "loader.py"
    path.write_text(
        "import os.path\n"
        "from .. import osthread\n"
        "from ..errors import HookError\n"
        "from .registry import Plan\n"
        "def late():\n"
        "    from plugin_host.wasm import bindings\n"
    )
    assert list(imports(path, "plugin_host.loading.loader")) == [
        Import("os.path", None, 1),
        Import("plugin_host.osthread", "osthread", 2),
        Import("plugin_host.errors", "HookError", 3),
        Import("plugin_host.loading.registry", "Plan", 4),
        Import("plugin_host.wasm.bindings", "bindings", 6),
    ]


def test_every_room_has_a_floor() -> None:
    """The table has each module and package below plugin_host, and no other."""
    assert {room_of(name) for name in SOURCES} == FLOORS.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    """A file imports only from lower floors or from its own."""
    floor = FLOORS[room_of(module)]
    upward = [
        found
        for found in imports(SOURCES[module], module)
        if found.module.split(".")[0] == "plugin_host" and FLOORS[room_of(found.module)] > floor
    ]
    assert upward == []


@pytest.mark.parametrize("module", MODULES)
def test_other_packages_stay_on_their_floor(module: str) -> None:
    """wasmtime is imported on floor 1 only, Flask on floor 4 only, and so on."""
    floor = FLOORS[room_of(module)]
    allowed = PACKAGES[floor] | EXCEPTIONS.get(module, set())
    allowed |= sys.stdlib_module_names | {"plugin_host"}
    foreign = [
        found
        for found in imports(SOURCES[module], module)
        if found.module.split(".")[0] not in allowed
    ]
    assert foreign == []


@pytest.mark.parametrize("node_of", [str, room_of], ids=["modules", "rooms"])
def test_imports_go_one_way(node_of: Callable[[str], str]) -> None:
    """There is no cycle of imports among the package's modules, nor among its rooms."""
    graph: dict[str, set[str]] = {}
    for name, path in SOURCES.items():
        used = {node_of(found.module) for found in imports(path, name) if found.module in SOURCES}
        graph.setdefault(node_of(name), set()).update(used - {node_of(name)})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("module", [m for m in SOURCES if m != "plugin_host.wasm.bindings"])
def test_only_the_bindings_use_private_names_of_wasmtime(module: str) -> None:
    """Whatever of wasmtime begins with an underscore is used by wasm/bindings.py alone."""
    private = [
        found
        for found in imports(SOURCES[module], module)
        if found.module.split(".")[0] == "wasmtime"
        and any(part.startswith("_") for part in f"{found.module}.{found.name or ''}".split("."))
    ]
    attributes = [
        ast.unparse(node)
        for node in ast.walk(tree_of(SOURCES[module]))
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and ast.unparse(node.value).split(".")[0] == "wasmtime"
    ]
    assert (private, attributes) == ([], [])


@pytest.mark.parametrize("module", [m for m in SOURCES if FLOORS[room_of(m)] != 1])
def test_errors_of_wasmtime_stay_on_floor_1(module: str) -> None:
    """No file above floor 1 names an error of wasmtime."""
    named = {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree_of(SOURCES[module]))
        if isinstance(node, ast.Name | ast.Attribute)
    }
    assert named & FOREIGN_ERRORS == set()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "webapp").rglob("*.py")), ids=lambda path: path.name
)
def test_the_shop_uses_public_names_only(path: Path) -> None:
    """What webapp imports of the package is in ``plugin_host.__all__``."""
    used = [
        found
        for found in imports(path, module_name(path))
        if found.module.split(".")[0] == "plugin_host"
    ]
    hidden = [
        found
        for found in used
        if found.module != "plugin_host" or found.name not in plugin_host.__all__
    ]
    assert hidden == []
