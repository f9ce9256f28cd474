"""The cart, kept in the visitor's signed session."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from flask import session
from werkzeug.exceptions import BadRequest, NotFound

from . import catalog
from .hooks import Line
from .inputs import MAX_LINES, MAX_QUANTITY, Item

_KEY = "cart"


def contents() -> dict[str, int]:
    """Return the number of pieces by article number."""
    return dict(session.get(_KEY, {}))


def add(sku: str, quantity: int) -> None:
    """Put pieces of an article into the cart, on top of those that are there.

    :raises BadRequest: that would be too many.
    """
    total = contents().get(sku, 0) + quantity
    if total > MAX_QUANTITY:
        raise BadRequest(f"At most {MAX_QUANTITY} of one article fit into the cart.")
    put(sku, total)


def put(sku: str, quantity: int) -> None:
    """Set the number of pieces of an article; 0 takes it out.

    :raises BadRequest: the cart has too many articles.
    """
    cart = contents()
    cart[sku] = quantity
    if not quantity:
        del cart[sku]
    if len(cart) > MAX_LINES:
        raise BadRequest(f"At most {MAX_LINES} different articles fit into the cart.")
    session[_KEY] = cart


def replace(items: Iterable[Item]) -> None:
    """Make `items` the cart."""
    session[_KEY] = totals(items)


def clear() -> None:
    """Empty the cart."""
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
