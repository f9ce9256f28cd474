"""A plugin's own metrics: bounded, summed, and kept for as long as its version serves."""

from __future__ import annotations

import json
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asking
import pytest
from asking import DATA, LEN, NAME, calling
from guests import MakeApp

from plugin_host import GuestTrap, PluginHost
from plugin_host.hostfunctions.metrics import (
    BUCKETS,
    MAX_NAMES,
    Metrics,
    by_plugin,
    exposition,
    total,
)


def bits(value: float) -> int:
    """An f64 as the signed i64 that has its bits."""
    number: int = struct.unpack("<q", struct.pack("<d", value))[0]
    return number


def observing(value: float) -> str:
    return calling("histogram", NAME + 4, 5, bits(value)) + " (i64.const 0)"


#: The payload is a name, by which one is counted.
NAMED = calling("counter", DATA, LEN, 1) + " (i64.const 0)"
HOOKS = {
    "sold": calling("counter", NAME, 4, 3) + " (i64.const 0)",
    "named": NAMED,
    "negative": calling("counter", NAME, 4, -1) + " (i64.const 0)",
    "most": calling("counter", NAME, 4, 2**63 - 1) + " (i64.const 0)",
    "outside": calling("counter", -2, 4, 1) + " (i64.const 0)",
    "small": observing(0.0015),
    "large": observing(1e9),
    "below": observing(-5.0),
    "nan": observing(float("nan")),
    "infinite": observing(float("inf")),
    "mixed": calling("counter", NAME + 4, 5, 1) + " (i64.const 0)",
    "trap": calling("counter", NAME, 4, 1) + " unreachable",
}


@pytest.fixture
def plugins(make_app: MakeApp, folder: Path, fast_call: bool) -> Iterator[PluginHost]:
    """A plugin that counts."""
    text = asking.guest(HOOKS, "counter", "histogram", text=b"soldspent")
    (folder / "counts.wat").write_text(text)
    (folder / "counts.toml").write_text('on_failure = "fail"')
    app, plugins = make_app(FAST_CALL=fast_call, TIMEOUT=2)
    for name in HOOKS:
        plugins.hookspec(name, input=bytes, output=bytes)
    with app.app_context():
        yield plugins


def kept(plugins: PluginHost) -> Any:
    return plugins.status()["plugins"][0]["metrics"]


def test_counters_add_up(plugins: PluginHost) -> None:
    """Every call's amount is added, whichever instance it ran on, also that of one that traps."""
    plugins.call("sold", b"")
    plugins.call("sold", b"")
    with pytest.raises(GuestTrap):
        plugins.call("trap", b"")
    plugins.call("sold", b"")
    assert kept(plugins) == {"counters": {"sold": 10}, "histograms": {}}


def test_histograms_have_fixed_buckets(plugins: PluginHost) -> None:
    """A value counts in the first bucket that it fits, and in their sum."""
    for hook in ("small", "large", "below"):
        plugins.call(hook, b"")
    found = kept(plugins)["histograms"]["spent"]
    expected = [0] * (len(BUCKETS) + 1)
    expected[0] = expected[1] = expected[-1] = 1
    assert (found["counts"], found["sum"]) == (expected, 1e9 + 0.0015 - 5.0)


def test_numbers_beyond_64_bits_are_kept(plugins: PluginHost) -> None:
    """A counter does not overflow."""
    plugins.call("most", b"")
    plugins.call("most", b"")
    assert kept(plugins)["counters"]["sold"] == 2**64 - 2


@pytest.mark.parametrize("hook", ["negative", "outside", "nan", "infinite"])
def test_what_cannot_be_counted_traps(plugins: PluginHost, hook: str) -> None:
    """A negative amount, a value that is not finite, a name outside the memory end the call."""
    with pytest.raises(GuestTrap, match=r"never falls|not finite|outside"):
        plugins.call(hook, b"")
    assert kept(plugins) == {"counters": {}, "histograms": {}}


@pytest.mark.parametrize("name", [b"", b"9x", b"a-b", b'a"', b"a" * 65, b"\xff"])
def test_a_name_that_is_none_traps(plugins: PluginHost, name: bytes) -> None:
    """Names are identifiers, so that no exporter has to escape them."""
    with pytest.raises(GuestTrap, match="allowed: 1 to 64"):
        plugins.call("named", name)


def test_sums_stay_numbers() -> None:
    """However large what is observed: a sum that JSON does not have would spoil the status."""
    metrics = Metrics()
    for _ in range(2):
        metrics.observe("up", sys.float_info.max)
        metrics.observe("down", -sys.float_info.max)
        metrics.add("count", 2**63 - 1)
    sums = {name: one["sum"] for name, one in total([metrics.status()] * 2)["histograms"].items()}
    assert sums == {"up": sys.float_info.max, "down": -sys.float_info.max}
    assert json.loads(json.dumps(metrics.status(), allow_nan=False)) == metrics.status()


def test_a_name_is_of_one_kind(plugins: PluginHost) -> None:
    """A histogram is no counter."""
    plugins.call("small", b"")
    with pytest.raises(GuestTrap, match="of the other kind"):
        plugins.call("mixed", b"")


def test_names_are_bounded(plugins: PluginHost, caplog: pytest.LogCaptureFixture) -> None:
    """What comes after so many names is not kept, which the log says once."""
    for number in range(MAX_NAMES + 20):
        plugins.call("named", b"name_%d" % number)
    plugins.call("named", b"name_0")
    counters = kept(plugins)["counters"]
    assert (len(counters), counters["name_0"]) == (MAX_NAMES, 2)
    assert sum("is not kept" in message for message in caplog.messages) == 1


def test_a_new_version_starts_from_zero(plugins: PluginHost) -> None:
    """Metrics outlive instances, and not their version."""
    plugins.call("sold", b"")
    assert plugins.metrics() == {"counts": {"counters": {"sold": 3}, "histograms": {}}}
    plugins.reload()
    assert plugins.metrics() == {"counts": {"counters": {}, "histograms": {}}}


@pytest.mark.parametrize("init", [True, False], ids=["init", "self-test"])
def test_loading_counts_nothing(make_app: MakeApp, folder: Path, init: bool) -> None:
    """What is counted while an instance is made or tested does not count."""
    name = "ph_init" if init else "ph_selftest"
    extra = f'(func (export "{name}") (param $len i32) (result i64) {HOOKS["sold"]})'
    text = asking.guest({"sold": HOOKS["sold"]}, "counter", text=b"sold", extra=extra)
    (folder / "counts.wat").write_text(text)
    app, plugins = make_app()
    with app.app_context():
        assert kept(plugins) == {"counters": {}, "histograms": {}}


def test_hammer_no_count_is_lost() -> None:
    """Threads that count at once lose nothing."""
    metrics = Metrics()

    def count() -> None:
        for _ in range(5000):
            metrics.add("n", 1)
            metrics.observe("h", 1.0)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status = metrics.status()
    assert (status["counters"], status["histograms"]["h"]["sum"]) == ({"n": 20_000}, 20_000.0)
    assert sum(status["histograms"]["h"]["counts"]) == 20_000


def test_workers_are_added_up() -> None:
    """What several workers and versions counted is one number for each plugin."""
    one, two = Metrics(), Metrics()
    one.add("n", 1)
    two.add("n", 2)
    two.observe("h", 3.0)
    added = total([one.status(), two.status()])
    assert added["counters"] == {"n": 3}
    assert added["histograms"] == two.status()["histograms"]
    worker = {"plugins": [{"name": "p", "metrics": one.status()}, {"name": "old"}]}
    assert by_plugin([worker, worker]) == {"p": {"counters": {"n": 2}, "histograms": {}}}


def test_prometheus_reads_them() -> None:
    """The text has two families, cumulative buckets, and one line for each value."""
    metrics = Metrics()
    metrics.add("sold", 2)
    metrics.observe("spent", 0.5)
    metrics.observe("spent", 1e9)
    lines = exposition({"shop": metrics.status()}).splitlines()
    labels = 'plugin="shop",name="spent"'
    assert lines[:3] == [
        "# TYPE plugin_host_counter_total counter",
        'plugin_host_counter_total{plugin="shop",name="sold"} 2',
        "# TYPE plugin_host_histogram histogram",
    ]
    assert f'plugin_host_histogram_bucket{{{labels},le="0.2"}} 0' in lines
    assert f'plugin_host_histogram_bucket{{{labels},le="0.5"}} 1' in lines
    assert f'plugin_host_histogram_bucket{{{labels},le="5000"}} 1' in lines
    assert lines[-3:] == [
        f'plugin_host_histogram_bucket{{{labels},le="+Inf"}} 2',
        f"plugin_host_histogram_sum{{{labels}}} 1000000000.5",
        f"plugin_host_histogram_count{{{labels}}} 2",
    ]


def test_the_app_gets_the_text(plugins: PluginHost) -> None:
    """An exporter needs one call."""
    plugins.call("sold", b"")
    assert 'plugin_host_counter_total{plugin="counts",name="sold"} 3\n' in plugins.metrics_text()
