"""`flash_sale.wasm` in a site."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from .conftest import Site, data, state, without_store

Config = dict[str, Any]


def flash_routes(app: Flask) -> None:
    def buy(sku: str) -> str:
        return f"{sku} {g.get('flash_admitted')}"

    app.add_url_rule("/flash/<sku>/buy", "buy", buy, methods=["GET", "POST"])
    app.add_url_rule("/api/flash/<sku>/buy", "api_buy", buy, methods=["GET", "POST"])


FLASH = {
    "sale": "spring",
    "max_buyers": 1000,
    "start_time": "2020-01-01T00:00:00Z",
    "block_ratio": 0.5,
    "secret": "of the tests",
}


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


def buyers(client: FlaskClient, names: Iterable[str]) -> list[str]:
    """Those of the users who are let in, one after the other."""
    return [name for name in names if admitted(client, headers={"X-User": name})]


USERS = [f"user{i}" for i in range(30)]


def test_exactly_so_many(sale: Sale) -> None:
    """So many users get in as `max_buyers` says, all others read "sold out"."""
    client = sale(block_ratio=0, max_buyers=7)
    assert buyers(client, USERS) == USERS[:7]
    refused = client.post("/flash/mug/buy", headers={"X-User": "late"})
    assert (refused.status_code, refused.text) == (409, "sold out.\n")


def test_who_is_in_stays_in(sale: Sale) -> None:
    """Once lucky is always lucky, also when the sale is full, closed to all, or unlucky since."""
    first = buyers(sale(block_ratio=0, max_buyers=5), USERS)
    for changed in ({"max_buyers": 0}, {"block_ratio": 1}, {"secret": "quite another one"}):
        client = sale(**{"block_ratio": 0, "max_buyers": 5} | changed)
        assert buyers(client, reversed(USERS)) == list(reversed(first))


def test_the_operator_makes_room(sale: Sale) -> None:
    """A higher `max_buyers` lets in so many more, and not one that came before again."""
    sale_of_3 = buyers(sale(block_ratio=0, max_buyers=3), USERS)
    assert buyers(sale(block_ratio=0, max_buyers=5), USERS) == USERS[:5]
    assert sale_of_3 == USERS[:3]


def test_a_new_sale_starts_fresh(sale: Sale) -> None:
    """Another `sale` has its own buyers, and the one before it keeps its own."""
    spring = {"block_ratio": 0, "max_buyers": 2}
    autumn = spring | {"sale": "autumn"}
    assert buyers(sale(**spring), USERS) == USERS[:2]
    assert buyers(sale(**autumn), reversed(USERS)) == USERS[:-3:-1]
    assert buyers(sale(**spring), USERS) == USERS[:2]


def test_cleared_data_is_a_new_start(sale: Sale) -> None:
    """When the operator deletes the keys of a sale, its places are free again at once."""
    client = sale(block_ratio=0, max_buyers=2)
    assert buyers(client, USERS) == USERS[:2]
    data(client, "delete", "--plugin", "flash_sale", "--prefix", "spring/", "--yes")
    assert buyers(client, reversed(USERS)) == USERS[:-3:-1]


def test_a_blocked_user_takes_no_place(sale: Sale) -> None:
    """Users whom the ratio blocks are not counted."""
    client = sale(max_buyers=10)
    assert len(buyers(client, [f"user{i}" for i in range(60)])) == 10


def test_a_name_that_is_none(sale: Sale) -> None:
    """A name that is longer than any is refused, and takes no place."""
    client = sale(block_ratio=0, max_buyers=1)
    answer = client.post("/api/flash/mug/buy", headers={"X-User": "x" * 1000})
    assert (answer.status_code, (answer.json or {})["code"]) == (400, "name_too_long")
    assert admitted(client, headers={"X-User": "ann"})


def test_without_the_store_nobody_gets_in(site: Site, tmp_path: Path) -> None:
    """While the store is away a purchase is a 503 with a request id, and nothing of why."""
    prepare = without_store(tmp_path, flash_routes)
    client, _ = site("flash_sale", prepare=prepare, **FLASH | {"block_ratio": 0})
    answer = client.post("/api/flash/mug/buy", headers={"X-User": "ann"})
    assert answer.status_code == 503
    assert answer.headers["X-Request-ID"]
    assert "sqlite" not in answer.text


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
        ({"max_buyers": -1}, "config.max_buyers"),
        ({"max_buyers": 1.5}, "config.max_buyers"),
        ({"sale": ""}, "config.sale"),
        ({"sale": "spring/2026"}, "config.sale"),
    ],
)
def test_bad_sale(site: Site, config: Config, named: str) -> None:
    """A wrong config keeps the plugin from loading, and the error names the key."""
    client, plugins = site("flash_sale", prepare=flash_routes, **(FLASH | config))
    (failed,) = state(plugins, client)
    assert named in json.dumps(failed["load_error"])
