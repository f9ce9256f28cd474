"""`flash_sale.wasm` in a site."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from .conftest import Site, state

Config = dict[str, Any]


def flash_routes(app: Flask) -> None:
    def buy(sku: str) -> str:
        return f"{sku} {g.get('flash_admitted')}"

    app.add_url_rule("/flash/<sku>/buy", "buy", buy, methods=["GET", "POST"])
    app.add_url_rule("/api/flash/<sku>/buy", "api_buy", buy, methods=["GET", "POST"])


FLASH = {"start_time": "2020-01-01T00:00:00Z", "block_ratio": 0.5, "secret": "of the tests"}


@pytest.fixture
def sale(site: Site) -> Callable[..., FlaskClient]:
    """A site with the flash sale."""
    return lambda **config: site("flash_sale", prepare=flash_routes, **(FLASH | config))[0]


Sale = Callable[..., FlaskClient]


def test_not_started(sale: Sale) -> None:
    """Before the sale starts nobody gets in, and reads why as text or problem JSON."""
    client = sale(start_time="2999-01-01T00:00:00+01:00", block_ratio=0)
    page = client.post("/flash/mug/buy")
    assert (page.status_code, page.text, page.mimetype) == (403, "not start yet.\n", "text/plain")
    answer = client.post("/api/flash/mug/buy")
    assert (answer.status_code, answer.mimetype) == (403, "application/problem+json")
    assert answer.json == {
        "type": "about:blank",
        "title": "Forbidden",
        "status": 403,
        "detail": "not start yet.",
        "code": "not_started",
    }


def test_sold_out(sale: Sale) -> None:
    """Who is not let in reads "sold out", which no cache keeps."""
    client = sale(block_ratio=1)
    page = client.post("/flash/mug/buy", headers={"X-User": "ann"})
    assert (page.status_code, page.text, page.mimetype) == (409, "sold out.\n", "text/plain")
    assert page.headers["Cache-Control"] == "no-store"
    answer = client.post("/api/flash/mug/buy", headers={"X-User": "ann"})
    assert (answer.status_code, (answer.json or {})["code"]) == (409, "sold_out")


def test_admitted(sale: Sale) -> None:
    """Who is let in reaches the view, which knows it from `g`."""
    page = sale(block_ratio=0).post("/flash/mug/buy")
    assert (page.status_code, page.text) == (200, "mug 1")


def test_other_requests(sale: Sale) -> None:
    """The plugin sees purchases only."""
    assert sale(block_ratio=1).get("/flash/mug/buy").text == "mug None"


def admitted(client: FlaskClient, **how: Any) -> bool:
    return client.post("/api/flash/mug/buy", **how).status_code == 200


def test_same_answer(sale: Sale) -> None:
    """A user gets the same answer always and everywhere, by header as by cookie; others differ."""
    client = sale()
    users = [f"user{i}" for i in range(60)]
    answers = [admitted(client, headers={"X-User": user}) for user in users]
    assert answers == [
        client.post("/flash/mug/buy", headers={"X-User": user}).status_code == 200 for user in users
    ]
    by_cookie = []
    client.set_cookie("other", "user=somebody")
    for user in users:
        client.set_cookie("user", user)
        by_cookie.append(admitted(client))
    assert answers == by_cookie
    assert 15 < sum(answers) < 45


def test_secret_decides(sale: Sale) -> None:
    """Another secret lets other users in."""
    users = [f"user{i}" for i in range(60)]
    client, other = sale(), sale(secret="another secret")
    first = [admitted(client, headers={"X-User": user}) for user in users]
    assert first != [admitted(other, headers={"X-User": user}) for user in users]


def test_nameless(sale: Sale) -> None:
    """Users without a name are told apart by address, and none can claim another's address."""
    client = sale()
    addresses = [f"192.0.2.{i}" for i in range(40)]
    answers = [admitted(client, environ_base={"REMOTE_ADDR": address}) for address in addresses]
    assert 8 < sum(answers) < 32
    claimed = [admitted(client, headers={"X-User": address}) for address in addresses]
    assert answers != claimed


def test_demo_users(site: Site) -> None:
    """With the shipped config alice gets in and bob does not, as the manifest says."""
    client, _ = site("flash_sale", prepare=flash_routes)
    assert admitted(client, headers={"X-User": "alice"})
    assert not admitted(client, headers={"X-User": "bob"})


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"start_time": "tomorrow"}, "config.start_time"),
        ({"start_time": "2026-01-01T00:00:00"}, "config.start_time"),
        ({"block_ratio": 1.5}, "config.block_ratio"),
        ({"secret": "short"}, "config.secret"),
        ({"start": "2026-01-01T00:00:00Z"}, "config"),
    ],
)
def test_bad_sale(site: Site, config: Config, named: str) -> None:
    """A wrong config keeps the plugin from loading, and the error names the key."""
    client, plugins = site("flash_sale", prepare=flash_routes, **(FLASH | config))
    (failed,) = state(plugins, client)
    assert named in json.dumps(failed["load_error"])
