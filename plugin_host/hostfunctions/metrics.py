"""A plugin's own metrics: counters and histograms, bounded in number, of one process."""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, Final

from .. import osthread

#: The most names that one version of a plugin may use.
MAX_NAMES: Final = 64
#: Upper bounds of the buckets of every histogram; there is one more, without a bound.
BUCKETS: Final = tuple(
    float(f"{step}e{power}") for power in range(-3, 4) for step in (1, 2, 5)
)  # fmt: skip


class Histogram:
    """How often which values were observed, and their sum."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0


class Metrics:
    """The metrics of one version of a plugin in this process; its instances share them."""

    __slots__ = ("_counters", "_histograms", "_lock")

    def __init__(self) -> None:
        self._counters: dict[str, int] = {}
        self._histograms: dict[str, Histogram] = {}
        # Guards both; held for nothing but an addition.
        self._lock = osthread.allocate_lock()

    def add(self, name: str, amount: int) -> bool:
        """Add to a counter; return whether there is room for its name.

        :raises ValueError: it is a histogram's.
        """
        if not self._admits(name, self._counters, self._histograms):
            return False
        with self._lock:
            self._counters[name] = self._counters.get(name, 0) + amount
        return True

    def observe(self, name: str, value: float) -> bool:
        """Add a value to a histogram; return whether there is room for its name.

        :raises ValueError: the name is a counter's, or the value is not finite.
        """
        if not math.isfinite(value):
            raise ValueError(f"{value} is not finite")
        if not self._admits(name, self._histograms, self._counters):
            return False
        with self._lock:
            histogram = self._histograms.get(name)
            if histogram is None:
                histogram = self._histograms[name] = Histogram()
            histogram.counts[bisect_left(BUCKETS, value)] += 1
            histogram.sum = _finite(histogram.sum + value)
        return True

    def _admits(self, name: str, own: dict[str, Any], other: dict[str, Any]) -> bool:
        if name in own:
            return True
        if name in other:
            raise ValueError(f"{name!r} is a metric of the other kind")
        return len(own) + len(other) < MAX_NAMES

    def status(self) -> dict[str, Any]:
        """Return all values, JSON-able."""
        with self._lock:
            return {
                "counters": dict(self._counters),
                "histograms": {
                    name: {"counts": list(histogram.counts), "sum": histogram.sum}
                    for name, histogram in self._histograms.items()
                },
            }


def total(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Add up what several `Metrics` gave as their status."""
    counters: dict[str, int] = {}
    histograms: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, value in part["counters"].items():
            counters[name] = counters.get(name, 0) + value
        for name, one in part["histograms"].items():
            so_far = histograms.setdefault(name, {"counts": [0] * len(one["counts"]), "sum": 0.0})
            so_far["counts"] = [a + b for a, b in zip(so_far["counts"], one["counts"], strict=True)]
            so_far["sum"] = _finite(so_far["sum"] + one["sum"])
    return {"counters": counters, "histograms": histograms}


def _finite(total: float) -> float:
    """Return the nearest number that JSON has."""
    return max(-sys.float_info.max, min(sys.float_info.max, total))


def by_plugin(statuses: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Add up the metrics in what several workers gave as their status, by plugin."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for status in statuses:
        for plugin in status.get("plugins", ()):
            if plugin.get("metrics"):  # not from a worker of an older release
                parts.setdefault(plugin["name"], []).append(plugin["metrics"])
    return {name: total(found) for name, found in sorted(parts.items())}


def exposition(plugins: dict[str, dict[str, Any]]) -> str:
    """Return metrics by plugin in Prometheus's text format."""
    lines = ["# TYPE plugin_host_counter_total counter"]
    for plugin, metrics in sorted(plugins.items()):
        for name, value in sorted(metrics["counters"].items()):
            labels = f'plugin="{plugin}",name="{name}"'
            lines.append(f"plugin_host_counter_total{{{labels}}} {value}")
    lines.append("# TYPE plugin_host_histogram histogram")
    for plugin, metrics in sorted(plugins.items()):
        for name, one in sorted(metrics["histograms"].items()):
            lines += _histogram(f'plugin="{plugin}",name="{name}"', one)
    return "\n".join(lines) + "\n"


def _histogram(labels: str, one: dict[str, Any]) -> Iterable[str]:
    count = 0
    for bound, more in zip((*BUCKETS, math.inf), one["counts"], strict=True):
        count += more
        le = "+Inf" if bound == math.inf else f"{bound:g}"
        yield f'plugin_host_histogram_bucket{{{labels},le="{le}"}} {count}'
    yield f"plugin_host_histogram_sum{{{labels}}} {one['sum']!r}"
    yield f"plugin_host_histogram_count{{{labels}}} {count}"
