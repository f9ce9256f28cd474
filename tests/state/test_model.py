"""Every backend against a model: whatever is done in whatever order, both say the same."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from typing import Any, Final

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from plugin_host.errors import StateError
from plugin_host.state import Namespace, Outcome, Quota
from plugin_host.state.numbers import I64_MAX, I64_MIN, Addition, write_number
from tests.state.world import World, soon

QUOTA: Final = Quota(max_keys=700, max_bytes=12_000)
NUMBERS: Final = itertools.count()

keys = st.one_of(
    st.sampled_from([b"a", b"a/", b"a/1", b"a/2", b"b", b"\x00", b"\xff", b"\xff\xff"]),
    st.binary(min_size=1, max_size=3),
)
prefixes = st.one_of(st.sampled_from([b"", b"a", b"a/", b"many/", b"\xff"]), st.binary(max_size=2))
values = st.one_of(
    st.sampled_from([b"", b"0", b"-1", b"7", b"0.5", b"1e3", b"x", b"%d" % I64_MAX]),
    st.binary(max_size=8),
)
ttls = st.one_of(st.none(), st.sampled_from([0.001, 1.0, 2.5, 100.0]))
integers = st.one_of(st.integers(-3, 3), st.integers(I64_MIN, I64_MAX))
floats = st.floats(allow_nan=False, allow_infinity=False)
bounds = st.one_of(st.none(), st.integers(-9, 9), st.sampled_from([I64_MIN, I64_MAX]))


class Model:
    """What a namespace should hold: keys with their values, and when they expire."""

    def __init__(self) -> None:
        self.cells: dict[bytes, tuple[bytes, int | None]] = {}

    def expire(self, now: int) -> None:
        self.cells = {k: (v, due) for k, (v, due) in self.cells.items() if not due or due > now}

    def value(self, key: bytes) -> bytes | None:
        return self.cells.get(key, (None,))[0]

    def with_prefix(self, prefix: bytes) -> list[bytes]:
        return sorted(key for key in self.cells if key.startswith(prefix))

    def check(self, items: dict[bytes, bytes]) -> None:
        new = sum(key not in self.cells for key in items)
        grown = sum(
            len(value) - len(self.value(key) or b"") + (key not in self.cells) * len(key)
            for key, value in items.items()
        )
        size = sum(len(key) + len(value) for key, (value, _) in self.cells.items())
        if new and len(self.cells) + new > QUOTA.max_keys:
            raise StateError("", "quota_keys")
        if grown > 0 and size + grown > QUOTA.max_bytes:
            raise StateError("", "quota_bytes")


class Machine(RuleBasedStateMachine):
    """Does to a namespace and to the model the same."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.name = f"model{next(NUMBERS)}"
        self.space: Namespace = self.world.namespace(self.name, QUOTA)
        self.model = Model()

    @property
    def now(self) -> int:
        return self.world.clock.now

    def due(self, ttl: float | None) -> int | None:
        return None if ttl is None else self.now + round(ttl * 1000)

    def both(self, real: Callable[[], object], model: Callable[[], object]) -> None:
        self.model.expire(self.now)
        answers: list[Any] = []
        for side in (model, real):
            try:
                answers.append(side())
            except StateError as error:
                answers.append(error.code)
        assert answers[1] == answers[0]

    def put_in_model(self, items: dict[bytes, bytes], due: int | None) -> None:
        self.model.check(items)
        self.model.cells |= {key: (value, due) for key, value in items.items()}

    @rule(items=st.dictionaries(keys, values, min_size=1, max_size=4), ttl=ttls)
    def put(self, items: dict[bytes, bytes], ttl: float | None) -> None:
        self.both(
            lambda: self.space.put_many(items.items(), deadline=soon(), ttl=ttl),
            lambda: self.put_in_model(items, self.due(ttl)),
        )

    @rule(start=st.integers(0, 600), number=st.integers(1, 700), ttl=ttls)
    def put_many(self, start: int, number: int, ttl: float | None) -> None:
        items = {b"many/%04d" % n: b"" for n in range(start, start + number)}
        self.put(items, ttl)

    @rule(start=st.integers(0, 600), number=st.integers(1, 700))
    def delete_many(self, start: int, number: int) -> None:
        gone = [b"many/%04d" % n for n in range(start, start + number)]
        self.delete(gone)

    @rule(gone=st.lists(keys, min_size=1, max_size=3))
    def delete(self, gone: list[bytes]) -> None:
        self.both(
            lambda: self.space.delete_many(gone, deadline=soon()),
            lambda: sum(self.model.cells.pop(key, None) is not None for key in dict.fromkeys(gone)),
        )

    @rule(key=keys, value=values, ttl=ttls)
    def put_one(self, key: bytes, value: bytes, ttl: float | None) -> None:
        self.both(
            lambda: self.space.put(key, value, deadline=soon(), ttl=ttl),
            lambda: self.put_in_model({key: value}, self.due(ttl)),
        )

    @rule(
        key=keys,
        expected=st.none() | values,
        value=st.none() | values,
        ttl=ttls,
        right=st.booleans(),
    )
    def swap(
        self,
        key: bytes,
        expected: bytes | None,
        value: bytes | None,
        ttl: float | None,
        right: bool,
    ) -> None:
        self.model.expire(self.now)
        if right:
            expected = self.model.value(key)

        def model() -> tuple[bool, bytes | None]:
            if self.model.value(key) != expected:
                return False, self.model.value(key)
            if value is None:
                self.model.cells.pop(key, None)
            else:
                self.put_in_model({key: value}, self.due(ttl))
            return True, value

        self.both(
            lambda: self.space.compare_and_set(key, expected, value, deadline=soon(), ttl=ttl),
            model,
        )

    def add_to_model(self, key: bytes, addition: Addition[Any], ttl: float | None) -> object:
        old = self.model.cells.get(key)
        number, total = addition.to(old and old[0])
        if total is None:
            return False, number
        self.put_in_model({key: write_number(total)}, old[1] if old else self.due(ttl))
        return True, total

    @rule(key=keys, delta=integers, floor=bounds, ceiling=bounds, ttl=ttls)
    def add(
        self, key: bytes, delta: int, floor: int | None, ceiling: int | None, ttl: float | None
    ) -> None:
        if floor is not None and ceiling is not None and floor > ceiling:
            floor, ceiling = ceiling, floor
        self.both(
            lambda: self.space.add(
                key, delta, deadline=soon(), floor=floor, ceiling=ceiling, ttl=ttl
            ),
            lambda: self.add_to_model(key, Addition(delta, floor, ceiling), ttl),
        )

    @rule(key=keys, delta=floats, floor=st.none() | floats, ttl=ttls)
    def add_float(self, key: bytes, delta: float, floor: float | None, ttl: float | None) -> None:
        self.both(
            lambda: self.space.add_float(key, delta, deadline=soon(), floor=floor, ttl=ttl),
            lambda: self.add_to_model(key, Addition(delta, floor), ttl),
        )

    @rule(prefix=prefixes, rest=keys, limit=st.integers(0, 12) | st.just(500), ttl=ttls)
    def admit(self, prefix: bytes, rest: bytes, limit: int, ttl: float | None) -> None:
        key = prefix + rest

        def model() -> tuple[Outcome, bytes | None]:
            if key in self.model.cells:
                return Outcome.PRESENT, self.model.value(key)
            if len(self.model.with_prefix(prefix)) >= limit:
                return Outcome.FULL, None
            self.put_in_model({key: b"in"}, self.due(ttl))
            return Outcome.ADDED, b"in"

        self.both(
            lambda: self.space.put_if_fewer_than(
                prefix, limit, key, b"in", deadline=soon(), ttl=ttl
            ),
            model,
        )

    @rule(prefix=prefixes)
    def count(self, prefix: bytes) -> None:
        self.both(
            lambda: self.space.count(prefix, deadline=soon()),
            lambda: len(self.model.with_prefix(prefix)),
        )

    @rule(prefix=prefixes, limit=st.sampled_from([1, 3, 100]))
    def list(self, prefix: bytes, limit: int) -> None:
        def real() -> Any:
            found, cursor = [], b""
            for _ in range(3):
                page = self.space.list(prefix, deadline=soon(), cursor=cursor, limit=limit)
                found += [(entry.key, entry.size) for entry in page.entries]
                cursor = page.cursor
                if not cursor:
                    break
            return found

        self.both(
            real,
            lambda: [
                (key, len(self.model.cells[key][0]))
                for key in self.model.with_prefix(prefix)[: 3 * limit]
            ],
        )

    @rule(wanted=st.lists(keys, min_size=1, max_size=4))
    def get(self, wanted: Any) -> None:
        self.both(
            lambda: self.space.get_many(wanted, deadline=soon()),
            lambda: [self.model.value(key) for key in wanted],
        )

    @rule(seconds=st.sampled_from([0.001, 0.999, 2.0, 50.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.clock.pass_time(seconds)

    @invariant()
    def sums_agree(self) -> None:
        """The sums that triggers keep in SQLite are those of the rows."""
        if self.world.kind == "sqlite":
            check_sums(str(self.world.folder / "state.sqlite3"), self.name)


def check_sums(path: str, space: str) -> None:
    """Compare the tables of sums with what they sum up."""
    db = sqlite3.connect(path)
    try:
        rows = db.execute("SELECT key, value FROM entries WHERE space = ?", (space,)).fetchall()
        sums = db.execute("SELECT keys, bytes FROM spaces WHERE space = ?", (space,)).fetchall()
        runs = db.execute("SELECT first, keys FROM runs WHERE space = ?", (space,)).fetchall()
    except sqlite3.OperationalError:
        return  # nothing was written yet
    finally:
        db.close()
    assert (sums or [(0, 0)]) == [(len(rows), sum(len(k) + len(v) for k, v in rows))]
    ends = [first for first, _ in runs[1:]] + [b"\xff" * 2000]
    assert runs == [
        (first, sum(first <= key < end for key, _ in rows))
        for (first, _), end in zip(runs, ends, strict=False)
    ]
    assert runs or not rows


def test_backends_do_as_the_model_does(world: World) -> None:
    """Any operations in any order, with time passing, end alike."""
    machine = type("Machine", (Machine,), {"world": world})
    examples = 60 if world.kind == "memory" else 30
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=40, deadline=None)
    )
