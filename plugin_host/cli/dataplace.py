"""The namespace that a command of ``flask plugins data`` is about, and the options that name it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from ..hostfunctions.state_functions import own_namespace, shared_namespace
from ..machine import audit
from ..state import MAX_PAGE, Entry, Namespace
from .operating import failing, find_store
from .output import safe

#: Seconds that one operation may take.
PATIENCE = 10.0
_F = TypeVar("_F", bound=Callable[..., Any])


class Place:
    """The namespace that a command is about.

    :param note: writes a line into the audit log.
    """

    def __init__(self, namespace: Namespace, note: Callable[[str], None]) -> None:
        self.namespace = namespace
        self._note = note

    def note(self, what: str) -> None:
        """Write what was changed into the audit log."""
        self._note(f"data of {self.namespace.name}: {safe(what)}")

    def pages(self, prefix: bytes) -> Iterator[tuple[Entry, ...]]:
        """Yield all keys with a prefix, page by page."""
        cursor = b""
        while True:
            page = self.namespace.list(prefix, deadline=by(), cursor=cursor, limit=MAX_PAGE)
            if page.entries:
                yield page.entries
            if not (cursor := page.cursor):
                return


def by() -> float:
    """Return by when an operation that begins now must be done."""
    return time.monotonic() + PATIENCE


def open_place(ctx: click.Context, plugin: str | None, namespace: str | None) -> Place:
    """Return the namespace that a command's options name."""
    if (plugin is None) == (namespace is None):
        raise click.UsageError("name either a plugin, with --plugin, or a --namespace")
    host, store = find_store(ctx)
    with failing():
        name = own_namespace(plugin.lower()) if plugin else shared_namespace(namespace or "")
        found = store.namespace(name)
    datadir = host.depot.datadir if host.depot else None
    return Place(found, lambda what: audit.note(datadir, what, "flask plugins data"))


def of_one(function: _F) -> _F:
    """Add the options that name a namespace."""
    for option in (
        click.option("--namespace", metavar="NAME", help="A namespace that plugins share."),
        click.option("--plugin", metavar="NAME", help="The plugin whose own data it is."),
    ):
        function = option(function)
    return function


prefix_option = click.option(
    "--prefix", default="", metavar="TEXT", help="Only keys that begin so."
)
ttl_option = click.option(
    "--ttl", type=float, metavar="SECONDS", help="For how long; without it, until deleted."
)


def to_bytes(text: str) -> bytes:
    """Return what somebody at a terminal wrote, as it came."""
    return text.encode(errors="surrogateescape")
