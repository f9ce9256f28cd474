"""The budgets: what the host may cost, as ratios within one run."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.results import Report, number

HOST = "plugin_host"


@dataclass(frozen=True)
class Budget:
    """`candidate` may cost at most `limit` times what `against` costs, or that much more.

    :param limit: a ratio; or, with `extra_us`, microseconds per request on top of `against`.
    """

    benchmark: str
    candidate: str
    against: str
    limit: float
    extra_us: bool = False

    def measured(self, reports: Mapping[str, Report]) -> float | None:
        """The median over the rounds' pairs; None when one of the two did not run."""
        report = reports.get(self.benchmark)
        samples = {f.name: f.samples for f in report.outcome.figures} if report else {}
        if self.candidate not in samples or self.against not in samples:
            return None
        pairs = zip(samples[self.candidate], samples[self.against], strict=True)
        if self.extra_us:
            return statistics.median((ours - other) / 1000 for ours, other in pairs)
        return statistics.median(ours / other for ours, other in pairs)

    def summary(self, reports: Mapping[str, Report]) -> dict[str, Any]:
        """The budget and how it stands."""
        value = self.measured(reports)
        return {
            "benchmark": self.benchmark,
            "candidate": self.candidate,
            "against": self.against,
            "unit": "us more" if self.extra_us else "times",
            "limit": self.limit,
            "measured": None if value is None else round(value, 4),
            "met": None if value is None else value <= self.limit,
        }


ALL = (
    Budget("w1", HOST, "Extism, JSON", 1 / 12),
    Budget("w1", HOST, "LuaJIT (lupa)", 0.7),
    Budget("w1", HOST, "compiled glue", 5),
    Budget("w2", HOST, "Extism, JSON", 1 / 8),
    Budget("isolation", "request", "shared", 1.3),
    Budget("isolation", "request, 64 KiB written", "shared, 64 KiB written", 1.3),
    Budget("flask", "one header hook", "without plugin_host", 1.12),
    Budget("flask", "10 plugins that do not match", "without plugin_host", 1.01),
    Budget("no-match", "0 plugins", "without plugin_host", 2, extra_us=True),
    Budget("no-match", "10 plugins", "without plugin_host", 2, extra_us=True),
)


def summaries(reports: Iterable[Report]) -> list[dict[str, Any]]:
    """All budgets whose benchmark was run."""
    by_name = {report.name: report for report in reports}
    return [budget.summary(by_name) for budget in ALL if budget.benchmark in by_name]


def markdown(found: list[dict[str, Any]]) -> str:
    """Budgets as a table."""
    if not found:
        return ""
    lines = ["### Budgets", "", "| budget | at most | measured | |", "|---|---|---|---|"]
    for one in found:
        value = "not run" if one["measured"] is None else number(one["measured"])
        state = {True: "met", False: "**missed**", None: ""}[one["met"]]
        lines.append(
            f"| {one['benchmark']}: {one['candidate']} against {one['against']}, {one['unit']}"
            f" | {number(one['limit'])} | {value} | {state} |"
        )
    return "\n".join(lines) + "\n"
