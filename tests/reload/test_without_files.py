"""What serves while a plugin's files cannot: what was decided, and the last good version."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import guests
import pytest
from deploying import put, until
from guests import MakeApp

from plugin_host.host import operations
from plugin_host.host.host import Host
from plugin_host.machine.control import Quarantine, disable, enable, pin, quarantine, release, unpin
from plugin_host.machine.depot import Depot


def version(number: str) -> str:
    return guests.adding("x-version", number)


class Running:
    """A reloading app with the plugin ``v``."""

    def __init__(self, make_app: MakeApp, folder: Path) -> None:
        self.folder = folder
        self.app, _ = make_app(RELOAD=True, POLL_INTERVAL=0.05)
        self.app.add_url_rule("/", view_func=lambda: "ok")
        self.host: Host = self.app.extensions["plugin_host"]

    @property
    def depot(self) -> Depot:
        depot = self.host.depot
        assert depot is not None
        return depot

    def served(self) -> str | None:
        return self.app.test_client().get("/").headers.get("x-version")

    def deploy(self, number: str) -> str:
        """Put a version in the folder; return its digest when it serves and is kept."""
        put(self.folder / "v.wat", version(number))
        until(lambda: self.served() == number)
        (plugin,) = self.host.snapshot.plugins
        until(lambda: self.depot.versions.history("v")[0].digest == plugin.digest)
        return plugin.digest

    def decide(self, change: Callable[..., Any], *args: Any) -> None:
        self.depot.control.update(lambda control: change(control, *args))

    def refuses(self) -> bool:
        return any(plugin["load_error"] for plugin in self.host.status()["plugins"])


@pytest.fixture
def site(make_app: MakeApp, folder: Path) -> Running:
    put(folder / "v.wat", version("1"))
    return Running(make_app, folder)


def a_broken_manifest(site: Running) -> None:
    put(site.folder / "v.toml", "broken = [")
    until(site.refuses)


def a_broken_module(site: Running) -> None:
    put(site.folder / "v.wat", "(module")
    until(site.refuses)


def an_empty_module(site: Running) -> None:
    put(site.folder / "v.wat", "")
    until(site.refuses)


def no_folder(site: Running) -> None:
    site.folder.rename(site.folder.with_name("away"))
    until(lambda: site.host._scanner.scan().folder_error)


Spoil = Callable[[Running], None]
spoils = pytest.mark.parametrize(
    "spoil", [a_broken_manifest, a_broken_module, an_empty_module, no_folder]
)
bad_files = pytest.mark.parametrize("spoil", [a_broken_manifest, a_broken_module, an_empty_module])


@spoils
def test_a_plugin_can_be_disabled(site: Running, spoil: Spoil) -> None:
    """Gone at once means at once, whatever became of its files."""
    site.deploy("1")
    spoil(site)
    site.decide(disable, "v")
    until(lambda: site.served() is None)


@pytest.mark.parametrize("bad", [("v.toml", "broken = ["), ("v.wat", "(module"), ("v.wat", "")])
def test_a_disabled_plugin_stays_away(
    site: Running, make_app: MakeApp, bad: tuple[str, str]
) -> None:
    """A bad file does not bring back its last good version, here and in workers to come."""
    site.deploy("1")
    site.decide(disable, "v")
    until(lambda: site.served() is None)
    name, text = bad
    put(site.folder / name, text)
    scanner = site.host._scanner
    until(lambda: scanner._quiet.pending_until is not None)
    until(lambda: scanner._quiet.errors or scanner._quiet.pending_until is None)
    assert site.served() is None
    assert Running(make_app, site.folder).served() is None


@spoils
def test_a_version_can_be_pinned(site: Running, spoil: Spoil) -> None:
    """It is kept, and needs no file."""
    first = site.deploy("1")
    site.deploy("2")
    spoil(site)
    site.decide(pin, "v", first)
    until(lambda: site.served() == "1")


@bad_files
def test_a_pin_holds_in_workers_to_come(site: Running, make_app: MakeApp, spoil: Spoil) -> None:
    """It goes before everything, also before what was proven good last."""
    first = site.deploy("1")
    site.deploy("2")
    site.decide(pin, "v", first)
    until(lambda: site.served() == "1")
    spoil(site)
    assert site.served() == "1"
    assert Running(make_app, site.folder).served() == "1"


@spoils
def test_a_quarantine_is_followed(site: Running, spoil: Spoil) -> None:
    """What fails its probation goes back although the next file is bad."""
    first, second = site.deploy("1"), site.deploy("2")
    spoil(site)
    site.decide(quarantine, second, Quarantine("bad", time.time(), "v", "0", first))
    until(lambda: site.served() == "1")


@bad_files
def test_a_rollback_holds_in_workers_to_come(
    site: Running, make_app: MakeApp, spoil: Spoil
) -> None:
    """An operator's choice is not undone by what was proven good before it."""
    first = site.deploy("1")
    site.deploy("2")
    site.deploy("3")
    operations.rollback(site.host, "v", "ann", to=first)
    until(lambda: site.served() == "1")
    spoil(site)
    assert site.served() == "1"
    assert Running(make_app, site.folder).served() == "1"


@bad_files
def test_what_was_deployed_after_a_rollback_holds(
    site: Running, make_app: MakeApp, spoil: Spoil
) -> None:
    """It is the last good version."""
    site.deploy("1")
    site.deploy("2")
    operations.rollback(site.host, "v", "ann")
    until(lambda: site.served() == "1")
    site.deploy("3")
    spoil(site)
    assert (site.served(), Running(make_app, site.folder).served()) == ("3", "3")


@bad_files
def test_a_decision_that_is_lifted_leaves_no_worker_behind(
    site: Running, make_app: MakeApp, spoil: Spoil
) -> None:
    """What was decided no longer counts: the version proven good last serves, here and there."""
    first, second = site.deploy("1"), site.deploy("2")
    spoil(site)
    site.decide(pin, "v", first)
    until(lambda: site.served() == "1")
    site.decide(unpin, "v")
    until(lambda: site.served() == "2")
    site.decide(quarantine, second, Quarantine("bad", time.time(), "v", "0", first))
    until(lambda: site.served() == "1")
    site.decide(release, second)
    until(lambda: site.served() == "2")
    assert Running(make_app, site.folder).served() == "2"


def test_the_file_of_what_serves_in_its_place_makes_it_the_last_good_version(
    site: Running, make_app: MakeApp
) -> None:
    """Whoever copies the old file over after a rollback has deployed it."""
    first, second = site.deploy("1"), site.deploy("2")
    operations.rollback(site.host, "v", "ann", to=first)
    until(lambda: site.served() == "1")
    put(site.folder / "v.wat", version("1"))
    until(lambda: site.depot.versions.history("v")[0].digest == first)
    site.decide(release, second)
    a_broken_module(site)
    assert (site.served(), Running(make_app, site.folder).served()) == ("1", "1")


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_decision_holds_when_the_clock_steps_back(
    site: Running, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """It comes after all that was good before, and what is good later after it."""
    first = site.deploy("1")
    for number in "2", "3":
        site.deploy(number)
    clock = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: clock() + hours * 3600)
        operations.rollback(site.host, "v", "ann", to=first)
    until(lambda: site.served() == "1")
    assert Running(make_app, site.folder).served() == "1"
    site.deploy("4")
    put(site.folder / "v.wat", version("3"))
    until(lambda: site.host._lineup._overruled._known.get("v"))
    a_broken_module(site)
    assert (site.served(), Running(make_app, site.folder).served()) == ("4", "4")


def test_a_pinned_version_that_is_not_kept_is_not_replaced(site: Running) -> None:
    """What serves goes on: nothing else was decided for."""
    site.deploy("1")
    site.deploy("2")
    a_broken_module(site)
    site.decide(pin, "v", "0" * 64)
    until(lambda: site.host.status()["control_generation"] == 1)
    assert site.served() == "2"
    site.decide(unpin, "v")
    until(lambda: site.host.status()["control_generation"] == 2)
    assert site.served() == "2"


def test_a_worker_that_missed_a_good_version_follows_the_others(
    site: Running, make_app: MakeApp
) -> None:
    """A bad file that comes right after a good one leaves all workers with the good one."""
    site.deploy("1")
    late = Running(make_app, site.folder)
    assert late.served() == "1"
    with late.host._lock:
        site.deploy("2")
        put(site.folder / "v.wat", "(module")
    until(late.refuses)
    until(lambda: late.served() == "2")
    assert late.refuses()


@pytest.mark.parametrize("empty", [True, False])
def test_a_worker_that_starts_during_a_write_serves_the_last_good_version(
    site: Running, make_app: MakeApp, empty: bool
) -> None:
    """As the others do; then the file decides, and if it goes the plugin does."""
    site.deploy("1")
    with (site.folder / "v.wat").open("w") as file:
        file.write("" if empty else version("2")[:200])
        file.flush()
        new = Running(make_app, site.folder)
        assert new.served() == "1"
        file.seek(0)
        file.write(version("2"))
    until(lambda: new.served() == "2")
    (site.folder / "v.wat").unlink()
    until(lambda: new.served() is None)


def test_a_file_that_was_never_whole_and_goes_takes_its_plugin_along(
    site: Running, make_app: MakeApp
) -> None:
    """What served in its place was for as long as there was one."""
    site.deploy("1")
    put(site.folder / "v.wat", "")
    new = Running(make_app, site.folder)
    assert new.served() == "1"
    (site.folder / "v.wat").unlink()
    until(lambda: new.served() is None)


def test_a_damaged_module_is_known_by_its_file(folder: Path, make_app: MakeApp) -> None:
    """Its own manifest, with its name, cannot be read any more; what is kept tells."""
    put(folder / "v.wat", version("1"))
    put(folder / "v.toml", 'name = "other"')
    site = Running(make_app, folder)
    assert site.served() == "1"
    until(lambda: site.depot.versions.history("other"))
    put(folder / "v.toml", "broken = [")
    until(site.refuses)
    assert Running(make_app, folder).served() == "1"
    site.decide(disable, "other")
    until(lambda: site.served() is None)
    assert Running(make_app, folder).served() is None
    put(folder / "v.toml", 'name = "other"')
    site.decide(enable, "other")
    until(lambda: site.served() == "1")


def test_a_rollout_whose_version_before_is_lost_serves_all(
    site: Running, make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the kept versions a good file still serves."""
    site.deploy("1")
    put(folder / "v.toml", 'rollout = { share = 0.3, for = "1h" }')
    put(folder / "v.wat", version("2"))
    until(lambda: site.host.snapshot.canaries)
    site.host.close()  # it keeps the new version at just this moment
    shutil.rmtree(site.depot.datadir.path / "versions")
    assert Running(make_app, folder).served() == "2"
    assert "serves all requests at once" in caplog.text


def test_a_canary_in_quarantine_goes_although_the_next_file_is_bad(
    site: Running, folder: Path
) -> None:
    """The version beside which it ran serves all."""
    first = site.deploy("1")
    put(folder / "v.toml", 'rollout = { share = 0.3, for = "1h" }')
    put(folder / "v.wat", version("2"))
    until(lambda: site.host.snapshot.canaries)
    (canary,) = site.host.snapshot.canaries
    a_broken_module(site)
    assert site.host.snapshot.canaries == (canary,)
    bad = Quarantine("bad", time.time(), "v", "0", first)
    site.decide(quarantine, canary.plugin.digest, bad)
    until(lambda: not site.host.snapshot.canaries)
    assert site.served() == "1"


def forked(make_app: MakeApp) -> Host:
    """What a preloading master has, of whose versions a worker that it makes later begins with."""
    app, _ = make_app()
    host: Host = app.extensions["plugin_host"]
    return host


def versions_of(host: Host) -> dict[str, str]:
    return {plugin.name: plugin.digest for plugin in host.snapshot.plugins}


@bad_files
def test_a_preloaded_worker_does_not_go_back_to_what_its_master_has(
    site: Running, make_app: MakeApp, spoil: Spoil
) -> None:
    """With a bad newest file it serves the last good version, as the others do."""
    old = forked(make_app)
    second = site.deploy("2")
    spoil(site)
    old.reconcile(initial=True)
    assert versions_of(old) == {"v": second}


def test_a_preloaded_worker_without_a_folder_serves_what_the_others_serve(
    site: Running, make_app: MakeApp, folder: Path
) -> None:
    """And not what its master has: not an old version, nor a plugin that has gone since."""
    put(folder / "w.wat", guests.adding("x-other", "1"))
    assert site.served() == "1"
    until(lambda: "w" in versions_of(site.host))
    old = forked(make_app)
    assert versions_of(old).keys() == {"v", "w"}
    (folder / "w.wat").unlink()
    until(lambda: "w" not in versions_of(site.host))
    second = site.deploy("2")

    def is_published() -> bool:
        published = [worker.status["plugins"] for worker in site.depot.workers()]
        return [[plugin["digest"] for plugin in each] for each in published] == [[second]]

    until(is_published)
    no_folder(site)
    old.reconcile(initial=True)
    assert versions_of(old) == {"v": second}


def test_a_file_that_had_another_name_for_a_while_is_known_by_its_own(
    site: Running, make_app: MakeApp, folder: Path
) -> None:
    """What was kept of it under that name meanwhile is another plugin's."""
    kept = site.depot.versions.get(site.deploy("1"), "v")
    assert kept is not None
    site.depot.versions.put(kept, "other", "1")
    a_broken_module(site)
    assert Running(make_app, folder).served() == "1"


def test_what_another_file_gave_the_name_for_a_while_comes_last(
    site: Running, make_app: MakeApp, folder: Path
) -> None:
    """A file that is bad goes back to what it was, whoever has had its plugin's name since."""
    kept = site.depot.versions.get(site.deploy("1"), "v")
    assert kept is not None
    site.deploy("2")
    other = replace(kept, stem="w", module_path=folder / "w.wat")
    site.depot.versions.put(other, "v", "1")
    a_broken_module(site)
    looks = site.host.status()["watcher"]["looks"]
    until(lambda: site.host.status()["watcher"]["looks"] > looks + 1)
    assert (site.served(), Running(make_app, folder).served()) == ("2", "2")
