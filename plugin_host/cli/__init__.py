"""``flask plugins``: look at plugins from a terminal, with an app and without one.

Flask finds `cli` through the entry point ``flask.commands``. A command lives in a file of its own
and is added here; ``options`` holds what several of them take, ``configuration`` finds
settings, ``files`` reads, and ``output`` writes.
"""

from __future__ import annotations

import os

import click

from .checking import check
from .inspecting import inspect
from .listing import list_plugins

_EPILOG = """\b
Examples:
  flask plugins list
  flask plugins inspect build/price.wasm
  flask plugins check build/price.wasm && cp build/price.wasm plugins/

The configuration is the app's (FLASK_APP or --app, as for any flask command). Without an app it is
the defaults and the environment's PLUGIN_HOST_* variables. Nothing here changes or talks to a
server that is running.
"""


@click.group("plugins", epilog=_EPILOG)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Look at WebAssembly plugins before and after they are deployed."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False


cli.add_command(list_plugins)
cli.add_command(inspect)
cli.add_command(check)
