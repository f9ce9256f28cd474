"""The cart, kept in the visitor's signed session; its pieces are held for a while."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable

from flask import session
from werkzeug.exceptions import BadRequest, NotFound

from . import catalog, holds
from .hooks import Line
from .inputs import MAX_LINES, MAX_QUANTITY, Item

_KEY = "cart"
_SAME = "Your cart is as it was."


def contents() -> dict[str, int]:
    """Return the number of pieces by article number."""
    return dict(session.get(_KEY, {}))


def add(db: sqlite3.Connection, sku: str, quantity: int) -> None:
    """Put pieces of an article into the cart, on top of those that are there.

    :raises BadRequest: that would be too many.
    :raises OutOfStock: others hold them.
    """
    total = contents().get(sku, 0) + quantity
    if total > MAX_QUANTITY:
        raise BadRequest(f"At most {MAX_QUANTITY} of one article fit into the cart.")
    put(db, sku, total)


def put(db: sqlite3.Connection, sku: str, quantity: int) -> None:
    """Set the number of pieces of an article; 0 takes it out.

    :raises BadRequest: the cart has too many articles.
    :raises OutOfStock: others hold them.
    """
    cart = contents()
    cart[sku] = quantity
    if not quantity:
        del cart[sku]
    if len(cart) > MAX_LINES:
        raise BadRequest(f"At most {MAX_LINES} different articles fit into the cart.")
    holds.hold(db, sku, quantity, holds.visitor(), _SAME)
    session[_KEY] = cart


def replace(db: sqlite3.Connection, items: Iterable[Item]) -> None:
    """Make `items` the cart.

    :raises OutOfStock: others hold some of them; the cart is as it was.
    """
    before, cart, me = contents(), totals(items), holds.visitor()
    changed = []
    try:
        for sku, quantity in cart.items():
            changed.append(sku)
            holds.hold(db, sku, quantity, me, _SAME)
    except catalog.OutOfStock:
        for sku in changed:
            with contextlib.suppress(catalog.OutOfStock):
                holds.hold(db, sku, before.get(sku, 0), me, _SAME)
        raise
    holds.release(before.keys() - cart.keys(), me)
    session[_KEY] = cart


def keep(db: sqlite3.Connection) -> None:
    """Hold what is in the cart from now on, as if it had just been put there.

    :raises OutOfStock: it was held no more, and others hold it now.
    """
    for line in lines(db):
        holds.hold(db, line.sku, line.quantity, holds.visitor(), "Please change your cart.")


def clear() -> None:
    """Empty the cart; its pieces are sold."""
    session.pop(_KEY, None)


def totals(items: Iterable[Item]) -> dict[str, int]:
    """Sum up the pieces by article number.

    :raises BadRequest: there are too many of one article.
    """
    cart: dict[str, int] = {}
    for item in items:
        cart[item.sku] = cart.get(item.sku, 0) + item.quantity
        if cart[item.sku] > MAX_QUANTITY:
            raise BadRequest(f"At most {MAX_QUANTITY} of “{item.sku}” fit into one order.")
    return cart


def lines(db: sqlite3.Connection) -> list[Line]:
    """Return the cart at today's prices, without what is no longer sold."""
    found = []
    for sku, quantity in contents().items():
        try:
            found.append(catalog.line(db, sku, quantity))
        except NotFound:
            continue
    return found
