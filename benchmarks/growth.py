"""What workers hold before and after a load, and which of it has grown."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.servers import Process, Server, holdings

_QUIET = 8.0  # seconds until a worker without requests must have put away what they needed
#: What a worker's memory may grow by, in KiB, at least; and as a share of what it was.
_RSS_KIB, _RSS_SHARE = 8 * 1024, 0.15
_MAPPINGS = 60


def room_for_noise(rss_kib: int) -> float:
    """KiB by which a worker's memory may grow in a short run."""
    return max(_RSS_KIB, _RSS_SHARE * rss_kib)


def settled(
    server: Server,
    before: dict[int, Process] | None = None,
    room: Callable[[int], float] = room_for_noise,
    collect: Callable[[], object] = lambda: None,
) -> dict[int, Process]:
    """What each worker holds when it has put away what the requests needed.

    :param before: what it held before, if it is to be waited for that it holds no more.
    :param collect: has the workers collect garbage, which has files open.
    """
    end = time.monotonic() + _QUIET
    time.sleep(_QUIET / 4)
    while True:
        found = {pid: holdings(pid) for pid in server.pids()}
        if before is None or not grown(before, found, room) or time.monotonic() > end:
            return found
        collect()
        time.sleep(0.2)


def grown(
    before: dict[int, Process],
    after: dict[int, Process],
    room: Callable[[int], float] = room_for_noise,
) -> list[str]:
    """Say which worker holds more than it did.

    :param room: KiB by which memory may have grown, given what it was.
    """
    found = []
    for pid in before.keys() & after.keys():
        old, new = before[pid], after[pid]
        for what, was, now, more in (
            ("KiB of memory", old.rss_kib, new.rss_kib, room(old.rss_kib)),
            ("threads", old.threads, new.threads, 0),
            ("file descriptors", old.fds, new.fds, 0),
            ("mappings", old.mappings, new.mappings, _MAPPINGS),
        ):
            if now > was + more:
                found.append(f"worker {pid} has {now} {what}, it had {was}")
    return found


def table(before: dict[int, Process], after: dict[int, Process]) -> list[str]:
    """Lines of a table: what each worker held, and holds."""
    lines = ["| worker | RSS MiB | threads | fds | mappings |", "|---|---|---|---|---|"]
    for pid, old in before.items():
        new = after.get(pid, old)
        lines.append(
            f"| {pid} | {old.rss_kib / 1024:.1f} → {new.rss_kib / 1024:.1f}"
            f" | {old.threads} → {new.threads} | {old.fds} → {new.fds}"
            f" | {old.mappings} → {new.mappings} |"
        )
    return lines
