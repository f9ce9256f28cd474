"""The pages of the shop; they need no JavaScript."""

from __future__ import annotations

import secrets

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest

from . import cart, catalog, csrf, errors, holds, inputs, orders, pricing
from .db import get_db
from .extensions import plugins

shop = Blueprint("shop", __name__)
shop.before_request(csrf.protect)
shop.after_request(errors.dress)

_GLANCE = (1, 3, 10, 25)  # the quantities of the price table on a product's page
_YEAR = 365 * 24 * 3600
_LIVE = (2, 5, 10)  # seconds, the choices of the plugin page


@shop.get("/")
def products() -> str:
    """Show everything there is to buy."""
    return render_template("products.html", products=holds.available(catalog.products(get_db())))


@shop.get("/products/<sku>")
def product(sku: str) -> ResponseReturnValue:
    """Show one product and its price for the quantity in the query."""
    db, user = get_db(), inputs.current_user()
    (item,) = holds.available([catalog.product(db, sku)])
    problem, quantity = None, 1
    try:
        quantity = inputs.quantity(request.args.get("quantity", "1"))
    except BadRequest as exc:
        problem = exc.description
    glance = {n: pricing.quote([catalog.line(db, sku, n)], user) for n in _GLANCE}
    priced = pricing.quote([catalog.line(db, sku, quantity)], user)
    page = render_template(
        "product.html", product=item, quantity=quantity, quote=priced, glance=glance, error=problem
    )
    return page, 400 if problem else 200


@shop.get("/cart")
def show_cart() -> str:
    """Show the cart and its price."""
    lines = cart.lines(get_db())
    return render_template("cart.html", quote=pricing.quote(lines, inputs.current_user()))


@shop.post("/cart/add")
def cart_add() -> ResponseReturnValue:
    """Put pieces of an article into the cart."""
    db = get_db()
    item = catalog.product(db, request.form.get("sku", ""))
    quantity = inputs.quantity(request.form.get("quantity", ""))
    cart.add(db, item.sku, quantity)
    flash(f"{quantity} × {item.name} added to your cart.")
    return redirect(url_for("shop.show_cart"), 303)


@shop.post("/cart/update")
def cart_update() -> ResponseReturnValue:
    """Set the number of pieces of an article in the cart; 0 takes it out."""
    db = get_db()
    item = catalog.product(db, request.form.get("sku", ""))
    quantity = inputs.quantity(request.form.get("quantity", ""), least=0)
    cart.put(db, item.sku, quantity)
    flash(f"{item.name}: quantity is now {quantity}." if quantity else f"{item.name} removed.")
    return redirect(url_for("shop.show_cart"), 303)


@shop.get("/checkout")
def checkout() -> ResponseReturnValue:
    """Show what is about to be ordered, and ask for confirmation; it is held from now on."""
    db = get_db()
    lines = cart.lines(db)
    if not lines:
        flash("Your cart is empty.")
        return redirect(url_for("shop.show_cart"), 303)
    cart.keep(db)
    priced = pricing.quote(lines, inputs.current_user())
    return render_template("checkout.html", quote=priced, once=secrets.token_urlsafe(16))


@shop.post("/checkout")
def place_order() -> ResponseReturnValue:
    """Order the cart at the price the customer saw."""
    db = get_db()
    wish = orders.Wish(
        lines=cart.lines(db),
        user=inputs.current_user(),
        note=inputs.note(request.form.get("note", "")),
        agreed=inputs.cents(request.form.get("expected_total")),
        holder=holds.visitor(),
        once=inputs.once(request.form.get("once")),
    )
    order = orders.place(db, wish)
    # A second click may be answered with the first one's order after the cart was filled anew.
    if cart.contents() == {line.sku: line.quantity for line in order.items}:
        cart.clear()
    return redirect(url_for("shop.order", number=order.number), 303)


@shop.get("/orders/<number>")
def order(number: str) -> str:
    """Show an order to whoever knows its number."""
    return render_template("order.html", order=orders.find(get_db(), number))


@shop.get("/flash")
def flash_sale() -> str:
    """Show the flash sale."""
    items = catalog.flash_items(get_db())
    once = {item.sku: secrets.token_urlsafe(16) for item in items}
    return render_template("flash.html", items=items, once=once)


@shop.post("/flash/<sku>/buy")
def flash_buy(sku: str) -> ResponseReturnValue:
    """Order one piece of an article in the flash sale."""
    db = get_db()
    wish = orders.Wish(
        lines=[catalog.flash_line(db, sku)],
        user=inputs.current_user(),
        flash=True,
        once=inputs.once(request.form.get("once")),
    )
    order = orders.place(db, wish)
    return redirect(url_for("shop.order", number=order.number), 303)


@shop.route("/user", methods=["GET", "POST"])
def user() -> ResponseReturnValue:
    """Let the visitor choose the name that plugins and orders know."""
    go_on = inputs.local_path(request.values.get("next"), url_for("shop.products"))
    if request.method == "GET":
        return render_template("user.html", go_on=go_on, name=inputs.current_user() or "")
    typed = request.form.get("name", "")
    response = redirect(go_on, 303)
    if not typed.strip():
        response.delete_cookie("user", samesite="Lax", httponly=True)
        return response
    try:
        name = inputs.user_name(typed)
    except BadRequest as exc:
        return render_template("user.html", go_on=go_on, name=typed, error=exc.description), 400
    response.set_cookie("user", name, max_age=_YEAR, httponly=True, samesite="Lax")
    return response


@shop.get("/plugins")
def plugin_page() -> str:
    """Show which plugins serve, as this worker sees them."""
    every = request.args.get("every", type=int)
    return render_template(
        "plugins.html",
        status=plugins.status(),
        every=every if every in _LIVE else None,
        choices=_LIVE,
    )
