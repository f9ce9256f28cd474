"""Orders: placed whole or not at all, and never for more pieces than there are."""

from __future__ import annotations

import secrets
import sqlite3
import time
from contextlib import AbstractContextManager, nullcontext

import msgspec
from werkzeug.exceptions import BadRequest, Conflict, NotFound

from . import holds, pricing
from .catalog import OutOfStock
from .db import transaction
from .hooks import Discount, Line, Quote
from .money import money

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # no I, L, O, U: they are misread
_NUMBER_LENGTH = 12


class OrderRefused(Conflict):
    """A plugin refused the order; the description is its reason."""


class PriceChanged(Conflict):
    """The price is no longer the one that the customer agreed to."""


class Order(msgspec.Struct, frozen=True):
    """A placed order; money in cents, `created_at` in Unix seconds."""

    number: str
    created_at: int
    user: str | None
    note: str
    flash: bool
    items: list[Line]
    subtotal: int
    discounts: list[Discount]
    total: int


class Wish(msgspec.Struct, frozen=True):
    """What a customer asks for.

    :param agreed: the total in cents that the customer saw; None agrees to any.
    :param holder: for whom pieces are held already; None if for nobody.
    :param once: a random value of the form or program; an order with the same one is placed once.
    """

    lines: list[Line]
    user: str | None = None
    flash: bool = False
    note: str = ""
    agreed: int | None = None
    holder: str | None = None
    once: str | None = None


def place(db: sqlite3.Connection, wish: Wish) -> Order:
    """Price, admit and store an order, and take its pieces from the stock.

    :returns: the order; the earlier one if there is one with the same `once`, whatever it is of.
    :raises BadRequest: there is nothing in it.
    :raises PriceChanged: its price is not the agreed one.
    :raises OrderRefused: a plugin refuses it.
    :raises OutOfStock: there are too few pieces of an article.
    """
    # Looked for first: an order that was placed has emptied the cart.
    if (placed := _placed(db, wish.once)) is not None:
        return placed
    if not wish.lines:
        raise BadRequest("There is nothing in this order; put something into the cart first.")
    # The plugins are asked before the write lock is taken: a slow guest delays nobody else's order.
    priced = pricing.quote(wish.lines, wish.user, wish.flash)
    _agree(wish, priced)
    with _held(db, wish), transaction(db):
        # Asked again: a second click may have been waiting for the lock that the first one held.
        if (placed := _placed(db, wish.once)) is not None:
            return placed
        for line in priced.items:
            _take(db, line, wish.flash)
        number = _store(db, wish, priced)
    return find(db, number)


def find(db: sqlite3.Connection, number: str) -> Order:
    """Return the order with this number, however it is written.

    :raises NotFound: there is none.
    """
    plain = number.upper().replace("-", "")
    row = db.execute("SELECT * FROM orders WHERE number = ?", (plain,)).fetchone()
    if row is None:
        raise NotFound("There is no order with this number.")
    lines = db.execute(
        "SELECT sku, name, unit_price, quantity FROM order_line WHERE order_id = ?"
        " ORDER BY position",
        (row["id"],),
    )
    discounts = db.execute(
        "SELECT label, amount FROM order_discount WHERE order_id = ? ORDER BY position",
        (row["id"],),
    )
    return Order(
        number="-".join(plain[i : i + 4] for i in range(0, _NUMBER_LENGTH, 4)),
        created_at=row["created_at"],
        user=row["user"],
        note=row["note"],
        flash=bool(row["flash"]),
        items=[Line(*line) for line in lines],
        subtotal=row["subtotal"],
        discounts=[Discount(*discount) for discount in discounts],
        total=row["total"],
    )


def _agree(wish: Wish, priced: Quote) -> None:
    if wish.agreed is not None and wish.agreed != priced.total:
        raise PriceChanged(
            f"The price changed from {money(wish.agreed)} to {money(priced.total)} while you were "
            "looking. Nothing was ordered; please check the new price and order again."
        )
    answer = pricing.verdict(priced)
    if not answer.accepted:
        raise OrderRefused(answer.reason or "This order cannot be accepted at the moment.")


def _held(db: sqlite3.Connection, wish: Wish) -> AbstractContextManager[None]:
    # The flash sale has a stock of its own, which nobody holds.
    return nullcontext() if wish.flash else holds.while_ordering(db, wish.lines, wish.holder)


def _placed(db: sqlite3.Connection, once: str | None) -> Order | None:
    if once is None:
        return None
    row = db.execute("SELECT number FROM orders WHERE once = ?", (once,)).fetchone()
    return None if row is None else find(db, row["number"])


def _take(db: sqlite3.Connection, line: Line, flash: bool) -> None:
    table = "flash_sale" if flash else "product"
    taken = db.execute(
        f"UPDATE {table} SET stock = stock - ?1 WHERE sku = ?2 AND stock >= ?1",  # noqa: S608 - one of two constants
        (line.quantity, line.sku),
    )
    if taken.rowcount == 1:
        return
    row = db.execute(f"SELECT stock FROM {table} WHERE sku = ?", (line.sku,)).fetchone()  # noqa: S608 - one of two constants
    raise OutOfStock(line.name, row["stock"] if row else 0, "Nothing was ordered.")


def _store(db: sqlite3.Connection, wish: Wish, priced: Quote) -> str:
    # 60 random bits: the number is all it takes to see an order, so it must not be guessed.
    number = "".join(secrets.choice(_ALPHABET) for _ in range(_NUMBER_LENGTH))
    order = db.execute(
        "INSERT INTO orders (number, once, user, note, flash, subtotal, total, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            wish.once,
            wish.user,
            wish.note,
            wish.flash,
            priced.subtotal,
            priced.total,
            int(time.time()),
        ),
    ).lastrowid
    db.executemany(
        "INSERT INTO order_line (order_id, position, sku, name, unit_price, quantity)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        [
            (order, i, line.sku, line.name, line.unit_price, line.quantity)
            for i, line in enumerate(priced.items)
        ],
    )
    db.executemany(
        "INSERT INTO order_discount (order_id, position, label, amount) VALUES (?, ?, ?, ?)",
        [(order, i, d.label, d.amount) for i, d in enumerate(priced.discounts)],
    )
    return number
