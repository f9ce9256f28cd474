"""The shop for programs: JSON in and out, errors as problem JSON (RFC 9457)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec
from flask import Blueprint, Response, url_for
from werkzeug.exceptions import BadRequest, NotFound, UnprocessableEntity

from . import cart, catalog, holds, inputs, orders, pricing
from .db import get_db
from .extensions import plugins
from .hooks import Line, Quote

api = Blueprint("api", __name__, url_prefix="/api")


@api.get("/products")
def products() -> Response:
    """List what there is to buy."""
    return _json({"products": holds.available(catalog.products(get_db()))})


@api.get("/products/<sku>")
def product(sku: str) -> Response:
    """Return one product."""
    (found,) = holds.available([catalog.product(get_db(), sku)])
    return _json(found)


@api.post("/quote")
def quote() -> Response:
    """Price the items of the body."""
    wanted = inputs.json_body(inputs.ItemsIn)
    return _json(pricing.quote(_lines(get_db(), wanted.items), inputs.current_user()))


@api.get("/cart")
def show_cart() -> Response:
    """Price the cart of the session."""
    return _json(_cart_quote())


@api.put("/cart")
def replace_cart() -> Response:
    """Make the items of the body the cart of the session, and price them."""
    db, wanted = get_db(), inputs.json_body(inputs.CartIn)
    _lines(db, wanted.items)
    cart.replace(db, wanted.items)
    return _json(_cart_quote())


@api.post("/orders")
def place_order() -> Response:
    """Order the items of the body or, if it names none, the cart, which is then empty.

    A request that is sent again with the same header Idempotency-Key gets the same order.
    """
    db, wanted = get_db(), inputs.json_body(inputs.OrderIn)
    lines = cart.lines(db) if wanted.items is None else _lines(db, wanted.items)
    wish = orders.Wish(
        lines=lines,
        user=inputs.current_user(),
        note=wanted.note,
        agreed=wanted.expected_total,
        holder=holds.visitor() if wanted.items is None else None,
        once=inputs.idempotency_key(),
    )
    placed = _place(db, wish)
    if wanted.items is None:
        cart.clear()
    return _created(placed)


@api.get("/orders/<number>")
def order(number: str) -> Response:
    """Return an order to whoever knows its number."""
    return _json(orders.find(get_db(), number))


@api.get("/flash")
def flash_sale() -> Response:
    """List the articles of the flash sale."""
    return _json({"items": catalog.flash_items(get_db())})


@api.post("/flash/<sku>/buy")
def flash_buy(sku: str) -> Response:
    """Order one piece of an article of the flash sale; the request needs no body.

    Sent again with the same header Idempotency-Key it gets the same order.
    """
    db = get_db()
    wish = orders.Wish(
        lines=[catalog.flash_line(db, sku)],
        user=inputs.current_user(),
        flash=True,
        once=inputs.idempotency_key(),
    )
    return _created(_place(db, wish))


@api.get("/plugins")
def plugin_status() -> Response:
    """Return the extension's status, as the answering worker sees it."""
    return _json(plugins.status())


def _cart_quote() -> Quote:
    return pricing.quote(cart.lines(get_db()), inputs.current_user())


def _lines(db: sqlite3.Connection, items: Iterable[inputs.Item]) -> list[Line]:
    try:
        return [catalog.line(db, sku, pieces) for sku, pieces in cart.totals(items).items()]
    except NotFound as exc:
        raise BadRequest(f"The body is not right: {exc.description}") from exc


def _place(db: sqlite3.Connection, wish: orders.Wish) -> orders.Order:
    """Place an order.

    :raises UnprocessableEntity: its Idempotency-Key is that of an order of something else.
    """
    order = orders.place(db, wish)
    # No lines: the cart, which the first request has emptied.
    if wish.lines and (wish.flash, _pieces(wish.lines)) != (order.flash, _pieces(order.items)):
        raise UnprocessableEntity(
            "This Idempotency-Key has already been used, for another order. Nothing was ordered;"
            " please use a new key for each order."
        )
    return order


def _pieces(lines: Iterable[Line]) -> dict[str, int]:
    return {line.sku: line.quantity for line in lines}


def _created(order: orders.Order) -> Response:
    response = _json(order, 201)
    response.location = url_for("api.order", number=order.number)
    return response


def _json(value: object, status: int = 200) -> Response:
    # Not jsonify: it knows no msgspec structs, whose fields are the documented JSON.
    body = msgspec.json.encode(value) + b"\n"
    return Response(body, status, mimetype="application/json")
