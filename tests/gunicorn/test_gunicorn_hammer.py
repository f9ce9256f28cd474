"""The hammer in a short run: ``python -m benchmarks hammer`` is the long one."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from benchmarks import growth, hammer, reload_guests
from benchmarks.client import Client
from benchmarks.servers import Process

pytestmark = pytest.mark.slow

WORKERS = 2


def test_hammer_keeps_all_promises() -> None:
    """Replacements by mv, cp, slow writing, unlink and create, good and bad: nothing is broken."""
    verdict = hammer.hammer(replacements=40, workers=WORKERS, seconds=6.0)
    assert verdict.broken == [], verdict.log
    assert (verdict.failures, verdict.mixed) == ([], [])
    assert verdict.before.keys() == verdict.after.keys()
    # Both phases had load, and both ended on a version of their own in every worker.
    assert verdict.requests > 2
    assert verdict.swaps >= 2 * WORKERS


def test_bad_versions_are_of_every_kind() -> None:
    """The long run deploys every kind of corrupt file, and modules whose init traps."""
    numbers = range(1, 1001)
    corrupt = [n for n in numbers if n % 10 == 0 and n % 25]
    traps = [n for n in numbers if n % 25 == 0]
    assert [n for n in numbers if not hammer.is_good(n)] == sorted(corrupt + traps)
    kinds = {reload_guests.CORRUPT[n // 10 % len(reload_guests.CORRUPT)] for n in corrupt}
    assert kinds == set(reload_guests.CORRUPT)
    sizes = {len(hammer.content(n)) for n in numbers if hammer.is_good(n)}
    assert len(sizes) == 1, "half of one version and half of another are a whole module"


GOOD = Process(50_000, 8, 17, 330)


@pytest.mark.parametrize(
    ("grown", "said"),
    [
        (GOOD._replace(rss_kib=60_000), ["worker 1 has 60000 KiB of memory, it had 50000"]),
        (GOOD._replace(threads=9), ["worker 1 has 9 threads, it had 8"]),
        (GOOD._replace(fds=18), ["worker 1 has 18 file descriptors, it had 17"]),
        (GOOD._replace(mappings=400), ["worker 1 has 400 mappings, it had 330"]),
        (GOOD._replace(rss_kib=51_000, threads=7), []),
    ],
)
def test_what_grows_is_told(grown: Process, said: list[str]) -> None:
    """A worker that holds more than before breaks a promise."""
    assert growth.grown({1: GOOD}, {1: grown}) == said


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers like the benchmark's site, as its path says: status, what both hooks said."""

    status, way_in, way_out = 200, "1", "1"

    def do_GET(self) -> None:
        body = f"1 {self.way_in}".encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header(reload_guests.HEADER, self.way_out)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server that answers as `_Answers` says."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "failures", "mixed"),
    [
        ({}, [], []),
        ({"status": 503}, ["status 503: '1 1'"], []),
        ({"way_in": "None", "way_out": "None"}, ["1: without the plugin"], []),
        ({"way_out": "2"}, [], ["1: 1 in, 2 out"]),
        ({"way_out": "None"}, [], ["1: 1 in, None out"]),
    ],
)
def test_client_judges_every_response(
    answer: dict[str, object],
    failures: list[str],
    mixed: list[str],
    port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A response that is not a 200, lacks the plugin, or is of two versions does not pass."""
    for name, value in answer.items():
        monkeypatch.setattr(_Answers, name, value)
    asked = threading.Event()
    with Client(port, 1) as client:
        while not client.requests:
            asked.wait(0.01)
    # Each starts with the time of day.
    assert sorted({each.split(" ", 1)[1] for each in client.failures}) == failures
    assert sorted({each.split(" ", 1)[1] for each in client.mixed}) == mixed
