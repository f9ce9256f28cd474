"""``flask plugins check``: would these files load?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..config import Settings
from ..errors import PluginFileError, PluginLoadError
from ..folder.scan import Candidate
from ..host.naming import NameTaken, gives_way
from ..loading.loader import load
from ..serving.plugin import Plugin
from . import options
from .configuration import find_configuration, quiet
from .files import Unread, orphans, read_file, read_folder
from .output import Cell, Styled, error_json, safe, say, say_json, table, warn

_EPILOG = """\b
Examples:
  flask plugins check
  flask plugins check build/price.wasm build/guard.wasm
  flask plugins check --dir /srv/shop/plugins --json

\b
Exit codes:
  0  every file would load
  1  a file would not load, or the folder, the app or the configuration is broken
  2  the command line is wrong
"""


@dataclass(frozen=True)
class Outcome:
    """What became of one file; `error` is None if it would load."""

    path: Path
    digest: str | None = None
    name: str | None = None
    version: str | None = None
    abi: int | None = None
    order: int | None = None
    hooks: tuple[str, ...] = ()
    error: PluginLoadError | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {
            "file": str(self.path),
            "ok": self.error is None,
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "abi": self.abi,
            "order": self.order,
            "hooks": list(self.hooks),
            "error": error_json(self.error),
        }


def attempt(candidate: Candidate, settings: Settings) -> Plugin | PluginLoadError:
    """Load a candidate as the host does, and return the plugin or why there is none."""
    try:
        with quiet():
            return load(candidate, settings)
    except PluginLoadError as exc:
        return exc
    except Exception as exc:  # as the host: a fault of ours is that plugin's, not the command's
        return PluginLoadError(
            candidate.module_path, f"cannot be loaded: {type(exc).__name__}: {exc}"
        )


def check_all(found: Iterable[Candidate | Unread], settings: Settings) -> list[Outcome]:
    """Load each plugin by itself; of several with one name in a folder only one is good."""
    outcomes = [
        Outcome(item.path, error=item.error) if isinstance(item, Unread) else _check(item, settings)
        for item in found
    ]
    holders: dict[tuple[Path, str | None], Path] = {}
    for each in outcomes:
        holder = holders.setdefault(_name(each), each.path)
        if each.name is not None and gives_way(holder.stem, each.path.stem, each.name):
            holders[_name(each)] = each.path
    return [_unless_taken(each, holders[_name(each)]) for each in outcomes]


def _name(outcome: Outcome) -> tuple[Path, str | None]:
    return outcome.path.parent.resolve(), outcome.name


def _unless_taken(outcome: Outcome, holder: Path) -> Outcome:
    if outcome.name is None or outcome.path.name == holder.name:
        return outcome
    taken = NameTaken(outcome.path, outcome.name, holder.name)
    return Outcome(outcome.path, outcome.digest, error=taken)


def _check(candidate: Candidate, settings: Settings) -> Outcome:
    plugin = attempt(candidate, settings)
    if isinstance(plugin, PluginLoadError):
        # Its traceback would keep the plugin's instance alive while the others are loaded.
        plugin.__cause__ = plugin.__context__ = plugin.__traceback__ = None
        return Outcome(candidate.module_path, candidate.digest, error=plugin)
    return Outcome(
        plugin.path,
        plugin.digest,
        plugin.name,
        plugin.version,
        plugin.abi,
        plugin.manifest.order,
        plugin.hooks,
    )


def _read(path: Path, settings: Settings) -> Candidate | Unread:
    try:
        return read_file(path, settings)
    except PluginFileError as exc:
        return Unread(path, exc)


@click.command("check", epilog=_EPILOG)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@options.directory
@options.as_json
@click.pass_context
def check(
    ctx: click.Context, files: tuple[Path, ...], directory: Path | None, as_json: bool
) -> None:
    """Say whether plugins would load, and if not, why.

    Each FILE is loaded exactly as the site would load it, with the manifest NAME.toml beside it:
    read, compiled, linked against what the configuration grants, started, and put to its own tests.
    Without FILE, every plugin of the folder is, and no two of them may have one name.
    """
    if files and directory:
        raise click.UsageError("give either FILE or --dir, not both", ctx)
    found = find_configuration(ctx, directory, app_needed=not files)
    settings = found.settings
    if files:
        outcomes = check_all((_read(path, settings) for path in files), settings)
    else:
        outcomes = check_all(_folder(settings), settings)
    if as_json:
        say_json(_to_json(outcomes, None if files else settings.dir, found.origin))
    else:
        _show(outcomes, None if files else settings.dir)
    if any(outcome.error for outcome in outcomes):
        ctx.exit(1)


def _folder(settings: Settings) -> list[Candidate | Unread]:
    found = read_folder(settings)
    for path in orphans(settings.dir):
        warn(f"{path.name} is the manifest of no plugin: there is no {path.stem}.wasm or .wat")
    return found


def _to_json(outcomes: list[Outcome], folder: Path | None, origin: str) -> dict[str, Any]:
    return {
        "ok": not any(outcome.error for outcome in outcomes),
        "dir": None if folder is None else str(folder),
        "configuration": origin,
        "plugins": [outcome.to_json() for outcome in outcomes],
    }


def _show(outcomes: list[Outcome], folder: Path | None) -> None:
    """Write a line for each plugin, with a second one for the remedy."""
    rows: list[tuple[Cell, Cell, Cell]] = []
    for outcome in outcomes:
        file = str(outcome.path) if folder is None else outcome.path.name
        if outcome.error is None:
            what = f"{outcome.name} {outcome.version}: {', '.join(outcome.hooks)}"
            rows.append((Styled("OK", "green"), file, what))
            continue
        rows.append((Styled("FAILED", "red"), file, _reason(outcome)))
        if outcome.error.remedy:
            rows.append(("", "", outcome.error.remedy))
    for line in table(rows):
        say(line)
    good = sum(outcome.error is None for outcome in outcomes)
    where = "" if folder is None else f" in {safe(folder)}"
    say(f"{good} of {len(outcomes)} would load{where}" if outcomes else f"no plugins{where}")


def _reason(outcome: Outcome) -> str:
    """Return the reason, with the file that it is about if that is the manifest."""
    error = outcome.error
    if error is None:
        return ""
    about = "" if error.path.name == outcome.path.name else f"{error.path.name}: "
    return about + error.reason
