"""`rate_limit.wasm` in a site."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from .conftest import Site, data, state, without_store

ORDER = "/api/orders/1"


def order_routes(app: Flask) -> None:
    for path in ("/orders/<number>", "/api/orders/<number>"):
        app.add_url_rule(path, path, lambda number: number, methods=["GET", "POST"])


@pytest.fixture
def limited(site: Site) -> Callable[..., FlaskClient]:
    """A site with a limit of three requests an hour, unless said otherwise."""

    def make(**config: Any) -> FlaskClient:
        return site("rate_limit", prepare=order_routes, **{"limit": 3, "seconds": 3600} | config)[0]

    return make


Limited = Callable[..., FlaskClient]


def statuses(client: FlaskClient, count: int, **how: Any) -> list[int]:
    return [client.get(ORDER, **how).status_code for _ in range(count)]


def test_so_many_and_not_one_more(limited: Limited) -> None:
    """After `limit` requests a client reads 429, as problem JSON or text, and when to come back."""
    client = limited()
    assert statuses(client, 5) == [200, 200, 200, 429, 429]
    answer = client.get(ORDER)
    assert (answer.mimetype, answer.json) == (
        "application/problem+json",
        {
            "type": "about:blank",
            "title": "Too Many Requests",
            "status": 429,
            "detail": "too many requests, try again in 3600 s.",
            "code": "rate_limited",
        },
    )
    page = client.get("/orders/1")
    assert page.text == "too many requests, try again in 3600 s.\n"


def test_headers(limited: Limited) -> None:
    """A refusal has `Retry-After` and the `RateLimit` fields, and is not cached."""
    client = limited(limit=1)
    passed, refused = client.get(ORDER), client.get(ORDER)
    wanted = {
        "Retry-After": "3600",
        "RateLimit-Policy": '"default";q=1;w=3600',
        "RateLimit": '"default";r=0;t=3600',
        "Cache-Control": "no-store",
    }
    assert {name: refused.headers[name] for name in wanted} == wanted
    assert not wanted.keys() & dict(passed.headers).keys()


def test_clients_by_address(limited: Limited) -> None:
    """Each address has its own limit."""
    client = limited(limit=1)
    for address in ("192.0.2.1", "192.0.2.10", "2001:db8::1"):
        assert statuses(client, 2, environ_base={"REMOTE_ADDR": address}) == [200, 429]


def test_clients_by_header(site: Site) -> None:
    """With a header as the key each of its values has its own limit; without it, the address."""
    client = by(site, "header:x-api-key", "header:x-api-key")
    for key in ("a", "a/b", "b"):
        assert statuses(client, 2, headers={"X-Api-Key": key}) == [200, 429]
    assert statuses(client, 2) == [200, 429]


def test_clients_by_cookie(site: Site) -> None:
    """With a cookie as the key each of its values has its own limit."""
    client = by(site, "cookie:user", "cookies")
    for user in ("ann", "bob"):
        client.set_cookie("user", user)
        assert statuses(client, 2) == [200, 429]


def test_secrets_are_not_stored(site: Site) -> None:
    """The store holds hashes of headers and cookies, not what they say."""
    client = by(site, "header:x-api-key", "header:x-api-key")
    client.get(ORDER, headers={"X-Api-Key": "top-secret"})
    (entry,) = json.loads(data(client, "list", "--plugin", "rate_limit", "--json"))["keys"]
    assert entry["key"].startswith("client:")
    assert "secret" not in entry["key"]
    assert 3500 < entry["ttl"] <= 3600


def by(site: Site, key: str, need: str) -> FlaskClient:
    needs = ["path", "remote", need]
    config = {"limit": 1, "seconds": 3600, "key": key}
    return site("rate_limit", prepare=order_routes, needs=needs, **config)[0]


def test_the_window_slides(limited: Limited) -> None:
    """A refused client gets in again when its oldest request has left the window, and no sooner."""
    client = limited(limit=2, seconds=0.5)
    admitted: list[tuple[float, float]] = []
    deadline = time.monotonic() + 30
    while len(admitted) < 7 and time.monotonic() < deadline:
        asked = time.monotonic()
        answer: TestResponse = client.get(ORDER)
        if answer.status_code == 200:
            admitted.append((asked, time.monotonic()))
        else:
            assert answer.headers["Retry-After"] == "1"
    assert len(admitted) == 7
    # Whenever somebody is let in, the one before the last got in half a second earlier; clocks
    # count whole milliseconds.
    waits = [later[1] - earlier[0] for earlier, later in zip(admitted, admitted[2:], strict=False)]
    assert min(waits) > 0.498


def test_other_requests(limited: Limited) -> None:
    """What the manifest does not match is not counted."""
    client = limited(limit=1)
    assert [client.post(ORDER).status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"limit": 0}, "config.limit"),
        ({"limit": 1.5}, "config.limit"),
        ({"seconds": 0}, "config.seconds"),
        ({"key": "ip"}, "config.key"),
        ({"key": "header:"}, "config.key"),
    ],
)
def test_bad_limit(site: Site, config: dict[str, Any], named: str) -> None:
    """A wrong config keeps the plugin from loading, and the error names the key."""
    client, plugins = site("rate_limit", **{"limit": 1, "seconds": 1} | config)
    (failed,) = state(plugins, client)
    assert named in json.dumps(failed["load_error"])


def test_without_the_store_all_pass(site: Site, tmp_path: Path) -> None:
    """While the store is away nobody is refused, as the manifest says."""
    prepare = without_store(tmp_path, order_routes)
    client, plugins = site("rate_limit", prepare=prepare, limit=1)
    assert statuses(client, 3) == [200] * 3
    (serving,) = state(plugins, client)
    assert serving["state_errors"] == {"unavailable": 3}
