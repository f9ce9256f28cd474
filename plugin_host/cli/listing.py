"""``flask plugins list``: what the site has, or would have if it started now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..config import Settings
from ..errors import ConfigError
from ..host.host import Host
from . import options
from .configuration import find_configuration, quiet
from .files import check_folder
from .output import NONE, Cell, Styled, safe, say, say_json, table, warn

_EPILOG = """\b
Examples:
  flask plugins list
  flask --app shop:create_app plugins list --json
  flask plugins list --dir /srv/shop/plugins

The plugins are loaded as a worker loads them at its start, in this process. What a running worker
has is what that worker's PluginHost.status() says.
"""

_HEADER = ("NAME", "VERSION", "DIGEST", "STATE", "HOOKS", "ORDER", "FILE")
_COLOURS = {"serving": "green", "failed": "red"}


@click.command("list", epilog=_EPILOG)
@options.directory
@options.as_json
@click.pass_context
def list_plugins(ctx: click.Context, directory: Path | None, as_json: bool) -> None:
    """List the plugins of the app, or of a folder.

    Those that do not load are listed too, with the reason below.
    """
    found = find_configuration(ctx, directory)
    status = found.host.status() if found.host else _status(found.settings)
    if found.host and not found.settings.enabled:
        warn("PLUGIN_HOST_ENABLED is false: the app loads no plugins")
    if as_json:
        say_json(status | {"configuration": found.origin})
    else:
        _show(status, found.origin)


def _status(settings: Settings) -> dict[str, Any]:
    """Load a folder and return what a host there says."""
    check_folder(settings.dir)
    try:
        with quiet():
            host = Host(settings)
            host.reconcile(initial=True)
    except ConfigError as exc:
        raise options.Failure(exc) from exc
    return host.status()


def _show(status: dict[str, Any], origin: str) -> None:
    plugins = status["plugins"]
    if plugins:
        for line in table(map(_row, plugins), _HEADER):
            say(line)
    refused = [plugin for plugin in plugins if plugin["load_error"]]
    if refused:
        say()
    for plugin in refused:
        say(f"{click.style(safe(plugin['name']), fg='red')}: {safe(plugin['load_error'])}")
    count = {0: "no plugins", 1: "1 plugin"}.get(len(plugins), f"{len(plugins)} plugins")
    failed = sum(plugin["state"] == "failed" for plugin in plugins)
    if plugins:
        say()
    say(
        count
        + (f", {failed} failed," if failed else "")
        + f" in {safe(status['dir'])} (configuration: {safe(origin)})"
    )


def _row(plugin: dict[str, Any]) -> tuple[Cell, ...]:
    return (
        plugin["name"],
        plugin["version"] or NONE,
        (plugin["digest"] or NONE)[:12],
        Styled(plugin["state"], _COLOURS.get(plugin["state"], "")),
        ", ".join(plugin["hooks"]) or NONE,
        NONE if plugin["order"] is None else str(plugin["order"]),
        plugin["file"],
    )
