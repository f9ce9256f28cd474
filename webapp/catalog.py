"""What the shop sells."""

from __future__ import annotations

import sqlite3

import msgspec
from werkzeug.exceptions import Conflict, NotFound

from .hooks import Line


class OutOfStock(Conflict):
    """There are fewer pieces of an article than are wanted."""

    def __init__(self, name: str, left: int, so: str) -> None:
        what = f"{name} is sold out" if left == 0 else f"Only {left} of {name} left"
        super().__init__(f"{what}. {so}")


class Product(msgspec.Struct, frozen=True):
    """An article; `price` in cents, `stock` in pieces."""

    sku: str
    name: str
    summary: str
    description: str
    price: int
    stock: int


class FlashItem(msgspec.Struct, frozen=True):
    """An article of the flash sale, with a price (cents) and an allotment (pieces) of its own."""

    sku: str
    name: str
    summary: str
    price: int
    regular_price: int
    stock: int


_PRODUCTS = "SELECT sku, name, summary, description, price, stock FROM product"
_FLASH = (
    "SELECT f.sku, p.name, p.summary, f.price, p.price AS regular_price, f.stock"
    " FROM flash_sale f JOIN product p ON p.sku = f.sku"
)


def products(db: sqlite3.Connection) -> list[Product]:
    """Return all products, in the order they were added."""
    return [Product(*row) for row in db.execute(f"{_PRODUCTS} ORDER BY rowid")]


def product(db: sqlite3.Connection, sku: str) -> Product:
    """Return one product.

    :raises NotFound: there is none of this `sku`.
    """
    row = db.execute(f"{_PRODUCTS} WHERE sku = ?", (sku,)).fetchone()
    if row is None:
        raise NotFound(f"There is no product with the article number “{sku[:60]}”.")
    return Product(*row)


def flash_items(db: sqlite3.Connection) -> list[FlashItem]:
    """Return everything in the flash sale."""
    return [FlashItem(*row) for row in db.execute(f"{_FLASH} ORDER BY f.rowid")]


def flash_item(db: sqlite3.Connection, sku: str) -> FlashItem:
    """Return one article of the flash sale.

    :raises NotFound: it is not in the sale.
    """
    row = db.execute(f"{_FLASH} WHERE f.sku = ?", (sku,)).fetchone()
    if row is None:
        raise NotFound(f"“{sku[:60]}” is not in the flash sale.")
    return FlashItem(*row)


def line(db: sqlite3.Connection, sku: str, quantity: int) -> Line:
    """Return so many pieces of an article at today's price.

    :raises NotFound: there is no such article.
    """
    found = product(db, sku)
    return Line(found.sku, found.name, found.price, quantity)


def flash_line(db: sqlite3.Connection, sku: str) -> Line:
    """Return one piece of an article of the flash sale at its price there.

    :raises NotFound: it is not in the sale.
    """
    found = flash_item(db, sku)
    return Line(found.sku, found.name, found.price, 1)
