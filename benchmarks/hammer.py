"""``python -m benchmarks hammer``: replacements good and bad under load, and what was promised.

No request fails, none meets two versions, every worker ends on the final version, and none of
them holds more memory, threads or files than before.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import growth, reload_guests
from benchmarks.client import Client, percentile
from benchmarks.measure import Skipped
from benchmarks.servers import PLUGIN, Process, Server, serve

_SIZE = 8_000  # bytes; large enough that half a file is more than its header
_CONNECTIONS = 8
#: Seconds for a hook. Deadlines are the clock's: where more runs than the processors can bear, a
#: hook of a microsecond may miss 50 ms, which says nothing about replacing it.
_TIMEOUT = 1.0


@dataclasses.dataclass
class Verdict:
    """What was done, what was seen, and which promises were broken."""

    replacements: int
    workers: int
    seconds: float
    requests: int
    p50: float
    p99: float
    failures: list[str]
    mixed: list[str]
    versions_seen: int
    swaps: int
    refusals: int
    before: dict[int, Process]
    after: dict[int, Process]
    broken: list[str]
    log: str


def hammer(
    replacements: int,
    workers: int,
    seconds: float,
    progress: Callable[[str], None] = lambda _line: None,
    timeout: float = _TIMEOUT,
) -> Verdict:
    """Replace the plugin so many times under load, then look at what became of it.

    What the workers hold is compared after the first tenth with after the last: in between they
    do the same again and again.

    :param seconds: over which the replacements are spread, at least.
    :param timeout: the deadline of the plugin's hooks, in seconds.

    Raises `Skipped` where it cannot run, and `RuntimeError` if the server does not start.
    """
    first_version = reload_guests.module(_SIZE, 0)
    with serve(workers, {PLUGIN: first_version}, TIMEOUT=f"{timeout:g}") as server:
        pids = set(server.pids())
        pause, first = seconds / replacements, max(1, replacements // 10)
        began = time.monotonic()
        clients = [_phase(server, range(1, first + 1), pause, progress)]
        broken = end_on(server, replacements + 1)
        before = growth.settled(server)
        clients.append(_phase(server, range(first + 1, replacements + 1), pause, progress))
        took = time.monotonic() - began
        broken += end_on(server, replacements + 2)
        after = growth.settled(server, before)
        log = server.log.read_text(errors="replace")
        if set(server.pids()) != pids:
            broken.append(f"workers ended: {sorted(pids)} became {sorted(server.pids())}")
        swaps = len(server.switches())
    times = [each for client in clients for each in client.times]
    verdict = Verdict(
        replacements, workers, took, len(times), percentile(times, 50), percentile(times, 99),
        [each for client in clients for each in client.failures],
        [each for client in clients for each in client.mixed],
        len({version for client in clients for version in client.versions}),
        swaps, log.count("plugin not loaded"), before, after, broken, log,
    )  # fmt: skip
    verdict.broken += _broken(verdict, {v for client in clients for v in client.versions})
    return verdict


def _phase(server: Server, numbers: range, pause: float, progress: Callable[[str], None]) -> Client:
    """Replace the plugin by these versions under load; the client has seen all answers."""
    with Client(server.port, _CONNECTIONS) as client:
        for number in numbers:
            due = time.monotonic() + pause
            replace(server, number)
            time.sleep(max(0.0, due - time.monotonic()))
            if number % 50 == 0:
                bad = len(client.failures) + len(client.mixed)
                progress(f"{number} replacements, {client.requests} requests, {bad} bad")
    return client


def is_good(number: int) -> bool:
    """Whether the version of that number may serve."""
    return bool(number % 10 and number % 25)


def content(number: int) -> bytes:
    """The file of that number: every 25th traps in its init, every 10th other is corrupt."""
    if number % 25 == 0:
        return reload_guests.module(_SIZE, number, init_traps=True)
    if number % 10 == 0:
        kinds = reload_guests.CORRUPT
        return reload_guests.corrupt(kinds[number // 10 % len(kinds)], _SIZE, number)
    return reload_guests.module(_SIZE, number)


def replace(server: Server, number: int) -> None:
    """Deploy in one of four ways; bad versions, in time, in all of them."""
    ways = (_mv, _cp, _slowly, _unlink_and_create)
    ways[(number + number // 4) % len(ways)](server, content(number), number)


def _mv(server: Server, new: bytes, number: int) -> None:
    if number % 2:
        server.rename(new)
        return
    elsewhere = server.home / "elsewhere"
    elsewhere.write_bytes(new)
    elsewhere.rename(server.plugin)


def _cp(server: Server, new: bytes, _number: int) -> None:
    server.plugin.write_bytes(new)


def _slowly(server: Server, new: bytes, number: int) -> None:
    """In place, in pieces; some writers truncate first, others at the end."""
    pause = (0.02, 0.06, 0.13)[number % 3]  # the last one is longer than files may take to settle
    with server.plugin.open("wb" if number % 2 else "r+b", buffering=0) as file:
        for at in range(0, len(new), len(new) // 4 + 1):
            if at:
                time.sleep(pause)
            file.write(new[at : at + len(new) // 4 + 1])
        file.truncate()


def _unlink_and_create(server: Server, new: bytes, _number: int) -> None:
    server.plugin.unlink()
    server.plugin.write_bytes(new)


def end_on(server: Server, number: int) -> list[str]:
    """Deploy a last, good version, and wait for it; returns what is wrong if it does not come."""
    others = server.end_on(number, reload_guests.module(_SIZE, number))
    return [f"version {number} was deployed last, workers serve {others}"] if others else []


def _broken(verdict: Verdict, seen: set[str]) -> list[str]:
    found = []
    if verdict.failures:
        found.append(f"{len(verdict.failures)} requests failed: {verdict.failures[:5]}")
    if verdict.mixed:
        found.append(f"{len(verdict.mixed)} responses mix versions: {verdict.mixed[:5]}")
    bad = {reload_guests.version(n) for n in range(1, verdict.replacements + 1) if not is_good(n)}
    if seen & bad:
        found.append(f"versions served that are bad: {sorted(seen & bad)}")
    for line in ("Traceback", "WORKER TIMEOUT", "Worker failed"):
        if line in verdict.log:
            found.append(f"the log has {line!r}")
    return found + growth.grown(verdict.before, verdict.after)


def markdown(verdict: Verdict) -> str:
    """Figures and promises."""
    lines = [
        f"### hammer: {verdict.replacements} replacements under load, {verdict.workers} workers\n",
        f"{verdict.requests} requests in {verdict.seconds:.0f} s, p50 {verdict.p50:.1f} ms, p99"
        f" {verdict.p99:.1f} ms; {len(verdict.failures)} failed, {len(verdict.mixed)} mixed two"
        f" versions. {verdict.versions_seen} versions were seen, {verdict.swaps} swaps noted,"
        f" {verdict.refusals} refusals logged.\n",
        *growth.table(verdict.before, verdict.after),
    ]
    lines += ["", *(f"**broken**: {each}" for each in verdict.broken)]
    return "\n".join(lines + ([] if verdict.broken else ["All promises were kept."]))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks hammer",
        description="Replace a plugin again and again under load: by mv, cp, slow writing in place,"
        " unlink and create; every 10th version is corrupt, every 25th traps in its init. Status 1"
        " if a request fails or sees two versions, if a worker ends on another version than the"
        " last, or holds more memory, threads or files than before. Linux.",
    )
    made.add_argument("--replacements", type=int, default=1000, metavar="N", help="(1000)")
    made.add_argument("--workers", type=int, default=4, metavar="N", help="(4)")
    made.add_argument(
        "--seconds", type=float, metavar="N", help="spread the replacements so (0.2 s for each)"
    )
    made.add_argument(
        "--timeout", type=float, default=_TIMEOUT, metavar="N", help="seconds for a hook (1)"
    )
    made.add_argument("--log", type=Path, metavar="FILE", help="keep the server's log")
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the results as JSON")
    return made


def main(arguments: Sequence[str]) -> int:
    """Hammer and print; 1 if a promise was broken, or it cannot run here."""
    options = parser().parse_args(arguments)
    seconds = options.replacements * 0.2 if options.seconds is None else options.seconds
    try:
        verdict = hammer(options.replacements, options.workers, seconds, _say, options.timeout)
    except (Skipped, RuntimeError) as reason:
        print(f"hammer: {reason}", file=sys.stderr)
        return 1
    print(markdown(verdict))
    if options.log:
        options.log.write_text(verdict.log)
    if options.json:
        document: dict[str, Any] = dataclasses.asdict(verdict)
        del document["log"]
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 1 if verdict.broken else 0


def _say(line: str) -> None:
    print(f"hammer: {line}", file=sys.stderr, flush=True)
