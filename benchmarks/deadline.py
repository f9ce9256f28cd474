"""How late a guest that overruns its deadline is ended: idle, and beside busy Python threads."""

from __future__ import annotations

import argparse
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from plugin_host.errors import DeadlineExceeded
from plugin_host.wasm.engine import wat_to_wasm
from plugin_host.wasm.instance import Limits, Linked
from plugin_host.wasm.runtime import choose_engine, link

#: Deadlines that are measured one at a time and side by side, in seconds.
TIMEOUTS = (0.005, 0.05, 0.2)
_PATH = Path("spin.wat")
_SPIN = b'(module (func (export "spin") (loop (br 0))) (func (export "quick")))'
#: Beside what the calls run: so many threads, which call a guest between steps of Python, or not.
LOADS = {"0": (0, False), "2": (2, False), "2, calling": (2, True)}


@dataclass(frozen=True)
class Late:
    """The overshoots of one deadline under one load, in milliseconds, in order.

    :param beside: whether calls with the other deadlines ran in other threads meanwhile.
    """

    fast: bool
    busy: str
    beside: bool
    timeout: float
    overshoots: tuple[float, ...]

    def percentile(self, share: float) -> float:
        """The overshoot that this share of the calls did not exceed."""
        return self.overshoots[min(len(self.overshoots) - 1, int(len(self.overshoots) * share))]


def measure(fast: bool, busy: str, calls: int) -> list[Late]:
    """Every deadline by itself, then all of them at once, each in a thread of its own.

    :param busy: one of `LOADS`, which runs all the time meanwhile.
    :param calls: how many calls of each deadline by itself.
    """
    chosen = choose_engine(fast)
    module = chosen.compile(wat_to_wasm(_SPIN, _PATH), _PATH)
    linked = link(chosen, module, (), _PATH)
    count, calling = LOADS[busy]
    with _busy(count, linked if calling else None):
        found = [
            Late(fast, busy, False, timeout, _overshoots(linked, timeout, calls))
            for timeout in TIMEOUTS
        ]
        beside: dict[float, tuple[float, ...]] = {}

        def run(timeout: float) -> None:
            some = max(1, int(calls * max(TIMEOUTS) / 2 / timeout))
            beside[timeout] = _overshoots(linked, timeout, some)

        threads = [threading.Thread(target=run, args=(timeout,)) for timeout in TIMEOUTS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found + [Late(fast, busy, True, timeout, beside[timeout]) for timeout in TIMEOUTS]


def _overshoots(linked: Linked, timeout: float, count: int) -> tuple[float, ...]:
    """How many milliseconds after its deadline each of ``count`` endless calls came back."""
    late = []
    for _ in range(count):
        spin = linked.instance(Limits(), time.monotonic(), 5.0).function("spin")
        start = time.monotonic()
        try:
            spin(0, start, timeout)
        except DeadlineExceeded:
            late.append((time.monotonic() - start - timeout) * 1e3)
    if len(late) != count:
        raise RuntimeError("a call that never ends has ended")
    return tuple(sorted(late))


@contextlib.contextmanager
def _busy(count: int, guest: Linked | None) -> Iterator[None]:
    """Keep ``count`` threads busy in Python, and in short calls of a guest if there is one."""
    stop = threading.Event()

    def work() -> None:
        quick = guest and guest.instance(Limits(), time.monotonic(), 5.0).function("quick")
        while not stop.is_set():
            sum(range(3000 if quick else 100))
            if quick:
                quick(0, time.monotonic(), 5.0)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks deadline",
        description="Measure how late endless calls come back after their deadlines: on the machine"
        " as it is, beside two busy Python threads, and beside two that call guests all the time."
        " About two minutes.",
    )
    made.add_argument("--calls", type=int, default=40, help="calls of each deadline (40)")
    made.add_argument("--public", action="store_true", help="the public API's calls, too: slow")
    return made


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a table."""
    options = parser().parse_args(arguments)
    print("| calls | busy threads | side by side | deadline | median | p90 | p99 | max, ms late |")
    print("|---|---|---|---|---|---|---|---|")
    for fast in (True, False) if options.public else (True,):
        for busy in LOADS:
            for late in measure(fast, busy, options.calls):
                print(row(late), flush=True)
    return 0


def row(late: Late) -> str:
    """A line of the table."""
    figures = [late.percentile(share) for share in (0.5, 0.9, 0.99, 1)]
    cells = [
        "fast" if late.fast else "public",
        late.busy,
        "yes" if late.beside else "no",
        f"{late.timeout * 1e3:g} ms",
        *(f"{figure:.1f}" for figure in figures),
    ]
    return f"| {' | '.join(cells)} |"
