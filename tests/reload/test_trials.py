"""Probation and restarts: a bad version is found out by workers that were made after it came."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import guests
import pytest
from deploying import put, until
from guests import MakeApp

from plugin_host.host.host import Host
from plugin_host.machine.datadir import DataDirError
from plugin_host.machine.depot import Depot

BAD = guests.module({"on_response": guests.TRAP})


def version(number: str) -> str:
    return guests.adding("x-version", number)


class Running:
    """A reloading app with the plugin ``v``."""

    def __init__(self, make_app: MakeApp, **config: Any) -> None:
        app, _ = make_app(**{"RELOAD": True, "POLL_INTERVAL": 0.05, **config})
        app.add_url_rule("/", view_func=lambda: "ok")
        self.client = app.test_client()
        self.host: Host = app.extensions["plugin_host"]

    def served(self) -> str | None:
        return self.client.get("/").headers.get("x-version")

    def kept(self) -> int:
        assert self.host.depot is not None
        return len(self.host.depot.versions.history("v"))


@pytest.fixture
def first(folder: Path, make_app: MakeApp) -> Running:
    """A site with a good version, which has served."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app)
    assert site.served() == "1"
    return site


def test_probation_goes_on_after_a_restart(
    first: Running, folder: Path, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad version that came just before the restart goes, as it would have without."""
    put(folder / "v.wat", BAD)
    until(lambda: first.kept() == 2)
    first.served()
    first.host.close()
    site = Running(make_app)
    until(lambda: site.served() == "1")
    assert "of its first" in caplog.text


def test_probation_is_over_for_all_that_come_later(folder: Path, make_app: MakeApp) -> None:
    """A version that has passed is not judged again by each process that is made."""
    put(folder / "v.wat", version("1"))
    short = {"PROBATION_CALLS": 1, "PROBATION_SECONDS": 0.05}
    site = Running(make_app, **short)
    site.served()
    put(folder / "v.wat", version("2"))
    until(lambda: site.served() == "2" and not site.host._probations)
    assert not Running(make_app).host._probations


def test_what_was_deployed_while_nothing_ran_is_on_probation(
    folder: Path, make_app: MakeApp
) -> None:
    """A new file that nobody has served is compared with the last good version."""
    put(folder / "v.wat", version("1"))
    Running(make_app).served()
    put(folder / "v.wat", BAD)
    site = Running(make_app)
    until(lambda: site.served() == "1")


def test_compared_with_the_unknown_only_most_calls_are_too_many(
    folder: Path, make_app: MakeApp
) -> None:
    """How often the version before failed nobody knows: half of the calls may fail."""
    put(folder / "v.wat", version("1"))
    Running(make_app).served()
    every_other = guests.module(
        {
            "on_response": """(global.set $n (i32.xor (global.get $n) (i32.const 1)))
            (if (global.get $n) (then unreachable)) (i64.const 0)"""
        },
        extra="(global $n (mut i32) (i32.const 1))",
    )
    put(folder / "v.wat", every_other)
    site = Running(make_app, BREAKER_FAILURES=0)
    (plugin,) = site.host.snapshot.plugins
    for _ in range(40):
        site.served()
    until(lambda: plugin.totals()["faults"] >= 10)
    assert site.host._probations
    assert site.host.snapshot.plugins == (plugin,)


def test_a_reload_does_not_end_probation(folder: Path, make_app: MakeApp) -> None:
    """Fresh instances of a bad version are as bad."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app)
    site.served()
    put(folder / "v.wat", BAD)
    until(lambda: site.kept() == 2 and site.host._probations)
    site.host.reload()
    until(lambda: site.served() == "1")


def test_a_file_with_another_name_is_another_plugin(folder: Path, make_app: MakeApp) -> None:
    """What was renamed has nothing to be compared with, and nothing to go back to."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app)
    site.served()
    put(folder / "v.toml", 'name = "w"')
    until(lambda: [plugin.name for plugin in site.host.snapshot.plugins] == ["w"])
    assert not site.host._probations


def test_a_version_that_is_not_kept_cannot_return(
    folder: Path, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is told of a rollback that is none; the bad version stays until somebody acts."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app)
    site.served()
    depot = site.host.depot
    assert depot is not None
    shutil.rmtree(depot.datadir.path / "versions")
    put(folder / "v.wat", BAD)
    until(lambda: site.served() is None and "is not kept" in caplog.text)
    assert caplog.text.count("cannot be rolled back") == 1
    assert not depot.control.read().quarantined


def test_a_rollback_that_cannot_be_written_down_is_tried_again(
    folder: Path,
    make_app: MakeApp,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A full disk delays it; the log says so once."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app)
    site.served()
    depot = site.host.depot
    assert depot is not None
    real = depot.control.update

    def refuse(*args: Any) -> None:
        raise DataDirError(depot.control.path, "cannot be written: no space left", "make room")

    monkeypatch.setattr(depot.control, "update", refuse)
    put(folder / "v.wat", BAD)
    until(lambda: site.served() is None and "cannot be rolled back" in caplog.text)
    monkeypatch.setattr(depot.control, "update", real)
    until(lambda: site.served() == "1")
    assert caplog.text.count("cannot be rolled back") == 1


def test_a_process_judges_alone_where_the_others_cannot_be_asked(
    folder: Path,
    make_app: MakeApp,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A damaged data directory ends neither reloading nor probation."""
    put(folder / "v.wat", version("1"))
    site = Running(make_app)
    site.served()

    def refuse(self: Depot) -> None:
        raise DataDirError(self.datadir.path, "is not a folder", "move it away")

    monkeypatch.setattr(Depot, "workers", refuse)
    put(folder / "v.wat", BAD)
    until(lambda: site.served() is None)
    until(lambda: site.served() == "1")
    assert "reloading failed" not in caplog.text
