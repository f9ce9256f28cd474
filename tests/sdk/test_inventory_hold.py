"""`inventory_hold.wasm` in a site."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Site, data, state

Ask = Callable[..., Any]


@pytest.fixture
def ask(site: Site) -> Ask:
    """Ask a hook; the plugin's config comes with the first question."""
    made: list[Any] = []

    def call(hook: str, payload: Any, **config: Any) -> Any:
        if not made:
            client, plugins = site("inventory_hold", **config)
            for name in ("stock_hold", "stock_held"):
                plugins.hookspec(name, combine="first")(lambda payload: "nobody answered")
            made[:] = client, plugins
        client, plugins = made
        with client.application.app_context():
            return plugins.call(hook, payload)

    return call


@pytest.fixture
def hold(ask: Ask) -> Ask:
    """What is held for somebody of ten mugs, and how many could be."""

    def call(holder: str, quantity: int, stock: int = 10, sku: str = "mug", **config: Any) -> Any:
        wish = {"sku": sku, "holder": holder, "quantity": quantity, "stock": stock}
        answer = ask("stock_hold", wish, **config)
        return answer["quantity"], answer["free"]

    return call


def test_all_or_nothing(hold: Ask) -> None:
    """Who asks for more than others have left gets none, and reads how many there are."""
    assert hold("ann", 7) == (7, 10)
    assert hold("bob", 4) == (0, 3)
    assert hold("bob", 3) == (3, 3)
    assert hold("eve", 1) == (0, 0)


def test_a_hold_replaces_the_one_before(hold: Ask) -> None:
    """A holder has as many pieces as it asked for last; what is too many changes nothing."""
    assert hold("ann", 7) == (7, 10)
    assert hold("ann", 8) == (8, 10)
    assert hold("ann", 11) == (8, 10)
    assert hold("ann", 2) == (2, 10)
    assert hold("bob", 8) == (8, 8)


def test_letting_go(hold: Ask, ask: Ask) -> None:
    """Who holds nothing any more leaves nothing behind."""
    hold("ann", 10)
    assert hold("ann", 0) == (0, 10)
    assert hold("ann", 0) == (0, 10)
    assert ask("stock_held", {"skus": ["mug"], "holder": None}) == {}
    assert hold("bob", 10) == (10, 10)


def test_less_than_is_held(hold: Ask) -> None:
    """What is held stays promised when the stock has shrunk, but does not become more."""
    hold("ann", 6)
    assert hold("ann", 7, stock=4) == (6, 4)
    assert hold("ann", 6, stock=4) == (6, 4)
    assert hold("ann", 5, stock=4) == (5, 4)
    assert hold("bob", 1, stock=4) == (0, 0)


def test_what_was_held_before(ask: Ask) -> None:
    """The answer says how many were held until now."""
    wishes = [{"sku": "mug", "holder": "ann", "quantity": n, "stock": 3} for n in (2, 3, 4, 1, 0)]
    assert [ask("stock_hold", wish)["before"] for wish in wishes] == [0, 2, 3, 3, 1]


def test_articles_are_apart(hold: Ask) -> None:
    """What is held of one article says nothing about another, however it is called."""
    hold("ann", 10)
    assert hold("bob", 10, sku="mug/2") == (10, 10)
    assert hold("bob", 10, sku="Tee 😀") == (10, 10)


def test_what_others_hold(hold: Ask, ask: Ask) -> None:
    """The answer sums up what others hold, by article, without those of which they hold nothing."""
    hold("ann", 2)
    hold("bob", 3)
    hold("ann", 1, sku="pot")
    skus = ["mug", "pot", "tea"]
    assert ask("stock_held", {"skus": skus, "holder": None}) == {"mug": 5, "pot": 1}
    assert ask("stock_held", {"skus": skus, "holder": "ann"}) == {"mug": 3}


def test_expiry(hold: Ask) -> None:
    """A hold that is not renewed ends, and what was held is free for all."""
    assert hold("ann", 10, minutes=0.005) == (10, 10)
    deadline = time.monotonic() + 30
    while hold("bob", 1) != (1, 10):
        assert time.monotonic() < deadline
    assert hold("ann", 10)[0] < 10


def test_what_is_stored_is_no_hold(site: Site) -> None:
    """Nonsense in the store, which an operator may put there, holds nothing."""
    client, plugins = site("inventory_hold")
    plugins.hookspec("stock_hold", combine="first")(lambda wish: None)
    for number, nonsense in enumerate(("", "{", "7", '[{"quantity":-5,"until":1e3},3]')):
        data(client, "put", "--plugin", "inventory_hold", f"sku/{number}", nonsense)
        wish = {"sku": str(number), "holder": "ann", "quantity": 2, "stock": 3}
        with client.application.app_context():
            assert plugins.call("stock_hold", wish) == {"quantity": 2, "before": 0, "free": 3}


@pytest.mark.parametrize(
    "payload",
    [
        [],
        {},
        {"sku": "", "holder": "ann", "quantity": 1, "stock": 1},
        {"sku": "mug", "holder": "ann", "quantity": -1, "stock": 1},
        {"sku": "mug", "holder": "ann", "quantity": 1},
    ],
)
def test_no_hold(ask: Ask, payload: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What is no hold is the plugin's failure with a reason, and the shop's default answers."""
    assert ask("stock_hold", payload) == "nobody answered"
    assert "is no hold" in caplog.text


@pytest.mark.parametrize("minutes", [0, -1, "ten"])
def test_bad_minutes(site: Site, minutes: Any) -> None:
    """A wrong config keeps the plugin from loading, and the error names the key."""
    client, plugins = site("inventory_hold", minutes=minutes)
    (failed,) = state(plugins, client)
    assert "config.minutes" in json.dumps(failed["load_error"])
