"""Files that are deployed against what was decided: what serves instead, and a line in the log."""

from __future__ import annotations

from pathlib import Path

import guests
import pytest
from deploying import put, until
from guests import MakeApp

from plugin_host.host import operations
from plugin_host.host.host import Host


class Running:
    """A reloading app with the plugin ``v``."""

    def __init__(self, make_app: MakeApp, folder: Path) -> None:
        self.file = folder / "v.wat"
        self.app, _ = make_app(RELOAD=True, POLL_INTERVAL=0.05)
        self.app.add_url_rule("/", view_func=lambda: "ok")
        self.host: Host = self.app.extensions["plugin_host"]

    def served(self) -> str | None:
        return self.app.test_client().get("/").headers.get("x-version")

    def deploy(self, number: str) -> str:
        put(self.file, guests.adding("x-version", number))
        until(lambda: self.served() == number)
        depot = self.host.depot
        assert depot is not None
        (plugin,) = self.host.snapshot.plugins
        until(lambda: depot.versions.history("v")[0].digest == plugin.digest)
        return plugin.digest


@pytest.fixture
def site(make_app: MakeApp, folder: Path) -> Running:
    put(folder / "v.wat", guests.adding("x-version", "1"))
    return Running(make_app, folder)


def test_a_rejected_file_that_comes_back_does_not_undo_later_versions(
    site: Running, make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The latest good version serves on, also after a restart, and one line says why."""
    site.deploy("1")
    bad = site.deploy("2")
    operations.rollback(site.host, "v", "ann")
    until(lambda: site.served() == "1")
    good = site.deploy("3")
    caplog.clear()
    put(site.file, guests.adding("x-version", "2"))
    expected = (
        f"plugin v: v.wat does not serve: {bad:.12} is quarantined (rolled back by ann);"
        f" {good:.12} serves instead"
    )
    until(lambda: expected in caplog.messages)
    assert site.served() == "3"
    until(lambda: site.host._scanner._quiet.pending_until is None)  # it was looked at again
    assert caplog.messages.count(expected) == 1
    assert Running(make_app, folder).served() == "3"


def test_an_operator_may_choose_an_older_version_all_the_same(site: Running) -> None:
    """What a rollback names serves, whatever was deployed after the file was rejected."""
    first = site.deploy("1")
    site.deploy("2")
    operations.rollback(site.host, "v", "ann")
    until(lambda: site.served() == "1")
    site.deploy("3")
    site.deploy("4")
    put(site.file, guests.adding("x-version", "2"))
    operations.rollback(site.host, "v", "ann", to=first[:12])
    until(lambda: site.served() == "1")


def test_a_file_that_a_pin_overrules_is_a_line_in_the_log(
    site: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever deploys to a pinned plugin learns why nothing happens."""
    first = site.deploy("1")
    operations.pin(site.host, "v", first[:12], "ann")
    put(site.file, guests.adding("x-version", "2"))
    until(lambda: f"is pinned to {first:.12}; {first:.12} serves instead" in caplog.text)
    assert site.served() == "1"


def test_two_plugins_of_one_content_share_its_quarantine(
    site: Running, make_app: MakeApp, folder: Path
) -> None:
    """Workers that run follow for both as those do that start later, there and back."""
    depot = site.host.depot
    assert depot is not None
    twin = folder / "w.wat"

    def serving(host: Host) -> dict[str, str]:
        return {plugin.name: plugin.digest for plugin in host.snapshot.plugins}

    put(twin, guests.adding("x-version", "1"))
    site.served()
    until(lambda: serving(site.host).keys() == {"v", "w"})
    (first,) = {*serving(site.host).values()}
    for file in site.file, twin:
        put(file, guests.adding("x-version", "2"))
    until(lambda: first not in serving(site.host).values())
    (second,) = {*serving(site.host).values()}
    until(lambda: all(depot.versions.history(name)[0].digest == second for name in "vw"))
    operations.rollback(site.host, "v", "ann")
    until(lambda: serving(site.host) == {"v": first, "w": first})
    assert serving(Running(make_app, folder).host) == {"v": first, "w": first}
    operations.release(site.host, second, "ann")
    until(lambda: serving(site.host) == {"v": second, "w": second})
    assert serving(Running(make_app, folder).host) == {"v": second, "w": second}
