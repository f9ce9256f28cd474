"""``python -m benchmarks state``: what operations on state cost, against plain calls.

Every backend, and the same work by hand with `sqlite3` and redis-py, take turns in one run: the
CPU time of the caller, which other load changes little. Then several processes at once, by the
clock: what waiting for each other, for the disk and for a server comes to.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.measure import BATCH_NS, Case, Plan, measure
from benchmarks.results import Outcome, Report, environment
from benchmarks.state_crowd import WORKS as AT_ONCE
from benchmarks.state_crowd import crowds
from benchmarks.state_peers import Peer, PlainRedis, PlainSqlite, RedisServer
from plugin_host.config import StateUrl
from plugin_host.state import Namespace, Quota, open_store

#: Keys with the prefix that is counted: as many as a large sale has buyers; and in a quick run.
MANY, FEW = 100_000, 2_000
REFERENCE = "sqlite:"


class Ours:
    """A namespace of one of our backends, filled."""

    def __init__(self, name: str, url: StateUrl, many: int) -> None:
        self.name = name
        self._many = many
        self._store = open_store(url)
        self.space: Namespace = self._store.namespace("bench", Quota())
        self.fill()

    def fill(self) -> None:
        """Put what all candidates hold."""
        until = time.monotonic() + 600
        for start in range(0, self._many, 1000):
            batch = [(b"id/%06d" % n, b"1") for n in range(start, start + 1000)]
            self.space.put_many(batch, deadline=until)
        self.space.put(b"k", b"v" * 100, deadline=until)
        self.space.put(b"n", b"0", deadline=until)

    def close(self) -> None:
        """Let go."""
        self._store.close()

    def get(self, _: Any) -> object:
        """One value."""
        return self.space.get(b"k", deadline=time.monotonic() + 10)

    def get_ten(self, keys: list[bytes]) -> object:
        """Ten values."""
        return self.space.get_many(keys, deadline=time.monotonic() + 10)

    def put(self, value: bytes) -> None:
        """One value over another."""
        self.space.put(b"p", value, deadline=time.monotonic() + 10)

    def put_ttl(self, value: bytes) -> None:
        """The same with a TTL."""
        self.space.put(b"t", value, deadline=time.monotonic() + 10, ttl=60)

    def add(self, _: Any) -> object:
        """One more, below a ceiling."""
        return self.space.add(b"n", 1, deadline=time.monotonic() + 10, ceiling=1 << 40)

    def admitted(self, _: Any) -> object:
        """A buyer who is in already."""
        return self._admit(b"id/000007", self._many)

    def refused(self, _: Any) -> object:
        """A buyer who is too late."""
        return self._admit(b"id/x", self._many)

    def admit(self, key: bytes) -> object:
        """A buyer who gets in."""
        return self._admit(key, 1 << 40)

    def _admit(self, key: bytes, limit: int) -> object:
        return self.space.put_if_fewer_than(
            b"id/", limit, key, b"1", deadline=time.monotonic() + 10
        )

    def count(self, _: Any) -> object:
        """All buyers."""
        return self.space.count(b"id/", deadline=time.monotonic() + 10)


def _nothing(size: int) -> list[Any]:
    return [None] * size


def _ten(size: int) -> list[Any]:
    return [[b"id/%06d" % (n * 9973 % FEW) for n in range(i, i + 10)] for i in range(size)]


def _fresh() -> Callable[[int], list[Any]]:
    numbers = iter(range(1 << 40))
    return lambda size: [b"id/new%093d" % next(numbers) for _ in range(size)]


#: The name of a method of the candidates, a title, and what makes its inputs.
WORKS: tuple[tuple[str, str, Callable[[], Callable[[int], list[Any]]]], ...] = (
    ("get", "get, 100 bytes", lambda: _nothing),
    ("get_ten", "get of ten keys at once", lambda: _ten),
    ("put", "put, 100 bytes", _fresh),
    ("put_ttl", "put with a TTL", _fresh),
    ("add", "add 1, with a ceiling", lambda: _nothing),
    ("admitted", "put if fewer than: in already", lambda: _nothing),
    ("refused", "put if fewer than: full", lambda: _nothing),
    ("admit", "put if fewer than: gets in", _fresh),
    ("count", "count all keys of a prefix", lambda: _nothing),
)


def candidates(folder: Path, stack: ExitStack, many: int) -> Iterator[Ours | Peer]:
    """Our backends, and plain calls, each with the same content."""
    urls = {
        "memory:": StateUrl("memory"),
        REFERENCE: StateUrl("sqlite", folder / "ours.sqlite3"),
        "sqlite:, synchronous=full": StateUrl(
            "sqlite", folder / "full.sqlite3", options={"synchronous": "full"}
        ),
    }
    made: list[Ours | Peer] = [Ours(name, url, many) for name, url in urls.items()]
    made.append(PlainSqlite(folder / "plain.sqlite3", many))
    server = RedisServer.start(folder)
    if server is None:
        print("redis: skipped: redis-server or the package redis is missing", file=sys.stderr)
    else:
        stack.callback(server.close)
        made += [Ours("redis:", server.url, many), PlainRedis(server.url, many)]
    for candidate in made:
        stack.callback(candidate.close)
        yield candidate


def reports(found: Sequence[Ours | Peer], plan: Plan) -> Iterator[Report]:
    """One report for each work."""
    for name, title, inputs in WORKS:
        cases = [
            Case(each.name, getattr(each, name), inputs()) for each in found if hasattr(each, name)
        ]
        figures = measure(cases, plan, reference=REFERENCE)
        yield Report(f"state, {name}", title, "µs", 1e3, Outcome(figures, {}))


def main(arguments: Sequence[str]) -> int:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks state", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="rounds (20)")
    options = parser.parse_args(arguments)
    plan = Plan(2 if options.quick else options.runs, BATCH_NS // (10 if options.quick else 1))
    many = FEW if options.quick else MANY
    where = environment()
    print(
        f"{many} keys of one prefix; {where['python']}, {where['system']}, {where['cpus']} CPUs\n"
    )
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        found = list(candidates(Path(folder), stack, many))
        for report in reports(found, plan):
            print(report.markdown(), flush=True)
        # Most of a quick run would be the start of processes.
        some = (0.5, ("admit",)) if options.quick else (4.0, AT_ONCE)
        print(crowds(Path(folder), *some))
    return 0
