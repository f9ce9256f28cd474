"""A worker that starts while the plugins folder is away, since it is being replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import guests
import pytest
from deploying import put, until
from guests import MakeApp

from plugin_host import ConfigError
from plugin_host.host.host import Host


class Running:
    """A reloading app with the plugins ``v`` and ``w``."""

    def __init__(self, make_app: MakeApp, **config: Any) -> None:
        app, _ = make_app(RELOAD=True, POLL_INTERVAL=0.05, **config)
        app.add_url_rule("/", view_func=lambda: "ok")
        self.client = app.test_client()
        self.host: Host = app.extensions["plugin_host"]
        self.served()

    def served(self) -> tuple[str | None, str | None]:
        headers = self.client.get("/").headers
        return headers.get("x-v"), headers.get("x-w")


@pytest.fixture
def other(make_app: MakeApp, folder: Path) -> Running:
    """A worker that serves both, seen by others."""
    put(folder / "v.wat", guests.adding("x-v", "1"))
    put(folder / "w.wat", guests.adding("x-w", "1"))
    site = Running(make_app)
    depot = site.host.depot
    assert depot is not None
    until(depot.workers)
    return site


def test_what_the_others_serve_serves(
    other: Running, make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Until the folder is back: then its files decide, and what is not there any more goes."""
    away = folder.with_name("away")
    folder.rename(away)
    site = Running(make_app)
    assert "is away; what the other workers serve serves here, too" in caplog.text
    assert site.served() == ("1", "1")
    put(away / "v.wat", guests.adding("x-v", "2"))
    (away / "w.wat").unlink()
    away.rename(folder)
    until(lambda: site.served()[0] == "2")
    until(lambda: site.served() == ("2", None))
    until(lambda: other.served() == ("2", None))


def test_a_folder_that_comes_back_unchanged_changes_nothing(
    other: Running, make_app: MakeApp, folder: Path
) -> None:
    """The same plugins go on."""
    folder.rename(folder.with_name("away"))
    site = Running(make_app)
    plugins = site.host.snapshot.plugins
    folder.with_name("away").rename(folder)
    until(lambda: len(site.host._scanner.scan().present) == 2)
    until(lambda: not site.host._borrowed._stems)
    assert site.host.snapshot.plugins == plugins
    put(folder / "v.wat", guests.adding("x-v", "2"))
    until(lambda: site.served() == ("2", "1"))


def test_with_nobody_else_a_missing_folder_is_an_error(
    other: Running, make_app: MakeApp, folder: Path
) -> None:
    """It is a slip in the configuration then, or was removed for good."""
    other.host.close()
    folder.rename(folder.with_name("away"))
    with pytest.raises(ConfigError, match="does not exist"):
        make_app()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def folder_instead(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("spoil", [empty, folder_instead])
def test_a_file_that_cannot_be_read_does_not_part_the_workers(
    other: Running,
    make_app: MakeApp,
    folder: Path,
    spoil: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A worker that starts serves the last good version of it, as the others do, and says why."""
    file = folder / "v.wat"
    depot = other.host.depot
    assert depot is not None
    until(lambda: len(depot.versions.history("v")) == 1)
    spoil(file)
    caplog.clear()
    site = Running(make_app)
    assert (site.served(), other.served()) == (("1", "1"), ("1", "1"))
    (plugin,) = (each for each in site.host.status()["plugins"] if each["name"] == "v")
    assert plugin["state"] == "serving"
    assert plugin["load_error"].startswith("v.wat: is ")
    assert "the last good version, serves" in caplog.text
    if file.is_dir():
        file.rmdir()
    put(file, guests.adding("x-v", "2"))
    for each in (site, other):
        until(lambda each=each: each.served() == ("2", "1"))
    file.unlink()
    for each in (site, other):
        until(lambda each=each: each.served() == (None, "1"))


def test_a_file_that_was_never_read_is_unloaded_when_it_goes(
    other: Running, make_app: MakeApp, folder: Path
) -> None:
    """What stands in for a file stands in while it is there."""
    depot = other.host.depot
    assert depot is not None
    until(lambda: len(depot.versions.history("v")) == 1)
    empty(folder / "v.wat")
    site = Running(make_app)
    assert site.served() == ("1", "1")
    (folder / "v.wat").unlink()
    for each in (site, other):
        until(lambda each=each: each.served() == (None, "1"))
