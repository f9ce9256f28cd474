"""The JSON API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from shop_quotes import discounted

Decide = Callable[..., None]

MUG = {"sku": "mug-stone", "name": "Stoneware mug", "unit_price": 1450, "quantity": 2}
TWO_MUGS = {"items": [{"sku": "mug-stone", "quantity": 2}]}


def test_products(client: FlaskClient) -> None:
    """All products are listed with price in cents and stock."""
    listed: Any = client.get("/api/products").json
    assert len(listed["products"]) == 8
    assert listed["products"][0] == client.get("/api/products/mug-stone").json
    assert {"sku": "mug-stone", "price": 1450, "stock": 120}.items() <= listed["products"][
        0
    ].items()


def test_quote(client: FlaskClient, decide: Decide) -> None:
    """A quote is what the plugins answer, for the user of the cookie."""
    decide(price_quote=lambda quote: discounted(quote, "Ten off", 10))
    client.set_cookie("user", "ann")
    assert client.post("/api/quote", json=TWO_MUGS).json == {
        "items": [MUG],
        "subtotal": 2900,
        "total": 2890,
        "discounts": [{"label": "Ten off", "amount": 10}],
        "user": "ann",
        "flash": False,
    }


def test_same_article_twice(client: FlaskClient) -> None:
    """Items of the same article are one line."""
    body = {"items": TWO_MUGS["items"] * 2}
    answer: Any = client.post("/api/quote", json=body).json
    assert answer["items"] == [MUG | {"quantity": 4}]


def test_order(client: FlaskClient) -> None:
    """An order is created, has a location, and can be read there."""
    client.set_cookie("user", "ann")
    response = client.post("/api/orders", json=TWO_MUGS | {"note": "hi", "expected_total": 2900})
    order: Any = response.json
    number, created_at = order["number"], order["created_at"]
    assert response.status_code == 201
    assert response.location == f"/api/orders/{number}"
    assert order == {
        "number": number,
        "created_at": created_at,
        "user": "ann",
        "note": "hi",
        "flash": False,
        "items": [MUG],
        "subtotal": 2900,
        "discounts": [],
        "total": 2900,
    }
    assert order == client.get(f"/api/orders/{number.lower().replace('-', '')}").json


def test_cart(client: FlaskClient) -> None:
    """A cart that a program fills is ordered by an order without items, and is then empty."""
    assert client.put("/api/cart", json=TWO_MUGS).json == client.get("/api/cart").json
    order: Any = client.post("/api/orders", json={}).json
    empty: Any = client.get("/api/cart").json
    assert order["items"] == [MUG]
    assert empty["items"] == []
    assert client.post("/api/orders", json={}).status_code == 400


def test_order_keeps_the_cart(client: FlaskClient) -> None:
    """An order of named items leaves the cart alone."""
    client.put("/api/cart", json=TWO_MUGS)
    client.post("/api/orders", json=TWO_MUGS)
    cart: Any = client.get("/api/cart").json
    assert cart["items"] == [MUG]


KEY = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}


def stock(client: FlaskClient, sku: str = "mug-stone") -> int:
    found: Any = client.get(f"/api/products/{sku}").json
    return int(found["stock"])


def test_retried_order(client: FlaskClient) -> None:
    """A request that is sent again with its Idempotency-Key is answered alike, and orders once."""
    quoted = {"Idempotency-Key": '"{Idempotency-Key}"'.format(**KEY)}
    first, *again = (
        client.post("/api/orders", json=TWO_MUGS, headers=headers) for headers in (KEY, KEY, quoted)
    )
    assert first.status_code == 201
    for response in again:
        assert (response.status_code, response.location) == (201, first.location)
        assert response.json == first.json
    assert stock(client) == 118
    client.post("/api/orders", json=TWO_MUGS, headers={"Idempotency-Key": "another-key-0000"})
    assert stock(client) == 116


def test_retried_order_of_the_cart(client: FlaskClient) -> None:
    """It does not matter whether the client has heard that its cart is empty now."""
    client.put("/api/cart", json=TWO_MUGS)
    with client.session_transaction() as session:
        cart = session["cart"]
    first = client.post("/api/orders", json={}, headers=KEY)
    heard = client.post("/api/orders", json={}, headers=KEY)
    with client.session_transaction() as session:
        session["cart"] = cart
    lost = client.post("/api/orders", json={}, headers=KEY)
    assert first.json == heard.json == lost.json
    assert client.get("/api/cart").json["items"] == []  # type: ignore[index]
    assert stock(client) == 118


def test_retried_purchase_in_the_sale(client: FlaskClient) -> None:
    """In the flash sale, too, a request counts once."""
    first, again = (client.post("/api/flash/kettle-swan/buy", headers=KEY) for _ in range(2))
    sale: Any = client.get("/api/flash").json
    assert (first.status_code, first.json) == (201, again.json)
    assert sale["items"][0]["stock"] == 19


def test_key_of_another_order(client: FlaskClient) -> None:
    """A key that has ordered something else is refused, and the cart stays."""
    client.post("/api/orders", json=TWO_MUGS, headers=KEY)
    client.put("/api/cart", json={"items": [{"sku": "mug-stone", "quantity": 1}]})
    assert client.post("/api/orders", json={}, headers=KEY).status_code == 422
    refused = client.post("/api/flash/kettle-swan/buy", headers=KEY)
    problem: Any = refused.json
    assert (refused.status_code, refused.mimetype) == (422, "application/problem+json")
    assert "for another order" in problem["detail"]
    cart: Any = client.get("/api/cart").json
    assert cart["items"] == [MUG | {"quantity": 1}]
    assert stock(client) == 118


@pytest.mark.parametrize(
    "key", ["", "short", "x" * 65, "with spaces in it", '"', "ünïcödé-0123456"]
)
def test_wrong_key(client: FlaskClient, key: str) -> None:
    """A key that is no token, or so short that others may use it, is a 400; nothing is ordered."""
    response = client.post("/api/orders", json=TWO_MUGS, headers={"Idempotency-Key": key})
    problem: Any = response.json
    assert response.status_code == 400
    assert "16 to 64" in problem["detail"]
    assert stock(client) == 120


def test_flash(client: FlaskClient) -> None:
    """A flash sale order takes one piece from the sale's own allotment."""
    before: Any = client.get("/api/flash").json
    order: Any = client.post("/api/flash/kettle-swan/buy").json
    after: Any = client.get("/api/flash").json
    assert (order["flash"], order["total"]) == (True, 3450)
    assert [now["items"][0]["stock"] for now in (before, after)] == [20, 19]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"\xff", "malformed"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `items`"),
        (b'{"items":[]}', "length >= 1 - at `$.items`"),
        (b'{"items":[{"sku":"mug-stone","quantity":0}]}', ">= 1 - at `$.items[0].quantity`"),
        (b'{"items":[{"sku":"mug-stone","quantity":100}]}', "<= 99 - at `$.items[0].quantity`"),
        (b'{"items":[{"sku":"mug-stone","quantity":"1"}]}', "got `str` - at `$.items[0].quantity`"),
        (b'{"items":[{"sku":"mug-stone","quantity":1.5}]}', "got `float`"),
        (b'{"items":[{"sku":"nope","quantity":1}]}', "There is no product"),
        (b'{"items":[{"sku":"mug-stone","quantity":1}],"x":1}', "unknown field `x`"),
        (
            b'{"items":[{"sku":"mug-stone","quantity":99},{"sku":"mug-stone","quantity":1}]}',
            "At most 99",
        ),
    ],
)
def test_wrong_body(client: FlaskClient, body: bytes, words: str) -> None:
    """A body that is not right is a 400 that says where and why."""
    response = client.post("/api/quote", data=body, content_type="application/json")
    problem: Any = response.json
    assert (response.status_code, response.mimetype) == (400, "application/problem+json")
    assert words in problem["detail"]


def test_other_media_type(client: FlaskClient) -> None:
    """A form, which any site could send, is not taken for JSON."""
    response = client.post("/api/orders", data="{}", content_type="text/plain")
    assert (response.status_code, response.mimetype) == (415, "application/problem+json")


def test_large_body(client: FlaskClient) -> None:
    """A body above the limit is refused."""
    response = client.post("/api/orders", data=b" " * 70_000, content_type="application/json")
    assert response.status_code == 413


def test_conflicts(client: FlaskClient) -> None:
    """Too few pieces and another price than expected are conflicts."""
    too_many = {"items": [{"sku": "grinder-hand", "quantity": 4}]}
    assert client.post("/api/orders", json=too_many).status_code == 409
    assert client.post("/api/orders", json=TWO_MUGS | {"expected_total": 1}).status_code == 409


@pytest.mark.parametrize(
    "path", ["/api/nope", "/api/products/nope", "/api/orders/nope", "/api/flash/nope"]
)
def test_not_found_is_json(client: FlaskClient, path: str) -> None:
    """Whatever the API does not have is problem JSON, with the request id."""
    response = client.get(path, headers={"X-Request-ID": "r-1"})
    problem: Any = response.json
    assert response.mimetype == "application/problem+json"
    assert {"type": "about:blank", "status": 404, "request_id": "r-1"}.items() <= problem.items()


def test_health(client: FlaskClient) -> None:
    """The health check reads the database."""
    assert client.get("/healthz").json == {"status": "ok"}


def test_plugin_status(client: FlaskClient) -> None:
    """Without plugins the status lists none."""
    status: Any = client.get("/api/plugins").json
    assert status["plugins"] == []
