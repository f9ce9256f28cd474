"""``python -m benchmarks soak``: many requests of every kind, many reloads, and what is left of it.

No request fails but those whose plugin's policy says so, and no worker grows: its memory by less
than 2 %, its threads, files, mappings and instances not at all. What it is compared with is what it
had after half as many requests and reloads more, before these: until then the interpreter's tables
and the C library's arenas reach their size (docs/benchmarks.md).
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import growth, hammer, reload_guests
from benchmarks.client import Client, percentile
from benchmarks.measure import Skipped
from benchmarks.servers import PLUGIN, Process, Server, serve

#: The share by which a worker's memory may grow after the warm-up.
ROOM = 0.02
_CONNECTIONS = 8
#: Seconds between two reloads, at least: sooner, workers would leave some out.
_PAUSE = 0.2
_HOSTILE = Path(__file__).parents[1] / "tests" / "hostile"

#: Hostile guests of the tests that take part, and the statuses that their policies allow.
ATTACKS = {
    "abort_of_four_gigabytes": {503},
    "bomb_that_traps": {200, 503},
    "exit": {503},
    "header_value_with_crlf": {200},
    "log_flood": {200},
    "log_line_that_never_ends": {200},
    "loop_in_hook": {503},
    "loop_of_wasi_random": {503},
    "memory_grows_each_call": {200},
    "memory_is_given_up": {503},
    "recursion": {503},
    "remembers_in_globals": {200},
    "remembers_in_segments": {200},
    "result_wraps_around": {503},
    "wasi_reads_the_environment": {200},
}
#: What one of them adds to its manifest: it is replaced after each call, not at 2 MiB, or what a
#: worker has would depend on how far it has come when it is looked at.
_SMALL = {"memory_grows_each_call": "limits.memory_mb = 0.5\\n"}
#: Of which an attack costs milliseconds: rarer than the others.
_COSTLY = {"loop_in_hook", "loop_of_wasi_random", "memory_is_given_up", "log_flood"}
_BUSINESS = ("answer_of_deep_json", "answer_of_no_json")

SETTINGS = {
    # Guests that mean to be late have a deadline of their own; the others end on any machine.
    "TIMEOUT": "10",
    "MAX_MEMORY": str(4 << 20),
    "MAX_RESULT": str(1 << 20),
    "LOG_RATE": "1",
    "STATE": "memory:",
    # Every attack is to reach its guest, however many failed before it.
    "BREAKER_FAILURES": "0",
    "PROBATION_FAILURES": "0",
    # While it lasts, the version before is kept.
    "PROBATION_SECONDS": "0.05",
    "PROBATION_CALLS": "1",
}


class Page(NamedTuple):
    """What is asked for, and the statuses that it may be answered with."""

    path: str
    statuses: frozenset[int]


def mixture() -> list[Page]:
    """The pages of one round, in their order."""
    good = Page("/", frozenset({200}))
    pages = [Page("/mirror/7", good.statuses), Page("/ask", good.statuses)]
    cheap = [name for name in ATTACKS if name not in _COSTLY]
    for name in (*cheap, *cheap, *ATTACKS):
        pages += [good, Page(f"/attack/{name}", frozenset(ATTACKS[name]))]
        pages += [Page(f"/mirror/{len(pages)}", good.statuses)]
    return pages


def plugins() -> dict[str, bytes]:
    """The files of the folder: the plugin that is replaced, a neighbour, and hostile ones.

    Raises `Skipped` without the tests, where the guests lie.
    """
    files = {PLUGIN: reload_guests.module(8_000, 0)}
    for path in (_HOSTILE / "neighbour.wat", *(_guest(n) for n in (*ATTACKS, *_BUSINESS))):
        if not path.exists():
            raise Skipped(f"{path} is missing: the soak needs a whole checkout")
        text = path.read_text().replace("/hit**", f"/attack/{path.stem}")
        if path.stem in _SMALL:
            text = text.replace('manifest" "', f'manifest" "{_SMALL[path.stem]}', 1)
        files[path.name] = text.encode()
    return files


def _guest(name: str) -> Path:
    return _HOSTILE / "guests" / f"{name}.wat"


class Mixture(Client):
    """Asks for the pages in turn; `unexpected` answers are failures."""

    def __init__(self, port: int, connections: int) -> None:
        self.statuses: Counter[tuple[str, int]] = Counter()
        self._pages = itertools.cycle(mixture())
        super().__init__(port, connections)

    def _ask(self, connection: http.client.HTTPConnection, last: bool) -> None:
        page = next(self._pages)
        status, way_out, body = self._get(connection, page.path, last)
        self.statuses[page.path.rpartition("/")[0] or "/", status] += 1
        if status not in page.statuses:
            self.failures.append(f"{time.strftime('%X')} {page.path}: {status}: {body[:200]!r}")
        elif status == 200:
            self._judge(body, way_out)


@dataclass
class Verdict:
    """What was done, what was seen, and which promises were broken."""

    requests: int
    reloads: int
    workers: int
    seconds: float
    p50: float
    p99: float
    statuses: dict[str, int]
    failures: list[str]
    swaps: int
    before: dict[int, Process]
    after: dict[int, Process]
    broken: list[str]


def soak(requests: int, reloads: int, workers: int) -> Verdict:
    """Ask and reload so often, and half as often before that; see what became of the workers.

    Raises `Skipped` where it cannot run, and `RuntimeError` if the server does not start.
    """
    with serve(workers, plugins(), "benchmarks.soak_site:app", **SETTINGS) as server:
        pids, began, first = set(server.pids()), time.monotonic(), max(1, reloads // 2)
        last = first + reloads
        clients = [_phase(server, range(1, first + 1), requests // 2)]
        broken = hammer.end_on(server, last + 1)
        before = _settled(server)
        clients.append(_phase(server, range(first + 1, last + 1), requests))
        seconds = time.monotonic() - began
        broken += hammer.end_on(server, last + 2)
        after = _settled(server, before)
        broken += [f"worker {pid} has lost {n} instances" for pid, n in _lost(server).items() if n]
        if set(server.pids()) != pids:
            broken.append(f"workers ended: {sorted(pids)} became {sorted(server.pids())}")
        log, swaps = server.log.read_text(errors="replace"), len(server.switches())
    broken += [f"the log has {word!r}" for word in ("Traceback", "WORKER TIMEOUT") if word in log]
    broken += growth.grown(before, after, _room)
    failures = [each for client in clients for each in client.failures + client.mixed]
    if failures:
        broken.append(f"{len(failures)} requests failed: {failures[:5]}")
    times = [each for client in clients for each in client.times]
    statuses = sum((client.statuses for client in clients), Counter())
    return Verdict(
        len(times), last, workers, seconds, percentile(times, 50), percentile(times, 99),
        {f"{path} {status}": n for (path, status), n in sorted(statuses.items())},
        failures, swaps, before, after, broken,
    )  # fmt: skip


def _room(rss_kib: int) -> float:
    return ROOM * rss_kib


def _settled(server: Server, before: dict[int, Process] | None = None) -> dict[int, Process]:
    """What each worker holds, garbage aside."""
    _lost(server)
    return growth.settled(server, before, _room, lambda: _lost(server))


def _phase(server: Server, numbers: range, requests: int) -> Mixture:
    """Ask so often, and spread the reloads over it; the client has seen all answers."""
    with Mixture(server.port, _CONNECTIONS) as client:
        for done, number in enumerate(numbers, 1):
            due = time.monotonic() + _PAUSE
            hammer.replace(server, number)
            while time.monotonic() < due or client.requests < requests * done / len(numbers):
                time.sleep(0.01)
            if number % 50 == 0:
                print(f"soak: {number} reloads, {client.requests} requests,"
                      f" {len(client.failures)} failed", file=sys.stderr, flush=True)  # fmt: skip
    return client


def _lost(server: Server) -> dict[int, int]:
    """By worker, how many instances live that belong to no plugin, given time to go."""
    found: dict[int, int] = {}
    end = time.monotonic() + 30
    while (len(found) < server.workers or any(found.values())) and time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/lost", headers={"Connection": "close"})
        pid, number = connection.getresponse().read().decode().split()
        connection.close()
        found[int(pid)] = int(number)
    return found


def markdown(verdict: Verdict) -> str:
    """Figures and promises."""
    lines = [
        f"### soak: {verdict.requests} requests, {verdict.reloads} reloads,"
        f" {verdict.workers} workers\n",
        f"In {verdict.seconds:.0f} s, p50 {verdict.p50:.1f} ms, p99 {verdict.p99:.1f} ms;"
        f" {verdict.swaps} swaps, {len(verdict.failures)} requests failed unexpectedly.\n",
        *(f"* `{what}`: {count}" for what, count in verdict.statuses.items()),
        "",
        *growth.table(verdict.before, verdict.after),
        "",
        *(f"**broken**: {each}" for each in verdict.broken),
    ]
    return "\n".join(lines + ([] if verdict.broken else ["All promises were kept."]))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks soak",
        description="Ask a site for pages with good, failing and hostile plugins, business hooks,"
        " WASI and isolation, and replace a plugin meanwhile; first half as often, then as often"
        " as the options say. Status 1 unless every request is answered as the plugins' policies"
        " say, and since that first part no worker has more memory (by 2 %), threads, files,"
        " mappings or instances. Linux.",
    )
    made.add_argument("--requests", type=int, default=200_000, metavar="N", help="(200000)")
    made.add_argument("--reloads", type=int, default=2_000, metavar="N", help="(2000)")
    made.add_argument("--workers", type=int, default=2, metavar="N", help="(2)")
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the results as JSON")
    return made


def main(arguments: Sequence[str]) -> int:
    """Soak and print; 1 if a promise was broken, or it cannot run here."""
    options = parser().parse_args(arguments)
    try:
        verdict = soak(options.requests, options.reloads, options.workers)
    except (Skipped, RuntimeError) as reason:
        print(f"soak: {reason}", file=sys.stderr)
        return 1
    print(markdown(verdict))
    if options.json:
        document: dict[str, Any] = asdict(verdict)
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if verdict.broken else 0
