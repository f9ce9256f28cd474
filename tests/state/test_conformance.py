"""What every backend does, and does alike to the byte."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from plugin_host.errors import (
    StateError,
    StateQuota,
    StateTypeError,
    StateUnavailable,
    StateValueError,
)
from plugin_host.state import Admission, Entry, Namespace, Outcome, Page, Quota, Store, Sum, Swap
from plugin_host.state.numbers import I64_MAX, I64_MIN
from tests.state.world import World, soon

ODD_KEYS = [b"\x00", b"\x00\x00", b"a", b"a\x00", b"a\xff", b"b", b"\xff", b"\xff\xff"]


# Keys and values


def test_what_was_put_is_there(world: World) -> None:
    """Any bytes but an empty key are kept as they are; what was not put is None."""
    space = world.namespace()
    for key in ODD_KEYS:
        space.put(key, key * 3, deadline=soon())
    space.put(b"empty", b"", deadline=soon())
    got = space.get_many([*ODD_KEYS, b"empty", b"none"], deadline=soon())
    assert got == [*(key * 3 for key in ODD_KEYS), b"", None]
    assert space.get(b"none", deadline=soon()) is None


def test_a_put_replaces(world: World) -> None:
    """The last value counts."""
    space = world.namespace()
    space.put(b"k", b"one", deadline=soon())
    space.put(b"k", b"two", deadline=soon())
    assert (space.get(b"k", deadline=soon()), space.count(deadline=soon())) == (b"two", 1)


def test_several_are_put_and_deleted_at_once(world: World) -> None:
    """A batch takes the last of equal keys, and deleting says how many there were."""
    space = world.namespace()
    space.put_many([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")], deadline=soon())
    assert space.get_many([b"b", b"a", b"b"], deadline=soon()) == [b"2", b"3", b"2"]
    assert space.delete_many([b"a", b"c", b"a", b"b"], deadline=soon()) == 2
    assert space.count(deadline=soon()) == 0


def test_empty_batches_do_nothing(world: World) -> None:
    """No keys, no answers."""
    space = world.namespace()
    space.put_many([], deadline=soon())
    assert space.get_many([], deadline=soon()) == []
    assert space.delete_many([], deadline=soon()) == 0


def test_large_batches(world: World) -> None:
    """A thousand keys in one operation are put, got and deleted."""
    space = world.namespace()
    items = [(b"%04d" % number, b"v%d" % number) for number in range(1000)]
    space.put_many(items, deadline=soon())
    keys = [key for key, _ in items]
    assert space.get_many(keys, deadline=soon()) == [value for _, value in items]
    assert space.delete_many(keys, deadline=soon()) == 1000


def test_a_delete_says_whether_there_was_a_key(world: World) -> None:
    """Deleting twice deletes once."""
    space = world.namespace()
    space.put(b"k", b"v", deadline=soon())
    assert [space.delete(b"k", deadline=soon()) for _ in range(2)] == [True, False]


def test_namespaces_do_not_see_each_other(world: World) -> None:
    """Equal keys in two namespaces are two keys, also where one name begins with the other."""
    one, two = world.namespace("shop"), world.namespace("shop.b")
    one.put(b"k", b"1", deadline=soon())
    two.put(b"k", b"2", deadline=soon())
    assert one.get(b"k", deadline=soon()) == b"1"
    assert two.delete(b"k", deadline=soon())
    assert (one.count(deadline=soon()), two.count(deadline=soon())) == (1, 0)


def test_the_store_names_what_holds_something(world: World) -> None:
    """Namespaces are listed sorted; one whose keys are deleted or have expired is not."""
    store = Store(world.backend(), "test")
    assert store.namespaces(deadline=soon()) == []
    for name in ("b", "a:1", "gone", "late"):
        store.namespace(name).put(b"k", b"v", deadline=soon(), ttl=5 if name == "late" else None)
    store.namespace("gone").delete(b"k", deadline=soon())
    world.clock.pass_time(6)
    assert store.namespaces(deadline=soon()) == ["a:1", "b"]


# Conditional writes


def test_put_if_absent(world: World) -> None:
    """The first one puts; the others are told what is there."""
    space = world.namespace()
    assert space.put_if_absent(b"k", b"1", deadline=soon()) == Swap(True, b"1")
    assert space.put_if_absent(b"k", b"2", deadline=soon()) == Swap(False, b"1")
    assert space.get(b"k", deadline=soon()) == b"1"


@pytest.mark.parametrize(
    ("there", "expected", "value", "answer"),
    [
        (b"1", b"1", b"22", Swap(True, b"22")),
        (b"1", b"1", b"1", Swap(True, b"1")),
        (b"1", b"1", None, Swap(True, None)),
        (b"1", b"9", b"2", Swap(False, b"1")),
        (b"1", b"9", None, Swap(False, b"1")),
        (b"1", None, b"2", Swap(False, b"1")),
        (b"1", None, None, Swap(False, b"1")),
        (None, b"9", b"2", Swap(False, None)),
        (None, b"9", None, Swap(False, None)),
        (None, None, b"2", Swap(True, b"2")),
        (None, None, None, Swap(True, None)),
        (b"", b"", b"2", Swap(True, b"2")),
        (b"", None, b"2", Swap(False, b"")),
    ],
)
def test_compare_and_set(
    world: World, there: bytes | None, expected: bytes | None, value: bytes | None, answer: Swap
) -> None:
    """A write happens if the key holds what is expected, and the answer is what it holds then."""
    space = world.namespace()
    if there is not None:
        space.put(b"k", there, deadline=soon())
    assert space.compare_and_set(b"k", expected, value, deadline=soon()) == answer
    assert space.get(b"k", deadline=soon()) == answer.value


# Numbers


def test_adding_to_nothing_begins_at_zero(world: World) -> None:
    """A counter needs no preparation, and is decimal text."""
    space = world.namespace()
    assert space.add(b"n", -7, deadline=soon()) == Sum(True, -7)
    assert space.add(b"n", 10, deadline=soon()) == Sum(True, 3)
    assert space.get(b"n", deadline=soon()) == b"3"


@pytest.mark.parametrize(
    ("start", "delta", "floor", "ceiling", "answer"),
    [
        (5, -5, 0, None, Sum(True, 0)),
        (5, -6, 0, None, Sum(False, 5)),
        (5, 5, None, 10, Sum(True, 10)),
        (5, 6, None, 10, Sum(False, 5)),
        (5, 0, 6, 10, Sum(False, 5)),
        (-5, -5, -10, -6, Sum(True, -10)),
        (-5, -6, -10, None, Sum(False, -5)),
        (5, 5, 10, 10, Sum(True, 10)),
        (9_007_199_254_740_993, 1, None, 9_007_199_254_740_993, Sum(False, 9_007_199_254_740_993)),
        (9_007_199_254_740_992, 1, 9_007_199_254_740_993, None, Sum(True, 9_007_199_254_740_993)),
        (I64_MAX, 1, None, I64_MAX, Sum(False, I64_MAX)),
        (I64_MIN, -1, I64_MIN, None, Sum(False, I64_MIN)),
        (I64_MIN, I64_MAX, None, None, Sum(True, -1)),
        (-1, I64_MIN + 1, I64_MIN, I64_MAX, Sum(True, I64_MIN)),
        (0, I64_MIN, None, None, Sum(True, I64_MIN)),
    ],
)
def test_bounds_are_never_left(
    world: World,
    start: int,
    delta: int,
    floor: int | None,
    ceiling: int | None,
    answer: Sum[int],
) -> None:
    """A sum beyond a bound is refused, told, and changes nothing, over the whole range of i64."""
    space = world.namespace()
    space.put(b"n", b"%d" % start, deadline=soon())
    got = space.add(b"n", delta, deadline=soon(), floor=floor, ceiling=ceiling)
    assert got == answer
    assert space.get(b"n", deadline=soon()) == b"%d" % answer.value


def test_a_refused_addition_makes_no_key(world: World) -> None:
    """Nothing minus one, with a floor of zero, stays nothing."""
    space = world.namespace()
    assert space.add(b"n", -1, deadline=soon(), floor=0) == Sum(False, 0)
    assert space.add_float(b"n", -1.5, deadline=soon(), floor=0.0) == Sum(False, 0.0)
    assert space.get(b"n", deadline=soon()) is None
    assert space.count(deadline=soon()) == 0


@pytest.mark.parametrize(
    ("start", "delta"), [(I64_MAX, 1), (I64_MIN, -1), (I64_MIN, I64_MIN), (1, I64_MAX)]
)
def test_an_i64_overflows_with_an_error(world: World, start: int, delta: int) -> None:
    """Beyond an i64 is an error and no change; a bound on the other side does not help."""
    space = world.namespace()
    space.put(b"n", b"%d" % start, deadline=soon())
    bounds = {"floor": I64_MIN} if delta > 0 else {"ceiling": I64_MAX}
    for more in ({}, bounds):
        with pytest.raises(StateValueError) as caught:
            space.add(b"n", delta, deadline=soon(), **more)
        assert caught.value.code == "overflow"
    assert space.get(b"n", deadline=soon()) == b"%d" % start


@pytest.mark.parametrize(
    "value",
    [b"", b"true", b"+1", b"01", b"-0", b" 1", b"1 ", b"1.0", b"1e3", b"0x10",
     b"9223372036854775808", b"-9223372036854775809", b"\xd9\xa1", b"1\x00", b"1_000"],
)  # fmt: skip
def test_what_is_no_i64_is_not_added_to(world: World, value: bytes) -> None:
    """Only the canonical decimal text of an i64 is one; anything else stays as it is."""
    space = world.namespace()
    space.put(b"n", value, deadline=soon())
    with pytest.raises(StateTypeError) as caught:
        space.add(b"n", 1, deadline=soon())
    assert (caught.value.code, space.get(b"n", deadline=soon())) == ("not_a_number", value)


@pytest.mark.parametrize(
    "value",
    [b"", b"true", b"+1", b" 1", b"1 ", b"inf", b"nan", b"-inf", b"0x10", b"1e999", b"-1e999",
     b"1e", b".5", b"1.2.3", b"1_0", b"1\x00", b"1,5", b"--1", b"1-1"],
)  # fmt: skip
def test_what_is_no_f64_is_not_added_to(world: World, value: bytes) -> None:
    """Only decimal text of a finite number is an f64; anything else stays as it is."""
    space = world.namespace()
    space.put(b"n", value, deadline=soon())
    with pytest.raises(StateTypeError) as caught:
        space.add_float(b"n", 1.0, deadline=soon())
    assert (caught.value.code, space.get(b"n", deadline=soon())) == ("not_a_number", value)


@pytest.mark.parametrize(
    ("start", "delta", "text"),
    [
        (b"0.1", 0.2, b"0.30000000000000004"),
        (b"0.5", 0.5, b"1"),
        (b"1", -1.0, b"0"),
        (b"-0.0", -0.0, b"0"),
        (b"17", 0.25, b"17.25"),
        (b"007", 0.5, b"7.5"),
        (b"1.", 0.5, b"1.5"),
        (b"1E+2", 0.5, b"100.5"),
        (b"1e300", 1e300, b"2e+300"),
        (b"5e-324", 0.0, b"4.94065645841247e-324"),
        (b"1e22", 0.0, b"1e+22"),
        (b"123456789012345678", 0.0, b"1.2345678901234568e+17"),
        (b"0", 1 / 3, b"0.3333333333333333"),
        (b"0", 2.0**-44, b"5.6843418860808015e-14"),
        (b"0", 9007199254740993.0, b"9007199254740992"),
    ],
)
def test_f64_text_is_the_same_everywhere(
    world: World, start: bytes, delta: float, text: bytes
) -> None:
    """A sum is written with as few digits as read back, in every backend the same."""
    space = world.namespace()
    space.put(b"n", start, deadline=soon())
    assert space.add_float(b"n", delta, deadline=soon()) == Sum(True, float(text))
    assert space.get(b"n", deadline=soon()) == text


def test_f64_bounds_and_overflow(world: World) -> None:
    """Bounds hold for fractions; infinity is refused by a bound and an error without one."""
    space = world.namespace()
    assert space.add_float(b"n", 0.5, deadline=soon(), ceiling=0.5) == Sum(True, 0.5)
    assert space.add_float(b"n", 1e-17, deadline=soon(), ceiling=0.5) == Sum(True, 0.5)
    assert space.add_float(b"n", 0.1, deadline=soon(), ceiling=0.5) == Sum(False, 0.5)
    space.put(b"n", b"1e308", deadline=soon())
    assert space.add_float(b"n", 1e308, deadline=soon(), ceiling=1.7e308) == Sum(False, 1e308)
    with pytest.raises(StateValueError) as caught:
        space.add_float(b"n", 1e308, deadline=soon(), floor=0.0)
    assert (caught.value.code, space.get(b"n", deadline=soon())) == ("overflow", b"1e308")


# One of few


def test_never_one_more_gets_in(world: World) -> None:
    """As many as the limit get in; who is in stays in, whatever the limit becomes."""
    space = world.namespace()

    def ask(key: bytes, limit: int, value: bytes = b"1") -> Admission:
        return space.put_if_fewer_than(b"id/", limit, key, value, deadline=soon())

    space.put(b"other", b"", deadline=soon())
    assert [ask(b"id/%d" % number, 2).outcome for number in range(3)] == [
        Outcome.ADDED, Outcome.ADDED, Outcome.FULL,
    ]  # fmt: skip
    assert ask(b"id/0", 2, b"2") == Admission(Outcome.PRESENT, b"1")
    assert ask(b"id/1", 0) == Admission(Outcome.PRESENT, b"1")
    assert ask(b"id/2", 3) == Admission(Outcome.ADDED, b"1")
    assert ask(b"id/3", 0) == Admission(Outcome.FULL, None)
    assert space.delete(b"id/0", deadline=soon())
    assert ask(b"id/4", 3) == Admission(Outcome.ADDED, b"1")
    assert space.count(b"id/", deadline=soon()) == 3


def test_the_prefix_may_be_empty_or_the_key(world: World) -> None:
    """Every key begins with nothing and with itself."""
    space = world.namespace()
    assert space.put_if_fewer_than(b"", 1, b"a", b"", deadline=soon()).outcome is Outcome.ADDED
    assert space.put_if_fewer_than(b"", 1, b"b", b"", deadline=soon()).outcome is Outcome.FULL
    assert space.put_if_fewer_than(b"b", 1, b"b", b"", deadline=soon()).outcome is Outcome.ADDED


def test_places_come_free_when_they_expire(world: World) -> None:
    """An expired key does not count, and can come again."""
    space = world.namespace()

    def ask(key: bytes) -> Outcome:
        return space.put_if_fewer_than(b"id/", 1, key, b"", deadline=soon(), ttl=10).outcome

    assert [ask(b"id/a"), ask(b"id/b")] == [Outcome.ADDED, Outcome.FULL]
    world.clock.pass_time(10)
    assert [ask(b"id/b"), ask(b"id/a")] == [Outcome.ADDED, Outcome.FULL]
    world.clock.pass_time(10)
    assert ask(b"id/b") is Outcome.ADDED


# Counting and listing


@pytest.mark.parametrize("prefix", [b"", b"\x00", b"a", b"a\x00", b"a\xff", b"\xff", b"\xff\xff"])
def test_counts_are_of_keys_that_begin_so(world: World, prefix: bytes) -> None:
    """Bytes 0 and 255 are bytes like others."""
    space = world.namespace()
    space.put_many([(key, b"") for key in ODD_KEYS], deadline=soon())
    expected = [key for key in sorted(ODD_KEYS) if key.startswith(prefix)]
    assert space.count(prefix, deadline=soon()) == len(expected)
    listed = space.list(prefix, deadline=soon(), limit=20)
    assert [entry.key for entry in listed.entries] == expected


def test_counts_of_many_keys_are_exact(world: World) -> None:
    """Also where there are many keys, many of them gone or expired."""
    space = world.namespace()
    keys = [b"%s/%05d" % (group, number) for group in (b"a", b"b", b"c") for number in range(2500)]
    for start in range(0, len(keys), 500):
        batch = [(key, b"v") for key in keys[start : start + 500]]
        space.put_many(batch, deadline=soon(), ttl=60 if start >= 5000 else None)
    gone = keys[100:900]
    space.delete_many(gone, deadline=soon())
    left = set(keys) - set(gone)
    for prefix in (b"", b"a/", b"a/000", b"b", b"c/02", b"c/0249", b"d"):
        expected = sum(key.startswith(prefix) for key in left)
        assert space.count(prefix, deadline=soon()) == expected
    world.clock.pass_time(61)
    assert space.count(b"c/", deadline=soon()) == 0
    assert space.count(deadline=soon()) == 5000 - len(gone)


def test_a_list_goes_on_at_its_cursor(world: World) -> None:
    """Pages follow each other without gap or repetition, and the last one says so."""
    space = world.namespace()
    keys = [b"k/%d" % number for number in range(7)]
    space.put_many([(key, b"xx") for key in keys], deadline=soon())
    space.put(b"l", b"", deadline=soon())
    found, cursor, pages = [], b"", 0
    while True:
        page = space.list(b"k/", deadline=soon(), cursor=cursor, limit=3)
        found += [entry.key for entry in page.entries]
        cursor, pages = page.cursor, pages + 1
        if not cursor:
            break
    assert (found, pages) == (keys, 3)


def test_a_list_bears_changes(world: World) -> None:
    """A key that the cursor stands on may go; what stays is listed once."""
    space = world.namespace()
    space.put_many([(b"%d" % number, b"") for number in range(6)], deadline=soon())
    first = space.list(deadline=soon(), limit=3)
    space.delete(b"2", deadline=soon())
    space.put(b"00", b"", deadline=soon())
    rest = space.list(deadline=soon(), limit=3, cursor=first.cursor)
    assert [entry.key for entry in rest.entries] == [b"3", b"4", b"5"]


def test_a_list_says_sizes_and_times(world: World) -> None:
    """An entry has the size of its value and the seconds it has left."""
    space = world.namespace()
    space.put(b"a", b"four", deadline=soon())
    space.put(b"b", b"", deadline=soon(), ttl=2.5)
    world.clock.pass_time(1)
    assert space.list(deadline=soon()) == Page((Entry(b"a", 4, None), Entry(b"b", 0, 1.5)), b"")


def test_a_list_skips_what_has_expired(world: World) -> None:
    """A page is full of living keys, however many dead ones are between them."""
    space = world.namespace()
    space.put_many([(b"%03d" % n, b"") for n in range(0, 300, 3)], deadline=soon())
    space.put_many([(b"%03d" % n, b"") for n in range(1, 300, 3)], deadline=soon(), ttl=1)
    world.clock.pass_time(2)
    page = space.list(deadline=soon(), limit=50)
    assert [entry.key for entry in page.entries] == [b"%03d" % n for n in range(0, 150, 3)]


# Time


def test_expired_keys_are_never_seen(world: World) -> None:
    """To the millisecond: until then there, from then on not, for every operation."""
    space = world.namespace()
    space.put(b"k", b"5", deadline=soon(), ttl=1.5)
    world.clock.pass_time(1.499)
    assert space.get(b"k", deadline=soon()) == b"5"
    world.clock.pass_time(0.001)
    assert space.get(b"k", deadline=soon()) is None
    assert space.get_many([b"k", b"j"], deadline=soon()) == [None, None]
    assert space.delete(b"k", deadline=soon()) is False
    assert space.delete_many([b"k", b"j"], deadline=soon()) == 0
    assert space.count(deadline=soon()) == 0
    assert space.list(deadline=soon()) == Page((), b"")


@pytest.mark.parametrize(
    ("write", "value"),
    [
        (lambda space: space.put(b"k", b"new", deadline=soon()), b"new"),
        (lambda space: space.put_many([(b"k", b"n"), (b"j", b"")], deadline=soon()), b"n"),
        (lambda space: space.put_if_absent(b"k", b"new", deadline=soon()), b"new"),
        (lambda space: space.compare_and_set(b"k", None, b"n", deadline=soon()), b"n"),
        (lambda space: space.add(b"k", 2, deadline=soon()), b"2"),
        (lambda space: space.add_float(b"k", 2.5, deadline=soon()), b"2.5"),
        (lambda space: space.put_if_fewer_than(b"", 1, b"k", b"n", deadline=soon()), b"n"),
    ],
    ids=["put", "put_many", "put_if_absent", "swap", "add", "add_float", "put_if_fewer_than"],
)
def test_what_has_expired_begins_anew(
    world: World, write: Callable[[Namespace], object], value: bytes
) -> None:
    """A write over an expired key is a write to no key, and has no TTL but its own."""
    space = world.namespace()
    space.put(b"k", b"7", deadline=soon(), ttl=1)
    world.clock.pass_time(1)
    write(space)
    world.clock.pass_time(1000)
    assert space.get(b"k", deadline=soon()) == value


def test_expected_values_expire(world: World) -> None:
    """An expired value is not what is expected."""
    space = world.namespace()
    space.put(b"k", b"7", deadline=soon(), ttl=1)
    world.clock.pass_time(1)
    assert space.compare_and_set(b"k", b"7", b"8", deadline=soon()) == Swap(False, None)
    assert space.compare_and_set(b"k", b"7", None, deadline=soon()) == Swap(False, None)


def test_a_put_sets_the_time_anew(world: World) -> None:
    """Each put says how long; one that does not say it says for ever."""
    space = world.namespace()
    space.put(b"a", b"", deadline=soon(), ttl=1)
    space.put(b"a", b"", deadline=soon(), ttl=5)
    space.put(b"b", b"", deadline=soon(), ttl=1)
    space.put(b"b", b"", deadline=soon())
    space.compare_and_set(b"c", None, b"1", deadline=soon(), ttl=1)
    space.compare_and_set(b"c", b"1", b"2", deadline=soon(), ttl=5)
    world.clock.pass_time(3)
    assert space.get_many([b"a", b"b", b"c"], deadline=soon()) == [b"", b"", b"2"]
    world.clock.pass_time(3)
    assert space.get_many([b"a", b"b", b"c"], deadline=soon()) == [None, b"", None]


def test_a_counter_keeps_the_time_it_was_made_with(world: World) -> None:
    """Adding does not prolong: a window of time begins with its first event."""
    space = world.namespace()
    space.add(b"n", 1, deadline=soon(), ttl=10)
    world.clock.pass_time(6)
    assert space.add(b"n", 1, deadline=soon(), ttl=10) == Sum(True, 2)
    world.clock.pass_time(4)
    assert space.add(b"n", 1, deadline=soon(), ttl=10) == Sum(True, 1)
    space.put(b"for ever", b"1", deadline=soon())
    space.add_float(b"for ever", 1.0, deadline=soon(), ttl=10)
    world.clock.pass_time(1000)
    assert space.get(b"for ever", deadline=soon()) == b"2"


def test_a_clock_may_go_back(world: World) -> None:
    """Keys live longer then; nothing is lost, and what was swept stays away."""
    space = world.namespace()
    space.put(b"k", b"v", deadline=soon(), ttl=10)
    world.clock.pass_time(-3600)
    assert space.get(b"k", deadline=soon()) == b"v"
    assert space.list(deadline=soon()).entries[0].ttl == 3610
    world.clock.pass_time(3600 + 9)
    assert space.get(b"k", deadline=soon()) == b"v"
    world.clock.pass_time(1)
    assert space.get(b"k", deadline=soon()) is None


def test_sweeping_removes_what_has_expired(world: World) -> None:
    """Everywhere, and says how much; what lives stays."""
    backend = world.backend()
    store = Store(backend, "test")
    for name in ("a", "b"):
        space = store.namespace(name)
        space.put_many([(b"%d" % n, b"") for n in range(700)], deadline=soon(), ttl=5)
        space.put(b"stays", b"", deadline=soon())
    assert store.sweep(deadline=soon()) == 0
    world.clock.pass_time(6)
    assert store.sweep(deadline=soon()) == 1400
    assert [store.namespace(name).count(deadline=soon()) for name in ("a", "b")] == [1, 1]


# Quotas


def full(caught: pytest.ExceptionInfo[StateError]) -> str:
    return caught.value.code


def test_no_more_keys_than_allowed(world: World) -> None:
    """A new key is refused in a full namespace, whatever writes it; an old one is written."""
    space = world.namespace(quota=Quota(max_keys=2))
    space.put_many([(b"a", b"1"), (b"b", b"2")], deadline=soon())
    attempts: list[Callable[[], object]] = [
        lambda: space.put(b"c", b"", deadline=soon()),
        lambda: space.put_many([(b"a", b"9"), (b"c", b"")], deadline=soon()),
        lambda: space.put_if_absent(b"c", b"", deadline=soon()),
        lambda: space.add(b"c", 1, deadline=soon()),
        lambda: space.add_float(b"c", 1.0, deadline=soon()),
        lambda: space.put_if_fewer_than(b"", 9, b"c", b"", deadline=soon()),
    ]
    for attempt in attempts:
        with pytest.raises(StateQuota) as caught:
            attempt()
        assert full(caught) == "quota_keys"
    assert space.get_many([b"a", b"b", b"c"], deadline=soon()) == [b"1", b"2", None]
    space.put_many([(b"a", b"3"), (b"b", b"4")], deadline=soon())
    assert space.add(b"a", 1, deadline=soon()) == Sum(True, 4)
    assert space.compare_and_set(b"b", b"4", b"5", deadline=soon()) == Swap(True, b"5")
    space.delete(b"a", deadline=soon())
    space.put(b"c", b"", deadline=soon())


def test_no_more_bytes_than_allowed(world: World) -> None:
    """Keys and values count; what does not grow is written in a full namespace."""
    space = world.namespace(quota=Quota(max_bytes=10))
    space.put(b"a", b"1234", deadline=soon())
    space.put(b"b", b"9999", deadline=soon())
    attempts: list[Callable[[], object]] = [
        lambda: space.put(b"c", b"", deadline=soon()),
        lambda: space.put(b"a", b"12345", deadline=soon()),
        lambda: space.put_many([(b"a", b"12"), (b"c", b"12")], deadline=soon()),
        lambda: space.compare_and_set(b"a", b"1234", b"12345", deadline=soon()),
        lambda: space.add(b"b", 1, deadline=soon()),
        lambda: space.add_float(b"b", 0.5, deadline=soon()),
    ]
    for attempt in attempts:
        with pytest.raises(StateQuota) as caught:
            attempt()
        assert full(caught) == "quota_bytes"
    assert space.get_many([b"a", b"b"], deadline=soon()) == [b"1234", b"9999"]
    space.put(b"a", b"12", deadline=soon())
    space.add(b"b", 1, deadline=soon())
    space.put(b"c", b"", deadline=soon())
    assert space.get_many([b"a", b"b", b"c"], deadline=soon()) == [b"12", b"10000", b""]


def test_what_has_expired_makes_room(world: World) -> None:
    """A namespace full of expired keys is not full."""
    quota = Quota(max_keys=600, max_bytes=6000)
    space = world.namespace(quota=quota)
    items = [(b"%03d" % number, b"1234567") for number in range(600)]
    for again in (b"a", b"b", b"c"):
        space.put_many(items, deadline=soon(), ttl=1)
        world.clock.pass_time(1)
        if again == b"b":
            space.put(b"one", b"1234567", deadline=soon(), ttl=1)
            world.clock.pass_time(1)
    assert space.count(deadline=soon()) == 0


def test_a_lowered_quota_takes_nothing_away(world: World) -> None:
    """What is there stays and may shrink, and cannot grow."""
    world.namespace().put_many([(b"a", b"12345"), (b"b", b"1")], deadline=soon())
    space = world.namespace(quota=Quota(max_keys=1, max_bytes=6))
    assert space.get(b"a", deadline=soon()) == b"12345"
    space.put(b"a", b"54321", deadline=soon())
    space.put_many([(b"a", b"1234"), (b"b", b"1")], deadline=soon())
    with pytest.raises(StateQuota):
        space.put(b"a", b"12345", deadline=soon())


# Arguments


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("key", lambda s: s.get(b"", deadline=soon())),
        ("key", lambda s: s.put_many([(b"a", b""), (b"", b"")], deadline=soon())),
        ("key_size", lambda s: s.get(b"k" * 17, deadline=soon())),
        ("key_size", lambda s: s.put(b"k" * 17, b"", deadline=soon())),
        ("key_size", lambda s: s.delete_many([b"a", b"k" * 17], deadline=soon())),
        ("key_size", lambda s: s.count(b"k" * 17, deadline=soon())),
        ("value_size", lambda s: s.put(b"k", b"v" * 33, deadline=soon())),
        ("value_size", lambda s: s.put_many([(b"k", b"v" * 33)], deadline=soon())),
        ("value_size", lambda s: s.compare_and_set(b"k", None, b"v" * 33, deadline=soon())),
        ("quota_bytes", lambda s: s.put(b"k" * 16, b"v" * 30, deadline=soon())),
        ("ttl", lambda s: s.put(b"k", b"", deadline=soon(), ttl=0)),
        ("ttl", lambda s: s.put(b"k", b"", deadline=soon(), ttl=-1)),
        ("ttl", lambda s: s.put(b"k", b"", deadline=soon(), ttl=math.nan)),
        ("ttl", lambda s: s.put(b"k", b"", deadline=soon(), ttl=math.inf)),
        ("ttl", lambda s: s.add(b"k", 1, deadline=soon(), ttl=-0.5)),
        ("number", lambda s: s.add(b"k", I64_MAX + 1, deadline=soon())),
        ("number", lambda s: s.add(b"k", 1, deadline=soon(), floor=I64_MIN - 1)),
        ("number", lambda s: s.add(b"k", 1, deadline=soon(), floor=2, ceiling=1)),
        ("number", lambda s: s.add_float(b"k", math.nan, deadline=soon())),
        ("number", lambda s: s.add_float(b"k", math.inf, deadline=soon())),
        ("number", lambda s: s.add_float(b"k", 1.0, deadline=soon(), ceiling=math.inf)),
        ("number", lambda s: s.add_float(b"k", 10**400, deadline=soon())),
        ("prefix", lambda s: s.put_if_fewer_than(b"a", 1, b"b", b"", deadline=soon())),
        ("limit", lambda s: s.put_if_fewer_than(b"a", -1, b"a", b"", deadline=soon())),
        ("limit", lambda s: s.put_if_fewer_than(b"a", 1 << 60, b"a", b"", deadline=soon())),
        ("limit", lambda s: s.list(deadline=soon(), limit=0)),
        ("limit", lambda s: s.list(deadline=soon(), limit=1001)),
        ("cursor", lambda s: s.list(deadline=soon(), cursor=b"made up")),
        ("batch", lambda s: s.get_many([b"k"] * 1001, deadline=soon())),
        ("batch", lambda s: s.put_many([(b"%d" % n, b"") for n in range(1001)], deadline=soon())),
    ],
)
def test_wrong_arguments_are_told_apart(
    world: World, code: str, call: Callable[[Namespace], object]
) -> None:
    """Each wrong argument has its code, and changes nothing."""
    space = world.namespace(quota=Quota(max_key=16, max_value=32, max_bytes=40))
    with pytest.raises(StateError) as caught:
        call(space)
    assert caught.value.code == code
    assert space.count(deadline=soon()) == 0


def test_cursors_belong_to_their_list(world: World) -> None:
    """A cursor of another prefix or namespace, or a changed one, is refused."""
    space = world.namespace()
    space.put_many([(b"a/%d" % n, b"") for n in range(5)], deadline=soon())
    cursor = space.list(b"a/", deadline=soon(), limit=2).cursor
    wrong = [
        (world.namespace(), b"a", cursor),
        (world.namespace(), b"", cursor),
        (world.namespace("other"), b"a/", cursor),
        (world.namespace(), b"a/", cursor[:-1]),
        (world.namespace(), b"a/", cursor + b"0"),
        (world.namespace(), b"a/", cursor[:-1] + b"9"),
    ]
    for where, prefix, given in wrong:
        with pytest.raises(StateValueError) as caught:
            where.list(prefix, deadline=soon(), cursor=given)
        assert caught.value.code == "cursor"


@pytest.mark.parametrize("name", ["", "a b", "ä", "a/b", "x" * 129, "{a}", "a\n"])
def test_namespaces_have_plain_names(world: World, name: str) -> None:
    """What could be mistaken in a URL, a pattern or a hash tag is no name."""
    with pytest.raises(StateValueError) as caught:
        Store(world.backend(), "test").namespace(name)
    assert caught.value.code == "namespace"


def test_a_deadline_that_has_passed(world: World) -> None:
    """Nothing is done then, and the error says why."""
    space = world.namespace()
    space.put(b"k", b"v", deadline=soon())
    calls: list[Callable[[], object]] = [
        lambda: space.get(b"k", deadline=soon(-1)),
        lambda: space.put(b"k", b"w", deadline=soon(-1)),
        lambda: space.add(b"n", 1, deadline=soon(-1)),
    ]
    for call in calls:
        with pytest.raises(StateUnavailable) as caught:
            call()
        assert caught.value.remedy
    assert space.get(b"k", deadline=soon()) == b"v"
    assert space.get(b"n", deadline=soon()) is None


def test_a_deadline_may_be_infinite(world: World) -> None:
    """Who can wait for ever says so."""
    space = world.namespace()
    space.put(b"k", b"v", deadline=math.inf)
    assert space.add(b"n", 1, deadline=math.inf) == Sum(True, 1)
    assert Store(world.backends[0], "test").sweep(deadline=math.inf) == 0
    assert space.get(b"k", deadline=math.inf) == b"v"


def test_a_closed_backend_opens_again(world: World) -> None:
    """Closing lets go of files and connections; nothing is lost by it."""
    backend = world.backend()
    space = world.namespace()
    space.put(b"k", b"v", deadline=soon())
    backend.close()
    assert space.get(b"k", deadline=soon()) == b"v"
