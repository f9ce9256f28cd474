"""Many customers, few pieces."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from flask import Flask


def together(count: int, act: Callable[[int], int]) -> Counter[int]:
    """Run `act` in so many threads at once and count what they return."""
    start, results = threading.Barrier(count), []

    def run(number: int) -> None:
        start.wait()
        results.append(act(number))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count == len(results)
    return Counter(results)


def test_hammer_flash_sale(app: Flask) -> None:
    """Of twelve customers who want the last five pieces, exactly five get one."""

    def buy(_number: int) -> int:
        return app.test_client().post("/api/flash/teapot-iron/buy").status_code

    assert together(12, buy) == {201: 5, 409: 7}


def test_hammer_orders(app: Flask) -> None:
    """Orders that share articles sell no piece twice, and a refused one takes nothing."""
    mug, grinder = {"sku": "mug-stone", "quantity": 2}, {"sku": "grinder-hand", "quantity": 1}

    def order(number: int) -> int:
        # In both orders, so that a lock taken line by line would deadlock.
        items = [mug, grinder] if number % 2 else [grinder, mug]
        return app.test_client().post("/api/orders", json={"items": items}).status_code

    assert together(10, order) == {201: 3, 409: 7}
    client = app.test_client()
    left = [client.get(f"/api/products/{sku}").json for sku in ("mug-stone", "grinder-hand")]
    stocks: list[Any] = [product["stock"] for product in left if product]
    assert stocks == [120 - 6, 0]


def test_hammer_double_click(app: Flask) -> None:
    """A form that is sent many times at once makes one order."""
    client = app.test_client()
    client.get("/user")
    with client.session_transaction() as session:
        session["cart"] = {"mug-stone": 3}
        token = session["csrf"]
    cookie = client.get_cookie("session")
    assert cookie is not None
    locations: set[str | None] = set()

    def click(_number: int) -> int:
        visitor = app.test_client()
        visitor.set_cookie("session", cookie.value)
        data = {"csrf_token": token, "once": "0123456789abcdef"}
        response = visitor.post("/checkout", data=data)
        locations.add(response.location)
        return response.status_code

    assert together(8, click) == {303: 8}
    product: Any = client.get("/api/products/mug-stone").json
    assert len(locations) == 1
    assert product["stock"] == 117


def test_hammer_retries(app: Flask) -> None:
    """A request of a program that is sent many times at once makes one order."""
    body = {"items": [{"sku": "mug-stone", "quantity": 3}]}
    locations: set[str | None] = set()

    def send(_number: int) -> int:
        headers = {"Idempotency-Key": "0123456789abcdef"}
        response = app.test_client().post("/api/orders", json=body, headers=headers)
        locations.add(response.location)
        return response.status_code

    assert together(8, send) == {201: 8}
    product: Any = app.test_client().get("/api/products/mug-stone").json
    assert len(locations) == 1
    assert product["stock"] == 117
