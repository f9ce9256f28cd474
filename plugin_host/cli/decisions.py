"""The commands that decide what running workers serve: reload, disable, pin, roll back, and back.

What they decide holds in all workers of the machine, and after every restart.
"""

from __future__ import annotations

import click

from ..host import operations
from . import options
from .operating import carry_out, seconds

_CODES = """
\b
Exit codes:
  0  done, and every running worker has followed (or none runs, or --wait 0)
  1  it cannot be done, a worker did not follow in time, or the plugin does not load
  2  the command line is wrong
"""


def _examples(*lines: str) -> str:
    return "\n".join(["\b", "Examples:", *(f"  flask plugins {line}" for line in lines), _CODES])


@click.command("reload", epilog=_examples("reload", "reload price --wait 30"))
@click.argument("name", required=False)
@seconds
@options.as_json
@click.pass_context
def reload(ctx: click.Context, name: str | None, wait: float, as_json: bool) -> None:
    """Load a plugin again in all workers, or without NAME all of them, changed or not."""
    carry_out(ctx, lambda host, by: operations.reload(host, by, name), wait, as_json)


@click.command("disable", epilog=_examples("disable price"))
@click.argument("name")
@seconds
@options.as_json
@click.pass_context
def disable(ctx: click.Context, name: str, wait: float, as_json: bool) -> None:
    """Unload a plugin in all workers, whatever file there is, until it is enabled."""
    carry_out(ctx, lambda host, by: operations.disable(host, name, by), wait, as_json)


@click.command("enable", epilog=_examples("enable price"))
@click.argument("name")
@seconds
@options.as_json
@click.pass_context
def enable(ctx: click.Context, name: str, wait: float, as_json: bool) -> None:
    """Let a disabled plugin serve again."""
    carry_out(ctx, lambda host, by: operations.enable(host, name, by), wait, as_json)


@click.command("pin", epilog=_examples("history price", "pin price 3f2a9c"))
@click.argument("name")
@click.argument("digest")
@seconds
@options.as_json
@click.pass_context
def pin(ctx: click.Context, name: str, digest: str, wait: float, as_json: bool) -> None:
    """Let only one kept version of a plugin serve, whatever file is deployed.

    The first digits of its DIGEST are enough; flask plugins history shows which versions are kept.
    """
    carry_out(ctx, lambda host, by: operations.pin(host, name, digest, by), wait, as_json)


@click.command("unpin", epilog=_examples("unpin price"))
@click.argument("name")
@seconds
@options.as_json
@click.pass_context
def unpin(ctx: click.Context, name: str, wait: float, as_json: bool) -> None:
    """Let a plugin's file decide again which version serves."""
    carry_out(ctx, lambda host, by: operations.unpin(host, name, by), wait, as_json)


@click.command("rollback", epilog=_examples("rollback price", "rollback price --to 3f2a9c"))
@click.argument("name")
@click.option("--to", metavar="DIGEST", help="The version to go back to, by its first digits.")
@seconds
@options.as_json
@click.pass_context
def rollback(ctx: click.Context, name: str, to: str | None, wait: float, as_json: bool) -> None:
    """Go back to the version of a plugin that served before; no file is needed.

    What the folder's file makes serve now is quarantined. A different file that is deployed later
    serves normally.
    """
    carry_out(ctx, lambda host, by: operations.rollback(host, name, by, to), wait, as_json)


@click.command("release", epilog=_examples("status", "release 3f2a9c"))
@click.argument("digest")
@seconds
@options.as_json
@click.pass_context
def release(ctx: click.Context, digest: str, wait: float, as_json: bool) -> None:
    """Lift a quarantine: let the version serve again, if its file is there.

    The first digits of the DIGEST are enough; flask plugins status shows what is quarantined.
    """
    carry_out(ctx, lambda host, by: operations.release(host, digest, by), wait, as_json)
