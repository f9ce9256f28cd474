"""``flask plugins``: look at plugins from a terminal, and decide what running workers serve.

Flask finds `cli` through the entry point ``flask.commands``. A command lives in a file of its own
and is added here; ``options`` holds what several of them take, ``configuration`` finds
settings, ``files`` reads, ``operating`` waits for workers, and ``output`` writes.
"""

from __future__ import annotations

import os

import click

from .checking import check
from .data import data
from .datawatch import watch_data
from .decisions import disable, enable, pin, release, reload, rollback, unpin
from .inspecting import inspect
from .listing import list_plugins
from .signing import keygen, sign, verify
from .status import show_status
from .versions import show_history

_EPILOG = """\b
Examples:
  flask plugins list
  flask plugins inspect build/price.wasm
  flask plugins check build/price.wasm && cp build/price.wasm plugins/
  flask --app shop plugins status
  flask --app shop plugins rollback price

The configuration is the app's (FLASK_APP or --app, as for any flask command). list, inspect, check
and verify also work without an app, with the defaults and the environment's PLUGIN_HOST_*
variables; keygen and sign need none. The others are about the app's running workers, on this
machine.
"""


@click.group("plugins", epilog=_EPILOG)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Look at WebAssembly plugins, and decide which of them serve."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False


cli.add_command(list_plugins)
cli.add_command(inspect)
cli.add_command(check)
for _signing in (keygen, sign, verify):
    cli.add_command(_signing)
cli.add_command(show_status)
cli.add_command(show_history)
cli.add_command(data)
data.add_command(watch_data)
for _decision in (reload, disable, enable, pin, unpin, rollback, release):
    cli.add_command(_decision)
