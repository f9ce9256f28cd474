"""What operators and probation decide, followed by a running host; and what survives a restart."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from time import time_ns
from typing import Any

import guests
import pytest
from deploying import put, until
from guests import MakeApp

from plugin_host.extension import plugins_changed
from plugin_host.folder.notifier import is_available
from plugin_host.host import probation
from plugin_host.host.host import Host
from plugin_host.machine.control import disable, enable, pin, request_reload, unpin
from plugin_host.serving.plugin import MEASURED, Fresh, Plugin


def version(number: str) -> str:
    return guests.adding("x-version", number)


class Running:
    """A reloading app with the plugin ``v``, and what its pages say."""

    def __init__(self, make_app: MakeApp, **config: Any) -> None:
        self.app, self.plugins = make_app(**{"RELOAD": True, "POLL_INTERVAL": 0.05, **config})
        self.app.add_url_rule("/", view_func=lambda: "ok")
        self.host: Host = self.app.extensions["plugin_host"]

    def served(self) -> str | None:
        return self.app.test_client().get("/").headers.get("x-version")

    def decide(self, change: Callable[..., Any], *args: Any) -> None:
        assert self.host.depot is not None
        self.host.depot.control.update(lambda control: change(control, *args))

    def status(self) -> dict[str, Any]:
        (entry,) = self.host.status()["plugins"]
        return dict(entry)


def test_a_disabled_plugin_stops_and_serves_again_when_enabled(
    make_app: MakeApp, folder: Path
) -> None:
    """The decision reaches a running host, and holds in the next one."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app)
    assert site.served() == "1"
    site.decide(disable, "v")
    until(lambda: site.served() is None)
    assert site.status()["state"] == "disabled"
    assert Running(make_app).served() is None
    site.decide(enable, "v")
    until(lambda: site.served() == "1")


@pytest.mark.skipif(not is_available(), reason="the platform tells no file events")
def test_a_decision_does_not_wait_for_the_next_look(make_app: MakeApp, folder: Path) -> None:
    """The file of what was decided is an event, as the plugins' files are."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app, POLL_INTERVAL=3600)
    assert site.served() == "1"
    until(lambda: site.host.status()["watcher"]["mode"] == "watchdog")
    until(lambda: site.host._scanner._quiet.pending_until is None)  # no look at the file is due
    site.decide(disable, "v")
    until(lambda: site.served() is None)


def test_a_pinned_version_serves_whatever_file_comes(make_app: MakeApp, folder: Path) -> None:
    """From the kept versions, without a file; unpinned, the folder decides again."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app)
    site.served()
    first = site.status()["digest"]
    put(folder / "v.wat", version("2"))
    until(lambda: site.served() == "2")
    site.decide(pin, "v", first)
    until(lambda: site.served() == "1")
    put(folder / "v.wat", version("3"))
    assert Running(make_app).served() == "1"
    site.decide(unpin, "v")
    until(lambda: site.served() == "3")


def test_a_reload_makes_new_instances_of_unchanged_files(make_app: MakeApp, folder: Path) -> None:
    """Counts begin anew, so the plugin was loaded again."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app)
    site.served()
    before = site.status()["loaded_at"]
    site.decide(request_reload, "v")
    until(lambda: site.status()["loaded_at"] > before)
    assert site.served() == "1"
    before = site.status()["loaded_at"]
    with site.app.app_context():
        site.plugins.reload()
    assert site.status()["loaded_at"] > before


@pytest.mark.parametrize("fault", [guests.TRAP, f"(i64.const {guests.packed(1 << 31, 4)})"])
def test_a_version_that_fails_on_probation_is_rolled_back(
    make_app: MakeApp, folder: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The version before it returns by itself, the bad digest stays out, another file may come."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app)
    site.served()
    bad = guests.module({"on_response": fault})
    put(folder / "v.wat", bad)
    until(lambda: site.served() is None)
    until(lambda: site.served() == "1")
    (line,) = [r.getMessage() for r in caplog.records if "rolled back" in r.getMessage()]
    assert "rolled back to 0" in line
    assert "of its first" in line
    assert Running(make_app).served() == "1"  # also after a restart
    put(folder / "v.wat", version("2"))
    until(lambda: site.served() == "2")
    caplog.clear()
    put(folder / "v.wat", bad)  # the same bytes are not tried twice
    until(lambda: "v.wat does not serve" in caplog.text)
    assert site.served() == "2"


def test_refused_calls_count_as_failures_on_probation(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A breaker that opens before enough calls have failed does not save a bad version."""
    put(folder / "v.wat", version("1"))
    forever = {"BREAKER_OPEN_SECONDS": 3600, "BREAKER_MAX_SECONDS": 3600}
    site = Running(make_app, BREAKER_FAILURES=3, PROBATION_FAILURES=20, **forever)
    assert site.served() == "1"
    put(folder / "v.wat", guests.module({"on_response": guests.TRAP}))
    until(lambda: site.served() is None)
    until(lambda: site.served() == "1")
    assert "3 of 3 calls failed" in caplog.text
    assert "rolled back to 0" in caplog.text


def test_failures_that_are_no_faults_do_not_roll_back(make_app: MakeApp, folder: Path) -> None:
    """A guest's declared error is an answer; and a version no worse than before it stays."""
    put(folder / "v.wat", guests.module({"on_response": guests.TRAP}))
    site = Running(make_app, PROBATION_CALLS=1, PROBATION_SECONDS=0.05)
    for _ in range(10):
        site.served()
    first = site.status()["digest"]
    put(folder / "v.wat", guests.module({"on_response": guests.TRAP}, extra="(func $other)"))
    until(lambda: site.status()["digest"] != first)
    second = site.status()["digest"]
    for _ in range(10):
        site.served()
    until(lambda: not site.host._probations)
    assert site.status()["digest"] == second


def slow(number: str, rounds: int) -> str:
    """A version that counts to a number first."""
    result = guests.edits(guests.edit(guests.ADD_HEADER, b"x-version", number.encode()))
    body = f"""(local $i i32)
      (loop $again
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const {rounds}))))
      (i64.const {guests.packed(guests.RESULT, len(result))})"""
    return guests.module({"on_response": body}, data=[(guests.RESULT, result)])


def test_a_version_that_is_much_slower_is_rolled_back(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By the processor time of first calls; one that is a little slower stays."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app, TIMEOUT=10, PROBATION_SECONDS=3600)
    for _ in range(probation.ENOUGH):
        site.served()
    put(folder / "v.wat", slow("2", 1000))
    until(lambda: site.served() == "2")
    for _ in range(probation.ENOUGH):
        assert site.served() == "2"
    put(folder / "v.wat", slow("3", 10_000_000))
    until(lambda: site.served() == "3")
    until(lambda: site.served() == "2")
    (line,) = [r.getMessage() for r in caplog.records if "rolled back" in r.getMessage()]
    assert "ms of processor time each, those of version 0" in line


def test_only_the_first_calls_are_measured(make_app: MakeApp, folder: Path) -> None:
    """A version that has been measured is a plugin like any other."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app)
    (plugin,) = site.host.snapshot.plugins
    for _ in range(MEASURED - 1):
        site.served()
    assert type(plugin) is Fresh
    for _ in range(3):
        site.served()
    assert type(plugin) is Plugin
    status = site.status()
    assert (status["calls"], status["measured"]) == (MEASURED + 2, MEASURED)
    assert 0 < status["cpu_seconds"]


def test_probation_can_be_turned_off(make_app: MakeApp, folder: Path) -> None:
    """With neither failures nor time mattering, a bad version stays until somebody acts."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app, PROBATION_FAILURES=0, PROBATION_SLOWDOWN=0)
    site.served()
    put(folder / "v.wat", guests.module({"on_response": guests.TRAP}))
    until(lambda: site.served() is None)
    for _ in range(20):
        site.served()
    assert not site.host._probations
    assert site.served() is None


def test_with_a_bad_newest_file_the_last_good_version_serves_at_start(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The store has it, the log says so, and the status still shows what is wrong."""
    put(folder / "v.wat", version("1"))
    assert Running(make_app).served() == "1"
    put(folder / "v.wat", "(module")
    site = Running(make_app)
    assert site.served() == "1"
    assert "the last good version, serves" in caplog.text
    assert "not valid WebAssembly text" in site.status()["load_error"]
    put(folder / "v.wat", version("2"))
    until(lambda: site.served() == "2")
    assert site.status()["load_error"] is None


def test_without_a_good_version_the_site_starts_without_the_plugin(
    make_app: MakeApp, folder: Path
) -> None:
    """Nothing in the store: the failure is visible, the pages come."""
    put(folder / "v.wat", "(module")
    site = Running(make_app)
    assert (site.served(), site.status()["state"]) == (None, "failed")


def test_the_fleet_shows_this_worker(make_app: MakeApp, folder: Path) -> None:
    """Published by the watcher, gone when it is closed."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app)
    site.served()
    with site.app.app_context():
        until(lambda: site.plugins.fleet())
        (worker,) = site.plugins.fleet()
        assert worker["status"]["plugins"][0]["name"] == "v"
        site.host.close()
        assert site.plugins.fleet() == []


def test_a_signal_tells_the_app_what_changed(make_app: MakeApp, folder: Path) -> None:
    """Name, old and new digest, once per swap."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app)
    site.served()
    first, seen = site.status()["digest"], []

    def receive(sender: object, changes: tuple[Any, ...]) -> None:
        seen.extend(changes)

    with plugins_changed.connected_to(receive, site.app):
        put(folder / "v.wat", version("2"))
        until(lambda: seen)
    (change,) = seen
    assert (change.name, change.old, change.new) == ("v", first, site.status()["digest"])


def test_a_data_directory_that_cannot_be_used_costs_only_what_needs_it(
    make_app: MakeApp, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Plugins serve and reload; the log says what is missing; probation still protects nothing."""
    (tmp_path / "file").write_text("")
    put(folder / "v.wat", version("1"))
    site = Running(make_app, DATA_DIR=str(tmp_path / "file" / "below"))
    assert site.served() == "1"
    put(folder / "v.wat", version("2"))
    until(lambda: site.served() == "2")
    assert site.host.depot is None
    lines = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(lines) == 1
    with site.app.app_context():
        assert len(site.plugins.fleet()) == 1


def test_compiled_code_is_shared_by_hosts(make_app: MakeApp, folder: Path) -> None:
    """The second host maps what the first has compiled."""
    put(folder / "v.wat", version("1"))
    first, second = Running(make_app).host, Running(make_app).host
    assert first.depot is not None
    assert second.depot is not None
    stats = [host.depot.cache.stats() for host in (first, second) if host.depot]
    assert [(s.hits, s.misses) for s in stats] == [(0, 1), (1, 0)]


def test_versions_of_a_plugin_that_is_long_gone_are_forgotten(
    make_app: MakeApp, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Served for long, it is remembered for a month after its file went, and no longer."""
    put(folder / "v.wat", version("1"))
    put(folder / "other.wat", guests.adding("x-other", "1"))
    site = Running(make_app)
    depot = site.host.depot
    assert depot is not None
    site.served()
    until(lambda: depot.versions.history("v"))
    later = [0]
    monkeypatch.setattr(depot.versions, "_clock_ns", lambda: time_ns() + later[0] * 86400 * 10**9)

    def days_pass(number: int) -> None:
        later[0] += number
        put(folder / "other.wat", guests.adding("x-other", str(later[0])))
        until(
            lambda: (
                depot.versions.history("other")[0].stored_at
                > (time_ns() / 1e9) + later[0] * 86400 - 3600
            )
        )

    days_pass(60)
    (folder / "v.wat").unlink()
    until(lambda: site.served() is None)
    days_pass(29)
    assert depot.versions.history("v")
    days_pass(2)
    until(lambda: not depot.versions.history("v"))
    assert depot.versions.history("other")
