"""Results: as a JSON file, and as Markdown tables."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure

#: Everything whose version may explain a figure.
DISTRIBUTIONS = (
    "flask-plugin-host", "wasmtime", "flask", "werkzeug", "msgspec", "gunicorn", "pluggy",
    "extism", "extism-sys", "lupa",
)  # fmt: skip

SCHEMA = 1


@dataclass(frozen=True)
class Outcome:
    """What one benchmark found out: figures, and reasons why candidates are missing."""

    figures: Sequence[Figure]
    skipped: Mapping[str, str]


@dataclass(frozen=True)
class Report:
    """One benchmark's outcome and how to present it.

    :param divide: nanoseconds per `unit`.
    """

    name: str
    title: str
    unit: str
    divide: float
    outcome: Outcome

    def as_dict(self) -> dict[str, Any]:
        """Everything, for the JSON file."""
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "ns_per_unit": self.divide,
            "figures": [figure.summary() for figure in self.outcome.figures],
            "skipped": dict(self.outcome.skipped),
        }

    def markdown(self) -> str:
        """A heading and a table."""
        lines = [f"### {self.name}: {self.title}", ""]
        unit = self.unit
        lines += [f"| candidate | {unit} (p10-p90) | ratio (p10-p90) | {unit} more |"]
        lines += ["|---|---|---|---|"]
        for figure in self.outcome.figures:
            found = figure.summary()
            value = {key: number / self.divide for key, number in found["ns"].items()}
            more = number(found["difference_ns"]["median"] / self.divide)
            ratio = _cell(found["ratio"])
            lines.append(f"| {figure.name} | {_cell(value)} | {ratio} | {more} |")
        lines += [f"\n*{name} skipped: {why}*" for name, why in self.outcome.skipped.items()]
        return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    for limit, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3)):
        if abs(value) >= limit:
            return f"{value:.{digits}f}"
    return f"{value:.4f}"


def _cell(found: Mapping[str, float]) -> str:
    return f"{number(found['median'])} ({number(found['p10'])}-{number(found['p90'])})"


def environment() -> dict[str, Any]:
    """The machine and the versions of everything that takes part."""
    versions = {}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "versions": versions,
    }


def table(reports: Iterable[Report], budgets: str, settings: Mapping[str, Any]) -> str:
    """The whole run in Markdown."""
    where = environment()
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    head = (
        f"{where['python']}, {where['system']}, {where['cpus']} CPUs; {versions}. "
        f"Medians of {settings['rounds']} rounds; ratios pair by pair.\n"
    )
    return "\n".join([head, *(report.markdown() for report in reports), budgets])


def write_json(
    path: Path,
    reports: Iterable[Report],
    budgets: list[dict[str, Any]],
    settings: Mapping[str, Any],
) -> None:
    """Write everything, so that a later run can be compared by a program."""
    document = {
        "schema": SCHEMA,
        "environment": environment(),
        "settings": dict(settings),
        "benchmarks": [report.as_dict() for report in reports],
        "budgets": budgets,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
