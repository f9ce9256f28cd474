"""``flask plugins data``: what plugins keep in the app's store."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, TypeVar

import click

from ..state import MAX_BATCH, MAX_PAGE, Entry
from . import options
from .datafile import read_changes, shown, shown_json
from .dataplace import Place, by, of_one, open_place, prefix_option, to_bytes, ttl_option
from .operating import failing, find_store
from .options import Failure
from .output import NONE, Cell, safe, say, say_json, size, table

_EPILOG = """\b
Examples:
  flask plugins data list
  flask plugins data list --plugin flash_sale --prefix buyer:
  flask plugins data put --plugin flash_sale max_buyers 100
  flask plugins data apply --plugin flash_sale sale.yaml
  flask plugins data delete --plugin flash_sale --prefix buyer:

The data lies where PLUGIN_HOST_STATE says (docs/state.md). Changes are noted in the audit log.
"""

_T = TypeVar("_T")


@click.group("data", epilog=_EPILOG)
def data() -> None:
    """Look at what plugins have stored, and change it."""


@data.command("list")
@of_one
@prefix_option
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, MAX_PAGE))
@click.option("--cursor", default="", help="Go on where the last page ended.")
@options.as_json
@click.pass_context
def list_data(
    ctx: click.Context,
    plugin: str | None,
    namespace: str | None,
    prefix: str,
    limit: int,
    cursor: str,
    as_json: bool,
) -> None:
    """List keys, or without a plugin the namespaces that hold any."""
    if plugin is None and namespace is None:
        _list_namespaces(ctx, as_json)
        return
    place = open_place(ctx, plugin, namespace)
    with failing():
        page = place.namespace.list(
            to_bytes(prefix), deadline=by(), cursor=_read_cursor(cursor), limit=limit
        )
    following = base64.urlsafe_b64encode(page.cursor).decode()
    if as_json:
        entries = [
            {**shown_json("key", entry.key), "size": entry.size, "ttl": entry.ttl}
            for entry in page.entries
        ]
        say_json({"namespace": place.namespace.name, "keys": entries, "cursor": following or None})
        return
    for line in table(map(_row, page.entries), ("KEY", "SIZE", "TTL")) if page.entries else ():
        say(line)
    if not page.entries:
        say("no keys")
    if following:
        say(f"there are more: --cursor {following}", err=True)


def _read_cursor(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.encode(errors="replace"))
    except ValueError as exc:
        raise Failure(
            f"{text[:80]!r} is no cursor; give the one that the last page ended with"
        ) from exc


def _row(entry: Entry) -> tuple[Cell, ...]:
    left = NONE if entry.ttl is None else f"{entry.ttl:.0f} s"
    return (shown(entry.key), size(entry.size), left)


def _list_namespaces(ctx: click.Context, as_json: bool) -> None:
    _, store = find_store(ctx)
    with failing():
        names = store.namespaces(deadline=by())
        found = [(name, store.namespace(name).count(deadline=by())) for name in names]
    if as_json:
        say_json({"namespaces": [{"name": name, "keys": keys} for name, keys in found]})
    elif not found:
        say("no data")
    else:
        for line in table(((name, str(keys)) for name, keys in found), ("NAMESPACE", "KEYS")):
            say(line)


@data.command("get")
@click.argument("key")
@of_one
@options.as_json
@click.pass_context
def get_data(
    ctx: click.Context, key: str, plugin: str | None, namespace: str | None, as_json: bool
) -> None:
    """Show the value of a KEY; exit code 1 if there is none."""
    place = open_place(ctx, plugin, namespace)
    with failing():
        value = place.namespace.get(to_bytes(key), deadline=by())
    if as_json:
        say_json({"key": key, **shown_json("value", value)})
    elif value is not None:
        say(safe(shown(value)))
    if value is None:
        raise Failure(f"{place.namespace.name} has no key {key}")


@data.command("put")
@click.argument("key")
@click.argument("value")
@of_one
@ttl_option
@click.pass_context
def put_data(
    ctx: click.Context,
    key: str,
    value: str,
    plugin: str | None,
    namespace: str | None,
    ttl: float | None,
) -> None:
    """Put a VALUE, as text, under a KEY."""
    place = open_place(ctx, plugin, namespace)
    with failing():
        place.namespace.put(to_bytes(key), to_bytes(value), deadline=by(), ttl=ttl)
    place.note(f"put {key}")
    say(safe(f"{key} is put"))


@data.command("apply")
@click.argument("file", type=click.File("rb"))
@of_one
@ttl_option
@click.pass_context
def apply_data(
    ctx: click.Context,
    file: Any,
    plugin: str | None,
    namespace: str | None,
    ttl: float | None,
) -> None:
    """Put and delete what a FILE says: a mapping of keys to values, in JSON or YAML.

    A text is stored as it is, a number as text, a list or a table as JSON; null deletes the
    key. {text: …, ttl: 60}, and json: or base64: in place of text:, say more. - is standard input.
    """
    changes = read_changes(file.read(), ttl)
    place = open_place(ctx, plugin, namespace)
    puts: dict[float | None, list[tuple[bytes, bytes]]] = {}
    for change in changes:
        if change.value is not None:
            puts.setdefault(change.ttl, []).append((change.key, change.value))
    gone = [change.key for change in changes if change.value is None]
    done = 0
    try:
        with failing():
            for life, items in puts.items():
                for some in _batches(items):
                    place.namespace.put_many(some, deadline=by(), ttl=life)
                    done += len(some)
            deleted = sum(place.namespace.delete_many(k, deadline=by()) for k in _batches(gone))
    finally:
        if done or gone:
            name = getattr(file, "name", "<stdin>")
            place.note(f"applied {name}: {done} put, {len(gone)} to be deleted")
    say(f"{done} put, {deleted} deleted")


@data.command("delete")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@of_one
@click.option("--prefix", metavar="TEXT", help="All keys that begin so; an empty text is all.")
@click.option("--yes", is_flag=True, help="Do not ask before deleting by prefix.")
@click.pass_context
def delete_data(
    ctx: click.Context,
    keys: tuple[str, ...],
    plugin: str | None,
    namespace: str | None,
    prefix: str | None,
    yes: bool,
) -> None:
    """Delete KEYs, or all keys with a prefix."""
    if bool(keys) == (prefix is not None):
        raise click.UsageError("name either keys or a --prefix")
    place = open_place(ctx, plugin, namespace)
    if prefix is None:
        with failing():
            deleted = place.namespace.delete_many(map(to_bytes, keys), deadline=by())
        place.note(f"deleted {', '.join(keys)}")
    else:
        deleted = _delete_prefix(place, to_bytes(prefix), yes)
    say(f"{deleted} deleted")


def _delete_prefix(place: Place, prefix: bytes, yes: bool) -> int:
    name = place.namespace.name
    with failing():
        number = place.namespace.count(prefix, deadline=by())
    if not number:
        return 0
    if not yes:
        what = f"that begin with {shown(prefix)}" if prefix else "there are"
        click.confirm(safe(f"Delete all {number} keys {what}, of {name}?"), abort=True, err=True)
    deleted = 0
    try:
        with failing():
            for entries in place.pages(prefix):
                found = [entry.key for entry in entries]
                deleted += place.namespace.delete_many(found, deadline=by())
    finally:
        place.note(f"deleted {deleted} keys that begin with {shown(prefix)!r}")
    return deleted


def _batches(items: list[_T]) -> Iterator[list[_T]]:
    for start in range(0, len(items), MAX_BATCH):
        yield items[start : start + MAX_BATCH]
