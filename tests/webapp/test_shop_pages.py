"""The pages, as a visitor without JavaScript sees them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest
from flask import Flask, g
from flask.testing import FlaskClient
from shop_quotes import discounted
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.test import TestResponse

from webapp.hooks import Quote

Send = Callable[..., TestResponse]
Decide = Callable[..., None]


@pytest.mark.parametrize(
    "path", ["/", "/products/mug-stone", "/cart", "/flash", "/user", "/plugins", "/plugins?every=5"]
)
def test_page_opens(client: FlaskClient, path: str) -> None:
    """Every page opens for a new visitor and is complete."""
    response = client.get(path)
    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert response.text.rstrip().endswith("</html>")


def test_products_are_listed(client: FlaskClient) -> None:
    """The list shows names, prices and what is sold out."""
    page = client.get("/").text
    assert "Stoneware mug" in page
    assert "€14.50" in page
    assert page.count("Sold out") == 1


def test_price_for_quantity(client: FlaskClient, decide: Decide) -> None:
    """The product page shows the price and the discounts for the asked quantity."""
    decide(price_quote=lambda quote: discounted(quote, "A <nice> one", 100))
    page = client.get("/products/mug-stone?quantity=3").text
    assert "€43.50" in page
    assert "A &lt;nice&gt; one" in page
    assert '<dd id="total">€42.50</dd>' in page
    assert "Add 3 to cart" in page


@pytest.mark.parametrize("quantity", ["0", "-3", "many", "1000", ""])
def test_wrong_quantity(client: FlaskClient, quantity: str) -> None:
    """A wrong quantity is explained on the product page itself."""
    response = client.get("/products/mug-stone", query_string={"quantity": quantity})
    assert response.status_code == 400
    assert "Quantity must be a whole number from 1 to 99." in response.text
    assert "Stoneware mug" in response.text


def test_sold_out_has_no_button(client: FlaskClient) -> None:
    """A product that is sold out cannot be put into the cart from its page."""
    assert 'id="add" type="submit" disabled' in client.get("/products/honey-heather").text


@pytest.mark.parametrize(
    "path", ["/cart/add", "/cart/update", "/checkout", "/flash/teapot-iron/buy", "/user"]
)
@pytest.mark.parametrize("token", [None, "", "wrong", "wröng"])
def test_form_needs_token(client: FlaskClient, path: str, token: str | None) -> None:
    """A form without the session's token is refused, whether or not there is a session."""
    data = {"sku": "mug-stone", "quantity": "1", "name": "ann"}
    if token is not None:
        data["csrf_token"] = token
    assert client.post(path, data=data).status_code == 400
    client.get("/user")
    assert client.post(path, data=data).status_code == 400


def test_user_name_is_kept(send: Send, client: FlaskClient) -> None:
    """A chosen name is a private cookie, shown on every page, until it is taken back."""
    response = send("/user", name="ann", next="/flash")
    cookie = response.headers["Set-Cookie"]
    assert response.location == "/flash"
    assert cookie.startswith("user=ann;")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert ">ann</a>" in client.get("/").text.replace("</span>", ">")
    send("/user", name="")
    assert "Choose a name" in client.get("/").text


def test_wrong_user_name(send: Send) -> None:
    """A wrong name is explained, and stays in the field for correction."""
    response = send("/user", name="a b")
    assert response.status_code == 400
    assert "A name has 1 to 32 letters" in response.text
    assert 'value="a b"' in response.text


def test_no_open_redirect(send: Send) -> None:
    """Choosing a name never leads to another site."""
    assert send("/user", name="ann", next="//evil.example/").location == "/"


def test_forged_user_cookie(client: FlaskClient) -> None:
    """A cookie with a name that nobody could have chosen counts as none."""
    client.set_cookie("user", "<script>")
    assert "Choose a name" in client.get("/").text


def test_unknown_page(client: FlaskClient) -> None:
    """An unknown path is answered with the shop's own page."""
    response = client.get("/nope")
    assert (response.status_code, response.mimetype) == (404, "text/html")
    assert "Nothing here" in response.text


@pytest.mark.parametrize("number", ["NOPE", "1", "0000-0000-0000"])
def test_unknown_order(client: FlaskClient, number: str) -> None:
    """An unknown order number is a 404."""
    assert client.get(f"/orders/{number}").status_code == 404


def test_request_id_of_the_proxy(client: FlaskClient) -> None:
    """An error page shows the request id that came with the request, if it is harmless."""
    shown = client.get("/nope", headers={"X-Request-ID": "abc-123"}).text
    hidden = client.get("/nope", headers={"X-Request-ID": "<b>"}).text
    assert '<code id="request-id">abc-123</code>' in shown
    assert "request-id" not in hidden


def test_request_id_of_the_app(app: Flask) -> None:
    """The id on ``g`` wins; a 503 keeps its headers."""

    @app.get("/down")
    def down() -> str:
        g.request_id = "mine"
        raise ServiceUnavailable("Wait a little.", retry_after=7)

    response = app.test_client().get("/down", headers={"X-Request-ID": "theirs"})
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "7"
    assert '<code id="request-id">mine</code>' in response.text
    assert "Back in a moment" in response.text


def test_locked_database(app: Flask) -> None:
    """A database that is locked for too long is a 503, not a crash."""

    @app.get("/locked")
    def locked() -> str:
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY  # type: ignore[misc]
        raise error

    response = app.test_client().get("/locked")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert "very busy" in response.text


def test_changed_items_are_ignored(client: FlaskClient, decide: Decide) -> None:
    """A plugin may price what is in the cart, but not change what is in it."""

    def smuggle(quote: Quote) -> Quote:
        return Quote(quote.items * 2, quote.subtotal * 2, quote.subtotal * 2, [], None, False)

    decide(price_quote=smuggle)
    assert '<dd id="total">€14.50</dd>' in client.get("/products/mug-stone").text
