"""Paired measurement: every candidate in every round, in small batches, ratios pair by pair.

A noisy machine moves all the batches of one round together, so a ratio is taken inside its round,
and the median is taken over rounds. Figures of different runs do not compare; ratios nearly do.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Clock = Callable[[], int]

BATCH_NS = 3_000_000
LARGEST_BATCH = 4096
WARM_UP = 8


class Skipped(Exception):
    """This candidate cannot run here; the message is the reason."""


def _same_input(size: int) -> list[Any]:
    return [None] * size


@dataclass(frozen=True)
class Case:
    """One candidate at one work.

    :param call: does the work once with one of the inputs.
    :param inputs: makes that many fresh inputs; its time does not count.
    :param share: how much of the whole work one call does; the figure is for the whole.
    :param done: called when all rounds are over.
    """

    name: str
    call: Callable[[Any], object]
    inputs: Callable[[int], list[Any]] = _same_input
    share: float = 1.0
    done: Callable[[], object] = field(default=lambda: None, repr=False)


@dataclass(frozen=True)
class Plan:
    """How long to measure, and who is told about it."""

    rounds: int
    batch_ns: int = BATCH_NS
    progress: Callable[[str], None] = lambda _line: None


@dataclass(frozen=True)
class Figure:
    """One candidate's result: nanoseconds for the whole work, and its relation to the reference."""

    name: str
    samples: tuple[float, ...]
    ratios: tuple[float, ...]
    differences: tuple[float, ...]

    def summary(self) -> dict[str, Any]:
        """Medians, and the tenth and ninetieth percentile of all that is spread."""
        return {
            "candidate": self.name,
            "ns": spread(self.samples),
            "ratio": spread(self.ratios),
            "difference_ns": spread(self.differences),
        }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and the percentiles around it."""
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "median": round(statistics.median(ordered), 4),
        "p10": round(ordered[round(last * 0.1)], 4),
        "p90": round(ordered[round(last * 0.9)], 4),
    }


@contextmanager
def _no_collection() -> Iterator[None]:
    """Garbage collection runs between rounds, in no candidate's time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def time_batch(case: Case, size: int, clock: Clock) -> float:
    """Nanoseconds for the whole work, the mean of `size` calls in a row.

    A few calls before them do not count: the other candidates have just used the caches.
    """
    call = case.call
    for item in case.inputs(min(size // 4, WARM_UP)):
        call(item)
    inputs = case.inputs(size)
    start = clock()
    for item in inputs:
        call(item)
    return (clock() - start) / size / case.share


def batch_size(case: Case, batch_ns: int, clock: Clock) -> int:
    """How many calls take about `batch_ns`; warms the candidate up on the way."""
    size = 1
    while size < LARGEST_BATCH:
        each = min(time_batch(case, size, clock) for _ in range(3)) * case.share
        if each * size >= batch_ns / 4:
            return max(1, min(LARGEST_BATCH, round(batch_ns / each)))
        size *= 4
    return LARGEST_BATCH


def measure(
    cases: Sequence[Case], plan: Plan, *, reference: str = "", clock: Clock = time.thread_time_ns
) -> list[Figure]:
    """One figure for each case, in their order, compared to the case named `reference`.

    Without a case of that name the first one is the reference. CPU time of this thread by default,
    so that what else runs, here or on the machine, counts as little as possible.
    """
    order = random.Random(0)  # the same order in every run
    sizes = {case.name: batch_size(case, plan.batch_ns, clock) for case in cases}
    if len(sizes) < len(cases):
        raise ValueError(f"two cases have one name: {[case.name for case in cases]}")
    samples: dict[str, list[float]] = {case.name: [] for case in cases}
    for number in range(plan.rounds):
        gc.collect()
        with _no_collection():
            for case in order.sample(list(cases), len(cases)):
                samples[case.name].append(time_batch(case, sizes[case.name], clock))
        plan.progress(f"round {number + 1}/{plan.rounds}")
    return figures(samples, reference)


def figures(samples: dict[str, list[float]], reference: str = "") -> list[Figure]:
    """Compare each candidate to the reference, round by round."""
    base = samples[reference if reference in samples else next(iter(samples))]
    return [
        Figure(
            name,
            tuple(values),
            tuple(value / other for value, other in zip(values, base, strict=True)),
            tuple(value - other for value, other in zip(values, base, strict=True)),
        )
        for name, values in samples.items()
    ]
