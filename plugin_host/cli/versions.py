"""``flask plugins history``: the versions of a plugin that a rollback or a pin can choose."""

from __future__ import annotations

import dataclasses

import click

from ..host.operations import KeptVersion, history
from . import options
from .operating import failing, find_host
from .output import NONE, Cell, Styled, safe, say, say_json, size, table
from .status import when

_EPILOG = """\b
Examples:
  flask plugins history price
  flask plugins history price --json
"""

_HEADER = ("DIGEST", "VERSION", "LAST GOOD", "SIZE", "FILE", "STATE")


@click.command("history", epilog=_EPILOG)
@click.argument("name")
@options.as_json
@click.pass_context
def show_history(ctx: click.Context, name: str, as_json: bool) -> None:
    """List the kept versions of a plugin, newest first, and say which serves."""
    host, _ = find_host(ctx)
    with failing():
        kept = history(host, name)
    if as_json:
        say_json({"name": name, "versions": [_to_json(version) for version in kept]})
        return
    if not kept:
        say(safe(f"no version of {name} is kept"))
        return
    for line in table(map(_row, kept), _HEADER):
        say(line)


def _to_json(kept: KeptVersion) -> dict[str, object]:
    stored = dataclasses.asdict(kept.stored)
    del stored["name"]
    return {
        **stored,
        "serving": kept.serving,
        "pinned": kept.pinned,
        "quarantined": kept.quarantined,
    }


def _row(kept: KeptVersion) -> tuple[Cell, ...]:
    stored = kept.stored
    states = [word for word, is_so in (("serving", kept.serving), ("pinned", kept.pinned)) if is_so]
    if kept.quarantined is not None:
        states.append(f"quarantined: {kept.quarantined}")
    colour = "red" if kept.quarantined is not None else "green" if kept.serving else ""
    return (
        stored.digest[:12],
        stored.version,
        when(stored.stored_at),
        size(stored.module_size),
        stored.file,
        Styled(", ".join(states) or NONE, colour),
    )
