"""Pieces kept for visitors while they make up their minds: a plugin holds them, for some minutes.

Without one nobody holds anything. Whether or not, the database never sells what it does not have.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import sqlite3
from collections.abc import Iterable, Iterator

import msgspec
from flask import session

from plugin_host import HookFailed

from . import catalog
from .extensions import plugins
from .hooks import Held, HeldQuery, Hold, Line

_KEY = "holder"

_log = logging.getLogger(__name__)


def visitor() -> str:
    """Return what stands for this visitor as a holder; the first call makes it."""
    if _KEY not in session:
        session[_KEY] = _anybody()
    found: str = session[_KEY]
    return found


def hold(db: sqlite3.Connection, sku: str, quantity: int, holder: str, so: str) -> None:
    """Hold so many pieces, in place of those that are held for them now.

    :param so: what a refusal means to the visitor, as a sentence.
    :raises OutOfStock: there are not so many; what was held before stays so.
    """
    while True:
        product = catalog.product(db, sku)
        held: Held = plugins.call("stock_hold", Hold(sku, holder, quantity, product.stock))
        if held.quantity < quantity:
            raise catalog.OutOfStock(product.name, held.free, so)
        # Pieces leave the stock when they are sold, and then stop being held. Who saw the stock
        # before that and the holds after it took sold ones for free ones: back, and once more.
        if held.before >= quantity or catalog.product(db, sku).stock >= product.stock:
            return
        plugins.call("stock_hold", Hold(sku, holder, held.before, product.stock))


def release(skus: Iterable[str], holder: str) -> None:
    """Let go of all pieces of these articles."""
    for sku in skus:
        try:
            plugins.call("stock_hold", Hold(sku, holder, 0, 0))
        except HookFailed:
            _log.warning("pieces of %s are held until that expires: nobody let go of them", sku)


@contextlib.contextmanager
def while_ordering(db: sqlite3.Connection, lines: list[Line], holder: str | None) -> Iterator[None]:
    """Hold the pieces of an order during the block; when it is placed they are sold.

    What a visitor held before stays held if the block fails.

    :raises OutOfStock: there are too few pieces of an article.
    """
    me, sold = holder or _anybody(), False
    try:
        for line in lines:
            hold(db, line.sku, line.quantity, me, "Nothing was ordered.")
        yield
        sold = True
    finally:
        if sold or holder is None:
            release([line.sku for line in lines], me)


def available(products: list[catalog.Product]) -> list[catalog.Product]:
    """Return the products with the stock that this visitor can have."""
    query = HeldQuery([product.sku for product in products], session.get(_KEY))
    taken: dict[str, int] = plugins.call("stock_held", query)
    return [
        msgspec.structs.replace(p, stock=max(0, p.stock - taken.get(p.sku, 0))) for p in products
    ]


def _anybody() -> str:
    return secrets.token_urlsafe(12)
