"""`bulk_discount.wasm` and its variant in a site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Site

Config = dict[str, Any]


def line(quantity: int, price: int = 1000, name: str = "Mug", **more: Any) -> Config:
    return {"sku": name.lower(), "name": name, "unit_price": price, "quantity": quantity, **more}


def quote(*items: Config, flash: bool = False, **more: Any) -> Config:
    total = sum(item["unit_price"] * item["quantity"] for item in items)
    start = {"items": list(items), "subtotal": total, "total": total, "discounts": []}
    return {**start, "user": "ann", "flash": flash, **more}


@pytest.fixture
def price(site: Site) -> Callable[..., Config]:
    """What the plugin makes of a quote."""

    def ask(payload: Any, module: str = "", **config: Any) -> Any:
        client, plugins = site("bulk_discount", module, **config)
        plugins.hookspec("price_quote", combine="chain")(lambda quote: quote)
        with client.application.app_context():
            return plugins.call("price_quote", payload)

    return ask


Price = Callable[..., Config]


def reduced(before: Config, *discounts: tuple[str, int]) -> Config:
    """The quote with these discounts."""
    entries = [{"label": label, "amount": amount} for label, amount in discounts]
    taken = sum(amount for _, amount in discounts)
    return {
        **before,
        "discounts": before["discounts"] + entries,
        "total": before["total"] - taken,
    }


@pytest.mark.parametrize(
    ("quantity", "discounts"),
    [
        (1, []),
        (2, []),
        (3, [("10 % off 3 × Mug", 300)]),
        (9, [("10 % off 9 × Mug", 900)]),
        (10, [("20 % off 10 × Mug", 2000)]),
    ],
)
def test_tiers(price: Price, quantity: int, discounts: list[tuple[str, int]]) -> None:
    """The best tier that a line reaches counts, from its smallest quantity on."""
    before = quote(line(quantity))
    assert price(before) == reduced(before, *discounts)


def test_lines(price: Price) -> None:
    """Every line counts by itself, and all else in the quote stays as it was."""
    before = quote(line(3), line(2, name="Pot"), line(10, 99, name="Tea 😀"), note={"kept": [1.5]})
    after = reduced(before, ("10 % off 3 × Mug", 300), ("20 % off 10 × Tea 😀", 198))
    assert price(before) == after


@pytest.mark.parametrize(
    ("percent", "unit_price", "amount", "label"),
    [
        (10, 5, 1, "10 %"),
        (10, 4, 0, ""),
        (12.5, 100, 13, "12.5 %"),
        (0.05, 100_000, 50, "0.05 %"),
        (33.33, 1000, 333, "33.33 %"),
        (100, 1000, 1000, "100 %"),
        (0, 1000, 0, ""),
        (29.1, 10**12, 291 * 10**9, "29.1 %"),
    ],
)
def test_rounding(price: Price, percent: float, unit_price: int, amount: int, label: str) -> None:
    """Amounts are whole cents, half a cent rounded up; nothing is no discount."""
    before = quote(line(1, unit_price))
    discounts = [(f"{label} off 1 × Mug", amount)] if amount else []
    after = price(before, tiers=[{"min_quantity": 1, "percent": percent}])
    assert after == reduced(before, *discounts)


def test_unsorted_tiers(price: Price) -> None:
    """The order of tiers in the config does not matter."""
    tiers = [{"min_quantity": 10, "percent": 20}, {"min_quantity": 3, "percent": 10}]
    before = quote(line(12))
    assert price(before, tiers=tiers) == reduced(before, ("20 % off 12 × Mug", 2400))


def test_never_below_zero(price: Price) -> None:
    """Together with earlier discounts no more is taken off than there is."""
    before = reduced(quote(line(10)), ("Voucher", 9500))
    assert price(before) == reduced(before, ("20 % off 10 × Mug", 500))


def test_flash_price(price: Price) -> None:
    """Flash-sale prices are only reduced if the config says so."""
    before = quote(line(3), flash=True)
    assert price(before) == before
    assert price(before, flash=True) == reduced(before, ("10 % off 3 × Mug", 300))


@pytest.mark.parametrize("name", ["x" * 200, "x" * 102 + "😀" * 50, "x" * 103 + "😀" * 50])
def test_long_names(price: Price, name: str) -> None:
    """A label has at most 120 characters and no half of one."""
    (discount,) = price(quote(line(3, name=name)))["discounts"]
    assert len(discount["label"]) <= 120
    assert f"10 % off 3 × {name}".startswith(discount["label"].removesuffix("…"))
    assert discount["label"].endswith("…")


@pytest.mark.parametrize(
    "payload",
    [
        [],
        {},
        {**quote(line(3)), "total": 30.0},
        {**quote(line(3)), "items": None},
        {**quote(line(3)), "discounts": {}},
        {**quote(line(3)), "items": [{"name": "no price", "quantity": 3}]},
        {**quote(line(3)), "items": [{"name": "text", "unit_price": 1, "quantity": "3"}]},
        {**quote(line(3)), "items": [line(3, -1)]},
        {**quote(line(3)), "items": [line(0)]},
    ],
)
def test_no_quote(price: Price, payload: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What is no quote is the plugin's failure with a reason, and the price stays."""
    assert price(payload) == payload
    assert "is no quote" in caplog.text


def test_three_for_two(price: Price) -> None:
    """The variant gives every third piece for free."""
    before = quote(line(2), line(3, name="Pot"), line(7, 250, name="Tea"))
    after = reduced(before, ("3 for 2: Pot", 1000), ("3 for 2: Tea", 500))
    assert price(before, "variants/three_for_two.wasm") == after
