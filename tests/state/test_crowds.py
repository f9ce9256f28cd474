"""Many processes at one store: nothing is lost, nothing counts twice, nobody too many gets in."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from plugin_host.state import Namespace, Store
from tests.state.crowd import open_by_text
from tests.state.test_model import check_sums
from tests.state.world import PATIENCE, RedisServer, soon, until

ROOT: Final = Path(__file__).resolve().parents[2]
WORKERS: Final = 4

pytestmark = pytest.mark.slow


class Crowd:
    """Processes that do the same job at the same store."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.store: Store = open_by_text(url)
        self.space: Namespace = self.store.namespace("crowd")
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, job: str, *arguments: object, workers: int = WORKERS) -> None:
        """Start the processes; what they say goes to files, so that nobody waits for a reader."""
        for me in range(workers):
            command = [sys.executable, "-m", "tests.state.crowd", self.url, job, f"w{me}"]
            command += map(str, arguments)
            with open(self.said_by(me), "wb") as said:
                self._running.append(subprocess.Popen(command, cwd=ROOT, stdout=said))

    def said_by(self, me: int) -> Path:
        """Where a process writes."""
        return self.folder / f"said-{me}.txt"

    def said(self) -> list[str]:
        """Everything that was acknowledged so far, to anybody."""
        files = sorted(self.folder.glob("said-*.txt"))
        return [line for file in files for line in file.read_text().splitlines()]

    def kill(self, me: int) -> None:
        """End one of them as a crash would."""
        self._running[me].kill()

    def end(self, killed: int = 0) -> list[str]:
        """Wait for all of them, and return what was acknowledged."""
        codes = [process.wait(PATIENCE) for process in self._running]
        assert sorted(codes) == sorted([-9] * killed + [0] * (len(codes) - killed))
        self._running.clear()
        return self.said()

    def close(self) -> None:
        """End what still runs."""
        for process in self._running:
            process.kill()
            process.wait()
        self.store.close()


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def crowd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Crowd]:
    """A crowd at an empty store that processes can share."""
    url = f"sqlite:///{tmp_path}/state.sqlite3"
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        url = f"redis://127.0.0.1:{server.port}/?prefix={tmp_path.name}"
    made = Crowd(url, tmp_path)
    yield made
    made.close()
    if request.param == "sqlite":
        check_sums(f"{tmp_path}/state.sqlite3", "crowd")


def test_exactly_as_many_get_in_as_may(crowd: Crowd) -> None:
    """Whoever was told to be in is in, nobody was told so twice, and not one too many is."""
    crowd.start("admit", 150, 200)
    admitted = crowd.end()
    assert (len(admitted), len(set(admitted))) == (200, 200)
    page = crowd.space.list(b"id/", deadline=soon(), limit=1000)
    assert {entry.key.decode() for entry in page.entries} == set(admitted)
    assert crowd.space.count(b"id/", deadline=soon()) == 200


def test_no_addition_is_lost(crowd: Crowd) -> None:
    """The sum is the number of additions, in whole numbers and in halves."""
    crowd.start("add", 150)
    assert Counter(crowd.end()) == {"n": 150 * WORKERS, "x": 150 * WORKERS}
    assert crowd.space.get(b"n", deadline=soon()) == b"%d" % (150 * WORKERS)
    assert crowd.space.get(b"x", deadline=soon()) == b"%d" % (75 * WORKERS)


def test_a_stock_is_sold_to_the_last_and_no_further(crowd: Crowd) -> None:
    """With a floor, as much is taken as was there."""
    crowd.space.put(b"stock", b"333", deadline=soon())
    crowd.start("take", 150)
    assert crowd.end() == ["taken"] * 333
    assert crowd.space.get(b"stock", deadline=soon()) == b"0"


def test_comparing_and_setting_counts_right(crowd: Crowd) -> None:
    """A swap that was done was done on what was compared."""
    crowd.start("swap", 60)
    assert len(crowd.end()) == 60 * WORKERS
    assert crowd.space.get(b"s", deadline=soon()) == b"%d" % (60 * WORKERS)


def test_batches_are_seen_whole(crowd: Crowd) -> None:
    """Two keys that are put together are never seen apart."""
    crowd.start("pairs", 100)
    assert len(crowd.end()) == 100 * WORKERS


def test_killed_workers_lose_nothing_that_was_acknowledged(crowd: Crowd) -> None:
    """After ``kill -9`` in the midst of writes all that was acknowledged is there, once."""
    crowd.start("add", 100_000)
    for me in range(WORKERS):
        until(lambda: len(crowd.said()) > 300 * (me + 1), "additions")  # noqa: B023  # at once
        crowd.kill(me)
    said = Counter(crowd.end(killed=WORKERS))
    for key, each in (("n", 1.0), ("x", 0.5)):
        value = float(crowd.space.get(key.encode(), deadline=soon()) or b"0") / each
        assert said[key] <= value <= said[key] + WORKERS  # one each may have been under way
    assert crowd.space.add(b"n", 1, deadline=soon()).done


def test_a_process_may_fork_with_a_store_in_use(crowd: Crowd) -> None:
    """Parent, children and the parent's threads use it throughout; nothing is lost."""
    crowd.start("forks", 15, workers=1)
    said = Counter(crowd.end())
    got = crowd.space.get_many([b"parent", b"child", b"threads"], deadline=soon())
    assert got == [b"30", b"30", b"%d" % said["threads"]]
