"""From the cart to the order, and the flash sale, on pages without JavaScript."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from webapp.hooks import Verdict

Send = Callable[..., TestResponse]
Decide = Callable[..., None]


def test_empty_checkout(client: FlaskClient) -> None:
    """There is no checkout of an empty cart."""
    assert client.get("/checkout").location == "/cart"


def test_cart_adds_up(send: Send, client: FlaskClient) -> None:
    """Adding an article twice adds the pieces; the cart shows lines and total."""
    send("/cart/add", sku="mug-stone", quantity="2")
    send("/cart/add", sku="filter-paper", quantity="1")
    assert send("/cart/add", sku="mug-stone", quantity="1").location == "/cart"
    page = client.get("/cart").text
    assert "1 × Stoneware mug added to your cart." in page
    assert '<dd id="total">€48.40</dd>' in page


def test_cart_update_and_remove(send: Send, client: FlaskClient) -> None:
    """A quantity can be changed, and 0 takes the article out."""
    send("/cart/add", sku="mug-stone", quantity="2")
    send("/cart/update", sku="mug-stone", quantity="5")
    assert '<dd id="total">€72.50</dd>' in client.get("/cart").text
    send("/cart/update", sku="mug-stone", quantity="0")
    assert "There is nothing in it yet." in client.get("/cart").text


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"sku": "mug-stone", "quantity": "0"}, 400, "whole number from 1 to 99"),
        ({"sku": "mug-stone"}, 400, "whole number from 1 to 99"),
        ({"sku": "nope", "quantity": "1"}, 404, "There is no product"),
        ({"quantity": "1"}, 404, "There is no product"),
    ],
)
def test_wrong_cart_input(send: Send, fields: dict[str, str], status: int, words: str) -> None:
    """What does not fit into a cart is refused with the reason."""
    response = send("/cart/add", **fields)
    assert status == response.status_code
    assert words in response.text


def test_cart_is_bounded(send: Send) -> None:
    """One article fits into the cart 99 times."""
    send("/cart/add", sku="mug-stone", quantity="99")
    response = send("/cart/add", sku="mug-stone", quantity="1")
    assert response.status_code == 400
    assert "At most 99 of one article" in response.text


def test_removing_what_is_not_there(send: Send) -> None:
    """Taking out an article that is not in the cart changes nothing."""
    assert send("/cart/update", sku="mug-stone", quantity="0").status_code == 303


def test_checkout_to_order(send: Send, client: FlaskClient) -> None:
    """A checkout makes an order with a number and a page, and empties the cart."""
    send("/user", name="ann")
    send("/cart/add", sku="mug-stone", quantity="2")
    assert "Place order for €29.00" in client.get("/checkout").text
    response = send("/checkout", expected_total="2900", note="Ring <twice>")
    page = client.get(response.location or "").text
    number = (response.location or "").rpartition("/")[2]
    assert response.status_code == 303
    assert f'class="mono">{number}</strong>' in page
    assert "Thank you, ann!" in page
    assert "Ring &lt;twice&gt;" in page
    assert "There is nothing in it yet." in client.get("/cart").text


def test_double_click(send: Send, client: FlaskClient) -> None:
    """A checkout form that is sent twice makes one order, and both answers lead to it."""
    once = "0123456789abcdef"
    send("/cart/add", sku="mug-stone", quantity="2")
    with client.session_transaction() as session:
        cart = session["cart"]
    first = send("/checkout", once=once)
    with client.session_transaction() as session:
        session["cart"] = cart  # the second click was sent before the first was answered
    second = send("/checkout", once=once)
    assert first.location == second.location
    assert client.get("/api/products/mug-stone").json["stock"] == 118  # type: ignore[index]
    assert "There is nothing in it yet." in client.get("/cart").text


def test_empty_order(send: Send) -> None:
    """An empty cart cannot be ordered."""
    assert send("/checkout").status_code == 400


def test_price_changed(send: Send, client: FlaskClient) -> None:
    """An order at another price than the one shown is not placed, and the cart stays."""
    send("/cart/add", sku="mug-stone", quantity="1")
    response = send("/checkout", expected_total="1400")
    assert response.status_code == 409
    assert "changed from €14.00 to €14.50" in response.text
    assert "Stoneware mug" in client.get("/cart").text


def test_refused_order(send: Send, decide: Decide) -> None:
    """An order that a plugin refuses is answered with its reason."""
    decide(order_accept=lambda draft: Verdict(False, "Not on <Sundays>."))
    send("/cart/add", sku="mug-stone", quantity="1")
    response = send("/checkout")
    assert response.status_code == 409
    assert "Not on &lt;Sundays&gt;." in response.text


def test_out_of_stock(send: Send, client: FlaskClient) -> None:
    """An order for more than there is changes no stock and says how many are left."""
    send("/cart/add", sku="mug-stone", quantity="1")
    send("/cart/add", sku="grinder-hand", quantity="4")
    response = send("/checkout")
    assert response.status_code == 409
    assert "Only 3 of Hand grinder left. Nothing was ordered." in response.text
    assert client.get("/api/products/mug-stone").json["stock"] == 120  # type: ignore[index]


def test_flash_buy(send: Send, client: FlaskClient) -> None:
    """One press of the button orders one piece at the flash price."""
    response = send("/flash/teapot-iron/buy")
    page = client.get(response.location or "").text
    assert "Ordered in the flash sale" in page
    assert '<dd id="total">€29.00</dd>' in page
    assert "Only 4 left" in client.get("/flash").text


def test_flash_sells_out(send: Send) -> None:
    """The sale ends with its last piece."""
    answers = [send("/flash/teapot-iron/buy").status_code for _ in range(6)]
    assert answers == [303] * 5 + [409]


def test_flash_knows_its_articles(send: Send) -> None:
    """What is not in the sale cannot be bought in it."""
    assert send("/flash/mug-stone/buy").status_code == 404
