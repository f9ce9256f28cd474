"""Pieces that are held for who has them in the cart, as the shipped plugin does it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from webapp import holds
from webapp.hooks import Held, Hold

ROOT = Path(__file__).resolve().parents[2]
GRINDER = "grinder-hand"  # of which there are three
Visit = Callable[[], FlaskClient]


@pytest.fixture
def visit(folder: Path, request: pytest.FixtureRequest) -> Visit:
    """A visitor of the shop with the plugin."""
    for suffix in ("wasm", "toml"):
        shutil.copy(ROOT / "plugins" / f"inventory_hold.{suffix}", folder)
    app: Flask = request.getfixturevalue("app")
    return app.test_client


def put(client: FlaskClient, quantity: int, sku: str = GRINDER) -> int:
    """Have so many in the cart, and nothing else; the status."""
    items = [{"sku": sku, "quantity": quantity}] if quantity else []
    return client.put("/api/cart", json={"items": items}).status_code


def stock(client: FlaskClient, sku: str = GRINDER) -> int:
    """How many pieces this visitor can have."""
    answer: Any = client.get(f"/api/products/{sku}").json
    return int(answer["stock"])


def test_a_cart_holds_its_pieces(visit: Visit) -> None:
    """What somebody has in the cart nobody else can have, on pages as in the API."""
    ann, bob = visit(), visit()
    assert put(ann, 2) == 200
    assert (stock(ann), stock(bob)) == (3, 1)
    assert "Only 1 left" in bob.get(f"/products/{GRINDER}").text
    assert put(bob, 2) == 409
    assert put(bob, 1) == 200
    assert stock(visit()) == 0
    assert "Sold out" in visit().get(f"/products/{GRINDER}").text


def test_the_reason_is_said(visit: Visit) -> None:
    """Who cannot have so many reads how many there are, and that the cart is as it was."""
    ann, bob = visit(), visit()
    put(ann, 2)
    answer: Any = bob.put("/api/cart", json={"items": [{"sku": GRINDER, "quantity": 2}]}).json
    assert answer["detail"] == "Only 1 of Hand grinder left. Your cart is as it was."


def test_a_cart_lets_go(visit: Visit) -> None:
    """Taking pieces out of the cart frees them."""
    ann, bob = visit(), visit()
    put(ann, 3)
    put(ann, 1)
    assert stock(bob) == 2
    put(ann, 0)
    assert put(bob, 3) == 200


def test_all_or_nothing(visit: Visit) -> None:
    """A cart of which one article cannot be had holds nothing more than before."""
    ann, bob = visit(), visit()
    put(ann, 3)
    put(bob, 4, "teapot-iron")
    items = [{"sku": "teapot-iron", "quantity": 9}, {"sku": GRINDER, "quantity": 1}]
    assert bob.put("/api/cart", json={"items": items}).status_code == 409
    assert stock(ann, "teapot-iron") == 14
    cart: Any = bob.get("/api/cart").json
    assert [(line["sku"], line["quantity"]) for line in cart["items"]] == [("teapot-iron", 4)]


def test_an_order_sells_what_was_held(visit: Visit) -> None:
    """The order of a cart takes its pieces from the stock and frees nothing."""
    ann, bob = visit(), visit()
    put(ann, 2)
    assert ann.post("/api/orders", json={}).status_code == 201
    assert (stock(ann), stock(bob)) == (1, 1)
    assert put(bob, 1) == 200


def test_an_order_without_a_cart_takes_nothing_that_is_held(visit: Visit) -> None:
    """Who orders at once gets what nobody holds, and what is in the own cart stays held."""
    ann, bob = visit(), visit()
    put(ann, 2)
    order = {"items": [{"sku": GRINDER, "quantity": 2}]}
    assert bob.post("/api/orders", json=order).status_code == 409
    assert stock(ann) == 3
    order["items"][0]["quantity"] = 1
    assert bob.post("/api/orders", json=order).status_code == 201
    assert (stock(ann), stock(bob)) == (2, 0)


def test_a_sale_between_the_looks(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hold of pieces that were sold while it was made is undone, and asked for anew."""
    asked: list[Hold] = []

    class Stale:
        """Grants what the stock it is told allows; the first time the last pieces are sold."""

        def call(self, name: str, hold: Hold) -> Held:
            asked.append(hold)
            if len(asked) == 1:
                get_db().execute("UPDATE product SET stock = 0 WHERE sku = ?", (hold.sku,))
            granted = min(hold.quantity, hold.stock)
            return Held(granted, 0, hold.stock)

    from webapp.catalog import OutOfStock
    from webapp.db import get_db

    monkeypatch.setattr(holds, "plugins", Stale())
    with app.app_context(), pytest.raises(OutOfStock, match="is sold out"):
        holds.hold(get_db(), GRINDER, 3, "ann", "Sorry.")
    assert [(hold.quantity, hold.stock) for hold in asked] == [(3, 3), (0, 3), (3, 0)]
