"""State as guests see it: docs/abi.md, "State", over all backends and both ways of calling."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any, get_args

import pytest

from plugin_host.config import StateUrl
from plugin_host.errors import (
    DeadlineExceeded,
    GuestTrap,
    StateCode,
    StateUnavailable,
)
from plugin_host.hostfunctions.stage import LIVE, Stage
from plugin_host.hostfunctions.state_errors import RESULTS, Failures
from plugin_host.state import Quota, Store, memory_store
from tests.state.trampoline import ABSENT, CAP, DATA, DONE, FOR_EVER, LOWEST, OUT, Caller, groups
from tests.state.world import World, soon


def codes() -> dict[str, int]:
    return {str(code): result for code, result in RESULTS.items()}


E = codes()


@pytest.fixture
def guest(world: World, fast_call: bool) -> Caller:
    """A guest whose store is one of the backends."""
    store = Store(world.backend(), "test:")
    granted = frozenset({"state", "state:till", "state:stock"})
    return Caller(fast_call, store=store, granted=granted)


@pytest.fixture
def small(fast_call: bool) -> Caller:
    """A guest with room for little, in memory."""
    quota = Quota(max_keys=2, max_bytes=40, max_value=16)
    return Caller(fast_call, store=memory_store(), quota=quota)


def doubles(*numbers: float) -> list[int]:
    """The bits of f64 numbers."""
    return [struct.unpack("<q", struct.pack("<d", number))[0] for number in numbers]


# What the functions do


def test_get_and_put(guest: Caller) -> None:
    """A value that was put is there, and what was not is not."""
    assert guest.given("get", 0, b"k") == (-1, b"")
    assert guest("put", 0, b"k", b"value", FOR_EVER) == 0
    assert guest("put", 0, b"empty", b"", FOR_EVER) == 0
    assert guest.given("get", 0, b"k") == (5, b"value")
    assert guest.given("get", 0, b"empty") == (0, b"")


def test_a_value_that_does_not_fit_is_not_written(guest: Caller) -> None:
    """Its length says how much room it needs."""
    guest("put", 0, b"k", b"value", FOR_EVER)
    assert guest("get", 0, b"k", OUT, 4) == 5
    assert guest.out(5) == bytes(5)
    assert guest("get", 0, b"k", OUT, 5) == 5
    assert guest.out(5) == b"value"


def test_delete(guest: Caller) -> None:
    """Deleting says whether there was anything."""
    guest("put", 0, b"k", b"v", FOR_EVER)
    assert [guest("delete", 0, b"k"), guest("delete", 0, b"k")] == [1, 0]


@pytest.mark.parametrize("world", ["memory", "sqlite"], indirect=True)  # Redis has its own clock
def test_a_time_to_live_ends(guest: Caller, world: World) -> None:
    """A key with a TTL in milliseconds is there until then, and not longer."""
    guest("put", 0, b"k", b"v", 2007)
    world.clock.pass_time(2.006)
    assert guest.given("get", 0, b"k") == (1, b"v")
    world.clock.pass_time(0.001)
    assert guest.given("get", 0, b"k") == (-1, b"")


def test_swap(guest: Caller) -> None:
    """It puts or deletes what is as expected, and otherwise gives what is there."""

    def swap(old: bytes | None, new: bytes | None) -> tuple[int, bytes]:
        lengths = [(0, ABSENT) if each is None else (each,) for each in (old, new)]
        return guest.given("swap", 0, b"k", *lengths[0], *lengths[1], FOR_EVER)

    assert swap(b"x", b"a") == (-1, b"")
    assert swap(None, b"a") == (DONE, b"")
    assert swap(None, b"b") == (1, b"a")
    assert swap(b"a", b"bb") == (DONE, b"")
    assert swap(b"a", None) == (2, b"bb")
    assert swap(b"bb", None) == (DONE, b"")
    assert guest.given("get", 0, b"k") == (-1, b"")


def test_add(guest: Caller) -> None:
    """Sums stay within the bounds, and either way the number is told."""

    def add(delta: int, floor: int = LOWEST, ceiling: int = FOR_EVER) -> tuple[int, int]:
        result = guest("add", 0, b"k", delta, floor, ceiling, FOR_EVER, OUT)
        return result, struct.unpack("<q", guest.out(8))[0]

    assert [add(5), add(-7), add(-1, floor=-2), add(3, ceiling=1)] == [
        (1, 5),
        (1, -2),
        (0, -2),
        (1, 1),
    ]
    assert guest.given("get", 0, b"k") == (1, b"1")
    assert guest("add", 0, b"k", 1, LOWEST, FOR_EVER, FOR_EVER, 0) == 1


def test_add_f64(guest: Caller) -> None:
    """The same with f64 numbers, given by their bits."""

    def add(delta: float, floor: float = -float("inf")) -> tuple[int, float]:
        bits = doubles(delta, floor, float("inf"))
        result = guest("add_f64", 0, b"k", *bits, FOR_EVER, OUT)
        return result, struct.unpack("<d", guest.out(8))[0]

    assert [add(0.5), add(-2.0, floor=0.0), add(1.25)] == [(1, 0.5), (0, 0.5), (1, 1.75)]


def test_admit(guest: Caller) -> None:
    """At most so many get in, who is in is in, and the others are told that there is no room."""

    def admit(key: bytes, value: bytes) -> tuple[int, bytes]:
        return guest.given("admit", 0, key, 3, 2, value, FOR_EVER)

    assert [admit(b"id/a", b"1"), admit(b"id/b", b"2"), admit(b"id/c", b"3"), admit(b"id/a", b"4")]
    assert [admit(b"id/c", b"3"), admit(b"id/a", b"4")] == [(-1, b""), (1, b"1")]
    assert guest("count", 0, b"id/") == 2


def test_lists_come_in_pages(guest: Caller) -> None:
    """A page has keys, sizes and remaining times, and the cursor of the next."""
    for key in (b"a/1", b"a/2", b"a/3", b"b"):
        guest("put", 0, key, b"v" * 3, FOR_EVER)
    guest("put", 0, b"a/2", b"", 60_000)
    keys, cursor, pages = [], b"", 0
    while True:
        size, page = guest.given("list", 0, b"a/", cursor, 2)
        assert size == len(page)
        (length,) = struct.unpack_from("<I", page)
        cursor, at = page[4 : 4 + length], 4 + length
        while at < size:
            key_len, value_len, left = struct.unpack_from("<IIq", page, at)
            keys.append((page[at + 16 : at + 16 + key_len], value_len, left))
            at += 16 + key_len
        pages += 1
        if not cursor:
            break
    assert pages == 2
    assert [(key, size) for key, size, _ in keys] == [(b"a/1", 3), (b"a/2", 0), (b"a/3", 3)]
    assert keys[0][2] == FOR_EVER
    assert 50_000 < keys[1][2] <= 60_000


def item(key: bytes, value: bytes) -> bytes:
    return struct.pack("<II", len(key), len(value)) + key + value


def keyed(*keys: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(key)) + key for key in keys)


def test_several_at_once(guest: Caller) -> None:
    """Several keys are put, read and deleted in one call each."""
    assert guest("put_many", 0, item(b"a", b"1") + item(b"b", b"") + item(b"c", b"3"), 60_000) == 0
    size, values = guest.given("get_many", 0, keyed(b"c", b"x", b"b", b"c"))
    assert size == len(values)
    assert values == b"\1\0\0\0003" + b"\xff" * 4 + bytes(4) + b"\1\0\0\0003"
    assert guest("delete_many", 0, keyed(b"a", b"x", b"b", b"a")) == 2
    assert guest("count", 0, b"") == 1
    assert [guest("put_many", 0, b"", FOR_EVER), guest("delete_many", 0, b"")] == [0, 0]
    assert guest.given("get_many", 0, b"") == (0, b"")


# Namespaces


def test_a_plugin_has_a_namespace_of_its_own(fast_call: bool) -> None:
    """Plugins do not see each other's keys, nor shared ones without asking."""
    store = memory_store()
    granted = frozenset({"state", "state:a"})
    first = Caller(fast_call, store=store, granted=granted)
    second = Caller(fast_call, store=store, granted=granted, plugin="a")
    first("put", 0, b"k", b"first", FOR_EVER)
    second("put", 0, b"k", b"second", FOR_EVER)
    assert (first.given("get", 0, b"k"), second.given("get", 0, b"k")) == (
        (5, b"first"),
        (6, b"second"),
    )
    assert [first("open", b"a"), first.given("get", 1, b"k")] == [1, (-1, b"")]
    assert sorted(store.namespaces(deadline=soon())) == ["plugin:a", "plugin:guest"]


def test_shared_namespaces_are_shared(fast_call: bool) -> None:
    """What one plugin puts into a shared namespace another one finds there."""
    store = memory_store()
    first = Caller(fast_call, store=store, granted=frozenset({"state:a", "state:b"}))
    second = Caller(fast_call, store=store, granted=frozenset({"state:b"}), plugin="other")
    assert [first("open", b"a"), first("open", b"b"), second("open", b"b")] == [1, 2, 1]
    first("put", 2, b"k", b"v", FOR_EVER)
    assert second.given("get", 1, b"k") == (1, b"v")


@pytest.mark.parametrize("name", [b"", b"c", b"A", b"a\0", b"x" * 65, b"\xff", b"a" * 2000])
def test_a_namespace_that_is_not_granted_is_closed(fast_call: bool, name: bytes) -> None:
    """The guest gets an error, and the operator a line that says what to grant."""
    guest = Caller(fast_call, granted=frozenset({"state", "state:a"}))
    assert guest("open", name) == E["namespace"]
    assert "is not open to this plugin; ask for the capability" in guest.log[0]
    assert guest.services.state_failures.counts() == {"namespace": 1}


# Errors


def test_every_code_has_a_result_that_stays() -> None:
    """Results are documented and never change."""
    assert set(RESULTS) == set(get_args(StateCode))
    assert codes() == {
        "unavailable": -2,
        "quota_keys": -3,
        "quota_bytes": -4,
        "key_size": -5,
        "value_size": -6,
        "not_a_number": -7,
        "overflow": -8,
        "key": -9,
        "prefix": -10,
        "ttl": -11,
        "number": -12,
        "limit": -13,
        "cursor": -14,
        "batch": -15,
        "namespace": -16,
    }


NAN, INFINITE = doubles(float("nan"), float("inf"))
ANY = (LOWEST, FOR_EVER, FOR_EVER, OUT)

MISTAKES: list[tuple[str, str, tuple[Any, ...]]] = [
    ("key", "get", (b"", OUT, CAP)),
    ("key", "put", (b"", b"v", FOR_EVER)),
    ("key", "get_many", (keyed(b"a", b""), OUT, CAP)),
    ("key_size", "get", (b"k" * 513, OUT, CAP)),
    ("key_size", "get", (DATA, ABSENT, OUT, CAP)),
    ("key_size", "count", (b"k" * 1025,)),
    ("key_size", "put_many", (item(b"k" * 513, b""), FOR_EVER)),
    ("value_size", "put", (b"k", DATA, ABSENT, FOR_EVER)),
    ("value_size", "put", (b"k", DATA, (256 << 10) + 1, FOR_EVER)),
    ("value_size", "swap", (b"k", 0, ABSENT, DATA, (256 << 10) + 1, FOR_EVER, OUT, CAP)),
    ("value_size", "admit", (b"k", 1, 1, DATA, ABSENT, FOR_EVER, OUT, CAP)),
    ("not_a_number", "add", (b"text", 1, *ANY)),
    ("not_a_number", "add_f64", (b"text", *doubles(1, 0, 2), FOR_EVER, OUT)),
    ("overflow", "add", (b"most", 1, *ANY)),
    ("overflow", "add_f64", (b"huge", *doubles(1.7e308), LOWEST + 1, INFINITE, FOR_EVER, OUT)),
    ("prefix", "admit", (b"k", 2, 1, b"", FOR_EVER, OUT, CAP)),
    ("ttl", "put", (b"k", b"v", 0)),
    ("ttl", "put", (b"k", b"v", -1)),
    ("ttl", "put", (b"k", b"v", LOWEST)),
    ("ttl", "put", (b"k", b"v", FOR_EVER - 1)),
    ("ttl", "put_many", (item(b"k", b"v"), -5)),
    ("ttl", "add", (b"k", 1, LOWEST, FOR_EVER, 0, OUT)),
    ("number", "add", (b"k", 1, 2, 1, FOR_EVER, OUT)),
    ("number", "add_f64", (b"k", NAN, *doubles(0, 1), FOR_EVER, OUT)),
    ("number", "add_f64", (b"k", INFINITE, *doubles(0, 1), FOR_EVER, OUT)),
    ("number", "add_f64", (b"k", *doubles(1), NAN, INFINITE, FOR_EVER, OUT)),
    ("limit", "admit", (b"k", 1, -1, b"", FOR_EVER, OUT, CAP)),
    ("limit", "admit", (b"k", 1, 1 << 53, b"", FOR_EVER, OUT, CAP)),
    ("limit", "list", (b"", b"", 0, OUT, CAP)),
    ("limit", "list", (b"", b"", 1001, OUT, CAP)),
    ("cursor", "list", (b"", b"nonsense", 1, OUT, CAP)),
    ("cursor", "list", (b"", DATA, ABSENT, 1, OUT, CAP)),
    ("batch", "get_many", (keyed(*[b"k"] * 1001), OUT, CAP)),
    ("batch", "get_many", (DATA, ABSENT, OUT, CAP)),
    ("batch", "put_many", (bytes(8 * 1001), FOR_EVER)),
    ("batch", "delete_many", (bytes(4 * 1001),)),
    ("batch", "put_many", (DATA, ABSENT, FOR_EVER)),
    ("batch", "delete_many", (DATA, ABSENT)),
]


@pytest.mark.parametrize(("code", "name", "arguments"), MISTAKES)
def test_a_mistake_is_an_error_of_its_own(
    fast_call: bool, code: str, name: str, arguments: tuple[Any, ...]
) -> None:
    """Guest, log and status are told; lengths are judged before anything is read."""
    guest = Caller(fast_call)
    for key, value in ((b"text", b"one"), (b"most", b"%d" % FOR_EVER), (b"huge", b"1.7e308")):
        guest("put", 0, key, value, FOR_EVER)
    assert guest(name, 0, *arguments) == E[code]
    assert guest.services.state_failures.counts() == {code: 1}
    assert guest.log[0].startswith(f"state_{name} in plugin:guest: {code}: ")
    assert guest("count", 0, b"") == 3


def test_quotas(small: Caller) -> None:
    """No room is an error that changes nothing."""
    assert small("put", 0, b"a", b"v" * 17, FOR_EVER) == E["value_size"]
    assert small("put", 0, b"a", b"v" * 16, FOR_EVER) == 0
    assert small("put", 0, b"b", b"v" * 16, FOR_EVER) == 0
    assert small("put", 0, b"c", b"", FOR_EVER) == E["quota_keys"]
    assert small("put_many", 0, item(b"a", b"v" * 16) + item(b"c", b""), 9) == E["quota_keys"]
    assert small("delete", 0, b"b") == 1
    assert small("put", 0, b"k" * 20, b"v" * 16, FOR_EVER) == E["quota_bytes"]
    assert small.services.state_failures.counts() == {
        "value_size": 1,
        "quota_keys": 2,
        "quota_bytes": 1,
    }


class Away:
    """A backend that never answers, and says with how much time it was asked."""

    def __init__(self) -> None:
        self.deadline = 0.0

    def read(self, space: object, keys: object, deadline: float) -> Any:
        self.deadline = deadline
        raise StateUnavailable("test:", "it is away", "start it")


def test_a_store_that_is_away_leaves_the_guest_time(fast_call: bool) -> None:
    """An operation has four fifths of what is left to the call."""
    backend: Any = Away()
    guest = Caller(fast_call, store=Store(backend, "test:"))
    assert guest("get", 0, b"k", OUT, CAP, timeout=100.0) == E["unavailable"]
    assert 15 < guest.instance.deadline - backend.deadline < 20.1
    assert guest.log == [
        "state_get in plugin:guest: unavailable: state in test:: it is away; start it"
    ]


def test_lines_about_errors_are_few(fast_call: bool) -> None:
    """A store that is away does not flood the log, and all errors are counted."""
    backend: Any = Away()
    now = [0.0]
    failures = Failures(lambda: now[0])
    guest = Caller(fast_call, store=Store(backend, "test:"), state_failures=failures)
    for _ in range(100):
        guest("get", 0, b"k", OUT, CAP)
    now[0] = 60.0
    guest("get", 0, b"k", OUT, CAP)
    assert (len(guest.log), failures.counts()) == (21, {"unavailable": 101})
    assert guest.log[20].endswith("(80 more like it were not logged)")


def test_no_time_left_is_the_calls_end(fast_call: bool) -> None:
    """With the deadline behind it, the call ends before the store is asked."""
    guest = Caller(fast_call)
    guest.instance.deadline = 0.0
    (get,) = [item for item in groups(guest.services) if item.name == "state_get"]
    with pytest.raises(DeadlineExceeded):
        get.function(guest.instance, 0, DATA, 1, OUT, CAP)


# Hostile guests

BEYOND = 16 << 16


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("open", (BEYOND - 1, 2)),
        ("get", (7, b"k", OUT, CAP)),
        ("get", (ABSENT, b"k", OUT, CAP)),
        ("get", (0, BEYOND, 1, OUT, CAP)),
        ("get", (0, ABSENT, 1, OUT, CAP)),
        ("get", (0, b"old", BEYOND - 2, CAP)),
        ("put", (0, b"new", BEYOND - 2, 3, FOR_EVER)),
        ("swap", (0, b"new", 0, ABSENT, b"v", FOR_EVER, BEYOND - 1, 2)),
        ("swap", (0, b"new", BEYOND, 1, b"v", FOR_EVER, OUT, CAP)),
        ("swap", (0, b"old", ABSENT, ABSENT - 1, b"v", FOR_EVER, OUT, CAP)),
        ("add", (0, b"new", 1, LOWEST, FOR_EVER, FOR_EVER, BEYOND - 7)),
        ("add_f64", (0, b"new", *doubles(1, 0, 2), FOR_EVER, BEYOND - 7)),
        ("admit", (0, b"new", 1, 9, b"v", FOR_EVER, ABSENT, 1)),
        ("count", (0, BEYOND - 1, 2)),
        ("list", (0, b"", BEYOND, 1, 1, OUT, CAP)),
        ("list", (0, b"", b"", 1, BEYOND - 2, CAP)),
        ("get_many", (0, b"\1\0\0", OUT, CAP)),
        ("get_many", (0, b"\2\0\0\0k", OUT, CAP)),
        ("get_many", (0, b"\xff\xff\xff\xffk", OUT, CAP)),
        ("get_many", (0, BEYOND - 4, 8, OUT, CAP)),
        ("delete_many", (0, b"\2\0\0\0k")),
        ("put_many", (0, b"\1\0\0\0\1\0\0", FOR_EVER)),
        ("put_many", (0, b"\3\0\0\0\1\0\0\0new", FOR_EVER)),
        ("put_many", (0, item(b"new", b"v") + b"\1", FOR_EVER)),
    ],
)
def test_hostile_arguments_trap(fast_call: bool, name: str, arguments: tuple[Any, ...]) -> None:
    """Bytes outside the memory, unknown handles and broken runs end the call, changing nothing."""
    store = memory_store()
    guest = Caller(fast_call, store=store)
    guest("put", 0, b"old", b"123", FOR_EVER)
    with pytest.raises(GuestTrap):
        guest(name, *arguments)
    space = store.namespace("plugin:guest")
    assert [entry.key for entry in space.list(deadline=soon()).entries] == [b"old"]


# Stages


def test_a_rehearsal_does_not_touch_the_app(fast_call: bool) -> None:
    """On a stage of its own a guest sees what others there put, and the app's store stays as is."""
    store, stage = memory_store(), Stage()
    guests = [Caller(fast_call, each, store=store) for each in (stage, stage, Stage(), LIVE)]
    guests[0]("put", 0, b"k", b"v", FOR_EVER)
    assert [each.given("get", 0, b"k")[0] for each in guests] == [1, 1, -1, -1]
    assert store.namespaces(deadline=soon()) == []


@pytest.mark.parametrize("name", ["open", "get"])
def test_state_is_for_hooks(fast_call: bool, name: str) -> None:
    """While an instance is made there is no state, so that none is read or written by the way."""
    guest = Caller(fast_call, None)
    with pytest.raises(GuestTrap, match="state was used while the instance was being made"):
        guest(name, *((b"till",) if name == "open" else (0, b"k", OUT, CAP)))


def test_a_url_with_a_password_is_not_in_the_log(fast_call: bool) -> None:
    """What guests and operators are told has no password in it."""
    pytest.importorskip("redis")
    from plugin_host.config.stateurl import parse_state
    from plugin_host.state import open_store

    url: StateUrl | None = parse_state("redis://user:hush@127.0.0.1:1/0")
    assert url is not None
    store = open_store(url)
    guest = Caller(fast_call, store=store)
    assert guest("get", 0, b"k", OUT, CAP, timeout=5.0) == E["unavailable"]
    assert "hush" not in guest.log[0]
    store.close()


def test_a_value_that_is_asked_for_a_thousand_times_is_not_copied_as_often(guest: Caller) -> None:
    """A result without room for it is measured, and not made: it could be a quarter of a GiB."""
    guest("put", 0, b"k", bytes(1 << 18), FOR_EVER)
    tracemalloc.start()
    try:
        length = guest("get_many", 0, keyed(*[b"k"] * 1000), OUT, CAP)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert length == 1000 * (4 + (1 << 18))
    assert peak < 4 << 20
