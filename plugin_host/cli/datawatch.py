"""``flask plugins data watch``: what is put, changed and gone."""

from __future__ import annotations

import json
import time

import click

from . import options
from .datafile import shown, shown_json
from .dataplace import Place, by, of_one, open_place, prefix_option, to_bytes
from .operating import failing
from .output import safe, say

_COLOURS = {"+": "green", "-": "red", "~": "yellow"}


@click.command("watch")
@of_one
@prefix_option
@click.option("--every", default=1.0, show_default=True, type=options.Seconds(0.05, 3600))
@click.option("--times", type=click.IntRange(1), help="Look so many times, and end.")
@options.as_json
@click.pass_context
def watch_data(
    ctx: click.Context,
    plugin: str | None,
    namespace: str | None,
    prefix: str,
    every: float,
    times: int | None,
    as_json: bool,
) -> None:
    """Show what is put (+), changed (~) and gone (-), until interrupted; JSON is a line each."""
    place = open_place(ctx, plugin, namespace)
    before = _values(place, to_bytes(prefix))
    say(f"{len(before)} keys", err=True)
    while times is None or times > 0:
        nap(every)
        after = _values(place, to_bytes(prefix))
        for key in sorted(before.keys() | after.keys()):
            old, new = before.get(key), after.get(key)
            if old != new:
                _tell("+" if old is None else "-" if new is None else "~", key, new, as_json)
        before = after
        times = None if times is None else times - 1


def nap(seconds: float) -> None:
    """Let plugins work."""
    time.sleep(seconds)


def _values(place: Place, prefix: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    with failing():
        for entries in place.pages(prefix):
            keys = [entry.key for entry in entries]
            values = place.namespace.get_many(keys, deadline=by())
            found.update((k, v) for k, v in zip(keys, values, strict=True) if v is not None)
    return found


def _tell(sign: str, key: bytes, value: bytes | None, as_json: bool) -> None:
    if as_json:
        event = {"+": "put", "~": "changed", "-": "gone"}[sign]
        line = {"event": event, **shown_json("key", key), **shown_json("value", value)}
        click.echo(json.dumps(line))
        return
    text = f"{sign} {shown(key)}" + ("" if value is None else f" = {shown(value)}")
    say(click.style(safe(text), fg=_COLOURS[sign]))
