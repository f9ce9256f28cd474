"""The shop with real plugins: what becomes of their answers and of their failures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask import Flask

from webapp.hooks import Discount, Line, Quote

BROWSER = {"Accept": "text/html,*/*;q=0.8"}
ONE_MUG = {"items": [{"sku": "mug-stone", "quantity": 1}]}
MUG = Line("mug-stone", "Stoneware mug", 1450, 1)
CHEAPER = Quote([MUG], 1450, 1350, [Discount("One euro off", 100)], None, False)


def guest(hook: str, body: str, data: bytes = b"") -> str:
    """Return a guest whose `hook` does `body`; `data` lies at 65536."""
    quoted = "".join(f"\\{byte:02x}" for byte in data)
    return f"""(module
      (memory (export "memory") 2)
      (data (i32.const 65536) "{quoted}")
      (func (export "ph_abi_version") (result i32) (i32.const 1))
      (func (export "ph_alloc") (param i32) (result i32) (i32.const 4096))
      (func (export "{hook}") (param i32) (result i64) {body}))"""


def answering(hook: str, data: bytes) -> str:
    """Return a guest whose `hook` always answers `data`."""
    return guest(hook, f"(i64.const {65536 << 32 | len(data)})", data)


def refusing(status: int, text: bytes) -> str:
    """Return a guest that answers every request with this status and plain text."""
    return answering(
        "on_request",
        b"".join(
            (
                b"\x01\x03\0\0",
                _edit(10, b"", status.to_bytes(2, "little")),
                _edit(1, b"content-type", b"text/plain; charset=utf-8"),
                _edit(7, b"", text),
            )
        ),
    )


def _edit(op: int, name: bytes, value: bytes) -> bytes:
    head = bytes((op, 0)) + len(name).to_bytes(2, "little") + len(value).to_bytes(4, "little")
    return head + name + value


@pytest.fixture
def shop(folder: Path, request: pytest.FixtureRequest) -> Callable[[str], Flask]:
    """Make the shop with one plugin."""

    def make(wat: str) -> Flask:
        (folder / "one.wat").write_text(wat)
        app: Flask = request.getfixturevalue("app")
        return app

    return make


def test_plugin_decides_the_price(shop: Callable[[str], Flask]) -> None:
    """The price is what the plugin answers, on the page as in the API."""
    client = shop(answering("price_quote", msgspec.json.encode(CHEAPER))).test_client()
    assert client.post("/api/quote", json=ONE_MUG).json == msgspec.to_builtins(CHEAPER)
    page = client.get("/products/mug-stone").text
    assert "One euro off" in page
    assert '<dd id="total">€13.50</dd>' in page


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"{",
        msgspec.json.encode(CHEAPER).replace(b'"total":1350', b'"total":1'),
        msgspec.json.encode(CHEAPER).replace(b'"quantity":1', b'"quantity":9'),
        msgspec.json.encode(CHEAPER).replace(b"mug-stone", b"mug-stole"),
    ],
)
def test_wrong_price(shop: Callable[[str], Flask], answer: bytes) -> None:
    """An answer that does not add up, or is for another cart, changes no price."""
    client = shop(answering("price_quote", answer)).test_client()
    quote: Any = client.post("/api/quote", json=ONE_MUG).json
    assert (quote["items"], quote["total"]) == ([msgspec.to_builtins(MUG)], 1450)


def test_plugin_refuses_an_order(shop: Callable[[str], Flask]) -> None:
    """A refused order is a conflict with the plugin's reason, and takes nothing from the stock."""
    client = shop(
        answering("order_accept", b'{"accepted":false,"reason":"Not today."}')
    ).test_client()
    problem: Any = client.post("/api/orders", json=ONE_MUG).json
    product: Any = client.get("/api/products/mug-stone").json
    assert (problem["status"], problem["detail"]) == (409, "Not today.")
    assert product["stock"] == 120


def test_trap_on_the_way_in(shop: Callable[[str], Flask]) -> None:
    """When a plugin traps before the view, the answer is a 503 that shows only a request id."""
    client = shop(guest("on_request", "unreachable")).test_client()
    page = client.get("/", headers=BROWSER)
    problem = client.get("/api/products")
    known_as: Any = problem.json
    assert (page.status_code, page.mimetype) == (503, "text/html")
    assert "Back in a moment" in page.text
    assert page.headers["X-Request-ID"] in page.text
    assert (problem.status_code, problem.mimetype) == (503, "application/problem+json")
    assert known_as["request_id"] == problem.headers["X-Request-ID"]
    assert "unreachable" not in page.text + problem.text


def test_trap_in_the_price(shop: Callable[[str], Flask]) -> None:
    """When a pricing plugin traps, the shop's own price stands, and the plugin page says why."""
    client = shop(guest("price_quote", "unreachable")).test_client()
    assert '<dd id="total">€14.50</dd>' in client.get("/products/mug-stone").text
    assert "unreachable" in client.get("/plugins").text


def test_broken_file(shop: Callable[[str], Flask]) -> None:
    """A file that does not load is shown as failed, with the reason; the shop serves."""
    client = shop("(module").test_client()
    page = client.get("/plugins").text
    assert '<span class="state bad">failed</span>' in page
    assert "one.wat" in page


def test_refusal_is_a_page_for_people(shop: Callable[[str], Flask]) -> None:
    """A plugin's refusal in plain text is a page in a browser, and plain text elsewhere."""
    client = shop(refusing(409, b"sold out.\n")).test_client()
    page = client.get("/flash", headers=BROWSER)
    plain = client.get("/flash")
    assert (page.status_code, page.mimetype) == (409, "text/html")
    assert '<p id="reason" class="lead">sold out.</p>' in page.text
    assert page.headers["Content-Length"] == str(len(page.data))
    assert (plain.status_code, plain.text) == (409, "sold out.\n")
