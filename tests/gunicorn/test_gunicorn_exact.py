"""What the shop's plugins count is exact, with eight workers that count at once, and that die."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crowds import all_at_once, ask, dying_workers, open_shop, sql
from server import PATIENCE, Site

from tests.state.crowd import open_by_text
from tests.state.world import RedisServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="asks /proc for the workers"),
]

both = pytest.mark.parametrize("kind", ["sqlite", pytest.param("redis", marks=pytest.mark.redis)])

BUYERS, USERS, ASKS = 300, 1000, 2
SALE = {"sale": '"exact"', "max_buyers": str(BUYERS), "block_ratio": "0.3"}


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server of these tests."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def state(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of an empty store of that kind."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'state.sqlite3'}"
    return _redis_url(request.getfixturevalue("redis_server"), tmp_path)


def _redis_url(server: RedisServer, tmp_path: Path) -> str:
    return f"redis://127.0.0.1:{server.port}/0?prefix={tmp_path.name}"


# The flash sale


def buy(site: Site, user: str) -> bool:
    """Whether somebody is let in; whatever else happens is wrong."""
    answer = ask(site, "POST", "/api/flash/kettle-swan/buy", cookie=f"user={user}")
    assert answer.status == 201 or answer.json.get("code") == "sold_out", answer
    return answer.status == 201


def sell_out(*sites: Site) -> set[str]:
    """Let a crowd buy while workers die; return who got in, once and for all."""
    asked = [f"user{number}" for number in range(USERS)] * ASKS
    random.shuffle(asked)
    shops = [random.choice(sites) for _ in asked]
    with dying_workers(*sites) as killed:
        got_in = all_at_once(lambda each: buy(*each), list(zip(shops, asked, strict=True)))
    answers: dict[str, set[bool]] = defaultdict(set)
    for user, lucky in zip(asked, got_in, strict=True):
        answers[user].add(lucky)
    assert len(killed) >= 2
    assert [user for user, said in answers.items() if len(said) > 1] == []
    return {user for user, said in answers.items() if said == {True}}


def in_the_store(state: str) -> int:
    """How many buyers the store knows."""
    store = open_by_text(state)
    try:
        return store.namespace("plugin:flash_sale").count(b"exact/", deadline=1e12)
    finally:
        store.close()


def customers(tmp_path: Path) -> set[str]:
    """Who has ordered in the flash sale, as the shop's own database has it."""
    return {user for (user,) in sql(tmp_path, "SELECT user FROM orders WHERE flash")}


def stock_up(tmp_path: Path) -> None:
    """Have more pieces than anybody can buy: only the plugin limits the sale."""
    sql(tmp_path, "UPDATE flash_sale SET stock = 1000000")


@both
def test_exactly_so_many_buyers(tmp_path: Path, state: str) -> None:
    """Of a crowd exactly `max_buyers` get in, each for good, though workers die all the time."""
    with open_shop(tmp_path, "flash_sale", SALE, state) as site:
        stock_up(tmp_path)
        lucky = sell_out(site)
    assert len(lucky) == BUYERS == in_the_store(state)
    assert customers(tmp_path) == lucky


@pytest.mark.redis
def test_two_machines_share_one_sale(tmp_path: Path, redis_server: RedisServer) -> None:
    """Two shops, each with workers and a database of its own, count the same buyers in Redis."""
    state = _redis_url(redis_server, tmp_path)
    one, other = tmp_path / "one", tmp_path / "other"
    with (
        open_shop(one, "flash_sale", SALE, state, 4) as first,
        open_shop(other, "flash_sale", SALE, state, 4) as second,
    ):
        stock_up(one)
        stock_up(other)
        lucky = sell_out(first, second)
    assert len(lucky) == BUYERS == in_the_store(state)
    assert customers(one) | customers(other) == lucky


@both
def test_the_operator_changes_the_sale_while_it_runs(tmp_path: Path, state: str) -> None:
    """Without a restart a higher `max_buyers` lets in the difference; a new `sale` begins anew."""
    few = SALE | {"max_buyers": "10", "block_ratio": "0"}
    users = [f"user{number}" for number in range(100)]
    with open_shop(tmp_path, "flash_sale", few, state, 4) as site:
        stock_up(tmp_path)

        def crowd() -> set[str]:
            got_in = all_at_once(lambda user: buy(site, user), users)
            return {user for user, lucky in zip(users, got_in, strict=True) if lucky}

        first = crowd()
        _edit(site, "flash_sale", "max_buyers = 10", "max_buyers = 25")
        second = crowd()
        _edit(site, "flash_sale", 'sale = "exact"', 'sale = "next"')
        third = crowd()
    assert (len(first), len(second), len(third)) == (10, 25, 25)
    assert first < second


def _edit(site: Site, plugin: str, old: str, new: str) -> None:
    """Change the manifest, and wait until all four workers follow."""
    manifest = (site.folder / f"{plugin}.toml").read_text()
    (before,) = {p["digest"] for p in site.get("/api/plugins").json["plugins"]}
    # The first is that of the config: recorded calls come after it.
    site.put(f"{plugin}.toml", manifest.replace(old, new, 1))
    site.everywhere(lambda answer: answer.json["plugins"][0]["digest"] != before, "/api/plugins", 4)


# The limit of requests


def lookup(site: Site, address: str = "127.0.0.1") -> tuple[float, float, bool]:
    """When a request was sent and answered, and whether it was let through."""
    sent = time.monotonic()
    answer = ask(site, "GET", "/api/orders/AAAA", address=address)
    assert answer.status in (404, 429), answer
    return sent, time.monotonic(), answer.status == 404


@both
def test_exactly_so_many_requests(tmp_path: Path, state: str) -> None:
    """Of many requests at once, spread over all workers, each client has exactly `limit`."""
    changes = {"limit": "30", "seconds": "3600"}
    clients = [f"127.0.0.{number}" for number in range(2, 6)]
    asked = clients * 100
    with open_shop(tmp_path, "rate_limit", changes, state) as site:
        passed = all_at_once(lambda client: lookup(site, client)[2], asked)
    counts = {
        name: sum(p for c, p in zip(asked, passed, strict=True) if c == name) for name in clients
    }
    assert counts == dict.fromkeys(clients, 30)


@both
def test_never_more_in_any_window(tmp_path: Path, state: str) -> None:
    """While requests come all the time, no second has more than `limit`, and each has some."""
    changes = {"limit": "20", "seconds": "1"}
    seen: list[tuple[float, float, bool]] = []
    deadline = time.monotonic() + PATIENCE
    with open_shop(tmp_path, "rate_limit", changes, state) as site:
        while sum(passed for *_, passed in seen) < 60 and time.monotonic() < deadline:
            seen += all_at_once(lambda _: lookup(site), range(40))
    through = [(sent, answered) for sent, answered, passed in seen if passed]
    # Whatever was sent and answered within one second was counted within it.
    most = max(sum(start <= s and a <= start + 1 for s, a in through) for start, _ in through)
    assert len(through) >= 60
    assert most <= 20


# Pieces in carts

STOCK = 40


class Visitor:
    """Somebody with a session, who wants so many mugs."""

    def __init__(self, site: Site, wanted: int) -> None:
        self.site, self.wanted = site, wanted
        self.cookie = ""
        self.put(0)

    def put(self, quantity: int) -> bool:
        """Whether so many could be put into the cart."""
        items = [{"sku": "mug-stone", "quantity": quantity}] if quantity else []
        answer = self._ask("PUT", "/api/cart", {"items": items})
        assert answer.status in (200, 409), answer
        return answer.status == 200

    def order(self) -> int:
        """Order what is in the cart; return the status."""
        return self._ask("POST", "/api/orders", {}).status

    def _ask(self, method: str, path: str, body: Any) -> Any:
        answer = ask(self.site, method, path, body, self.cookie)
        self.cookie = answer.headers.get("set-cookie", self.cookie).partition(";")[0]
        return answer


@both
def test_never_more_is_held_than_there_is(tmp_path: Path, state: str) -> None:
    """Carts hold what there is, and no more, though workers die; whoever holds pieces gets them."""
    with open_shop(tmp_path, "inventory_hold", {"minutes": "60"}, state) as site:
        sql(tmp_path, f"UPDATE product SET stock = {STOCK} WHERE sku = 'mug-stone'")
        visitors = all_at_once(lambda n: Visitor(site, 1 + n % 3), range(90))
        with dying_workers(site):
            held = all_at_once(lambda visitor: visitor.put(visitor.wanted), visitors * 2)[90:]
        holders = [v for v, ok in zip(visitors, held, strict=True) if ok]
        refused = [v for v, ok in zip(visitors, held, strict=True) if not ok]
        free = STOCK - sum(v.wanted for v in holders)
        assert 0 <= free < min(v.wanted for v in refused)

        # Half of them order while all who were refused try again.
        buyers = holders[::2]
        jobs = [v.order for v in buyers] + [lambda v=v: v.put(v.wanted) for v in refused]
        random.shuffle(jobs)
        all_at_once(lambda job: job(), jobs)
        sold = sum(v.wanted for v in buyers)
        ((left,),) = sql(tmp_path, "SELECT stock FROM product WHERE sku = 'mug-stone'")
        assert left == STOCK - sold
        # The other half has it still, and their orders leave what nobody held.
        assert [v.order() for v in holders[1::2]] == [201] * len(holders[1::2])
        ((left,),) = sql(tmp_path, "SELECT stock FROM product WHERE sku = 'mug-stone'")
        assert left == free


@both
def test_what_is_held_too_long_is_free_again(tmp_path: Path, state: str) -> None:
    """When holds expire others get the pieces: all of them, and not one more."""
    with open_shop(tmp_path, "inventory_hold", {"minutes": "0.1"}, state, 4) as site:
        sql(tmp_path, "UPDATE product SET stock = 5 WHERE sku = 'mug-stone'")
        first = [Visitor(site, 5) for _ in range(2)]
        late = [Visitor(site, 1) for _ in range(12)]
        assert [v.put(5) for v in first] == [True, False]
        _edit(site, "inventory_hold", "minutes = 0.1", "minutes = 60")
        site.until(lambda: late[0].put(1), "the hold expires")
        others = all_at_once(lambda visitor: visitor.put(1), late[1:])
        assert sum(others) == 4
        assert first[0].order() == 409
