"""``flask plugins inspect``: all there is to know of one file before it is deployed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..errors import PluginLoadError
from . import options
from .configuration import find_configuration
from .files import read_file
from .output import NONE, Cell, Styled, say, say_json, size, table, title
from .report import Report

_EPILOG = """\b
Examples:
  flask plugins inspect plugins/price.wasm
  flask plugins inspect --no-run from-a-stranger.wasm
  flask plugins inspect build/price.wasm --json | jq .exports

\b
Exit codes:
  0  here is what is known; whether the file would load is part of it
  1  the file cannot be read, or is no WebAssembly module
  2  the command line is wrong
"""

_ROLES = {
    "hook": Styled("hook", "green"),
    "unlisted": Styled("could be a hook, but the manifest does not list it", "yellow"),
    "abi": Styled("ABI", ""),
    None: Styled("", ""),
}


@click.command("inspect", epilog=_EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--no-run", is_flag=True, help="Run none of the plugin's code.")
@options.as_json
@click.pass_context
def inspect(ctx: click.Context, file: Path, no_run: bool, as_json: bool) -> None:
    """Show what FILE is, wants and offers.

    That is its size and digests, memory, manifest, imports, exports and sections; and whether it
    would load, for which it is started and its own tests are run, under PLUGIN_HOST_INIT_TIMEOUT.
    """
    found = find_configuration(ctx, app_needed=False)
    try:
        report = Report(read_file(file, found.settings), found.settings, run=not no_run)
    except PluginLoadError as exc:
        remedy = f"; {exc.remedy}" if exc.remedy else ""
        raise options.Failure(f"{file}: {exc.reason}{remedy}") from exc
    facts = report.to_json() | {"configuration": found.origin}
    if as_json:
        say_json(facts)
        return
    for line in _text(facts):
        say(line)


def _text(facts: dict[str, Any]) -> Iterator[str]:
    yield from table(_head(facts))
    yield ""
    yield title("Manifest: " + _source(facts["manifest"]))
    yield from table(_manifest(facts["manifest"]["values"] or {}), indent="  ")
    for name, rows in (
        ("Imports", [_import(item) for item in facts["imports"]]),
        ("Exports", [_export(item) for item in facts["exports"]]),
        ("Sections", [_section(item) for item in facts["sections"]]),
    ):
        yield ""
        yield title(name if rows else f"{name}: none")
        yield from table(rows, indent="  ")


def _head(facts: dict[str, Any]) -> Iterator[tuple[Cell, Cell]]:
    yield "file", facts["file"]
    yield "size", _size(facts)
    yield "digest", facts["digest"]
    if facts["digest"] != facts["module_digest"]:
        yield "module alone", facts["module_digest"]
    yield "would load", _verdict(facts)
    error = facts["error"]
    if error is not None:
        about = "" if error["file"] == facts["file"] else f"{error['file']}: "
        yield "because", about + error["reason"]
        if error["remedy"]:
            yield "remedy", error["remedy"]
    yield "configuration", facts["configuration"]
    yield "ABI version", NONE if facts["abi"] is None else str(facts["abi"])
    yield "memory", _memory(facts["memory"])
    if facts["start"]:
        yield "start", "a start function runs before anything else"


def _size(facts: dict[str, Any]) -> str:
    if facts["format"] == "wat":
        return f"{size(facts['size'])} of text, {size(facts['module_size'])} as a module"
    return size(facts["size"])


def _verdict(facts: dict[str, Any]) -> Styled:
    if facts["loads"] is None:
        return Styled("unknown: its code was not run; nothing else is wrong", "yellow")
    return Styled("yes", "green") if facts["loads"] else Styled("no", "red")


def _memory(memory: dict[str, Any] | None) -> str:
    if memory is None:
        return "none is exported"
    most = memory["maximum"]
    own = "no maximum of its own" if most is None else f"{size(most)} at most"
    return f"{size(memory['minimum'])} at first, {own}, limited to {size(memory['limit'])}"


def _source(manifest: dict[str, Any]) -> str:
    text = {
        "beside": str(manifest["file"]),
        "embedded": "embedded in the module",
        "none": "none; these are the defaults",
    }[manifest["source"]]
    return text if manifest["values"] else f"{text}; it is wrong"


def _manifest(values: dict[str, Any]) -> Iterator[tuple[Cell, Cell]]:
    for key, value in values.items():
        if key == "limits":
            yield "timeout", f"{value['timeout'] * 1000:g} ms"
            yield "memory", size(value["memory"])
            yield "fuel", str(value["fuel"] or "not limited")
            yield "isolation", value["isolation"]
        elif key == "match":
            yield from _rules(value)
        elif key == "needs":
            for hook, words in value.items():
                yield f"needs {hook}", ", ".join(words) or "nothing"
        elif key == "on_failure":
            yield "on failure", ", ".join(f"{hook}: {policy}" for hook, policy in value.items())
        elif key == "capabilities":
            words = "whatever it imports" if value is None else ", ".join(value) or "none"
            yield "capabilities", words
        elif key == "abi":
            yield "abi", "whatever the module says" if value is None else str(value)
        elif key == "config_schema":
            yield "config schema", "none" if value is None else "fits the config"
        elif key == "selftest":
            yield "self-tests", str(value or "none")
        else:
            yield key.replace("_", " "), _plain(value)


def _rules(rules: list[dict[str, Any]]) -> Iterator[tuple[Cell, Cell]]:
    for rule in rules or [{}]:
        parts = [f"{part} {', '.join(words)}" for part, words in rule.items() if words is not None]
        yield "match", "; ".join(parts) or "every request"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or NONE
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value) or NONE


def _import(item: dict[str, Any]) -> tuple[Cell, ...]:
    return f"{item['module']}.{item['name']}", _kind(item), _access(item)


def _access(item: dict[str, Any]) -> Styled:
    if not item["offered"]:
        return Styled("this host does not offer it", "red")
    if item["capability"] is None:
        return Styled("needs no capability", "")
    needs = f"needs {item['capability']}: "
    if not item["asked"]:
        return Styled(needs + "the manifest does not ask for it", "red")
    if not item["granted"]:
        return Styled(needs + "not granted", "red")
    return Styled(needs + "granted", "green")


def _export(item: dict[str, Any]) -> tuple[Cell, ...]:
    return item["name"], _kind(item), _ROLES[item["role"]]


def _kind(item: dict[str, Any]) -> str:
    kind = item["type"]
    if kind is None:
        return str(item["kind"])
    return f"({', '.join(kind['params'])}) -> ({', '.join(kind['results'])})"


def _section(item: dict[str, Any]) -> tuple[Cell, ...]:
    name = f"{item['kind']} {item['name']!r}" if item["name"] else item["kind"]
    count = "" if item["count"] is None else f"{item['count']} in it"
    return name, size(item["size"]), f"at {item['offset']}", count
