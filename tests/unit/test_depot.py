"""What the workers of a machine share, as one: which kept versions are still needed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from guests import MakeApp

from plugin_host.config import Settings
from plugin_host.folder.scan import Candidate
from plugin_host.host.host import Host
from plugin_host.machine.control import disable, pin
from plugin_host.machine.depot import Depot

SETTINGS = Settings.from_mapping({}, "/")


class Pruned:
    """Takes the place of `VersionStore.prune`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, depot: Depot) -> None:
        self.calls: list[tuple[set[Any], set[Any]]] = []
        monkeypatch.setattr(depot.versions, "prune", self)

    def __call__(self, protected: Collection[Any], there: Collection[Any]) -> None:
        self.calls.append((set(protected), set(there)))


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "data", SETTINGS)


def test_what_anybody_needs_is_kept(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process serves, what any other does, and what is pinned or disabled."""
    digest = Candidate.of("tax", [Path("tax.wasm")], [b"tax"]).digest
    depot.control.update(lambda control: pin(disable(control, "off"), "tax", digest))
    other = Depot(depot.datadir.path, SETTINGS)
    other.beacon.publish({"plugins": [{"name": "rates", "digest": "r"}]})
    pruned = Pruned(monkeypatch, depot)
    depot.tidy({"price", "broken"}, {"p"}, kept=True)
    other.beacon.close()
    assert pruned.calls == [({"p", "r", digest}, {"price", "broken", "rates", "tax", "off"})]


def test_tidying_is_done_after_additions_and_once_a_day(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks at an unchanged folder cost nothing, and a plugin that serves for months is noted."""
    pruned = Pruned(monkeypatch, depot)
    now = [0.0]
    monkeypatch.setattr("plugin_host.machine.depot.monotonic", lambda: now[0])
    done = []
    for moment, kept in [(0, False), (1, False), (2, True), (3, False), (86403, False)]:
        now[0] = float(moment)
        depot.tidy((), (), kept)
        done.append(len(pruned.calls))
    assert done == [1, 1, 2, 2, 3]


def test_without_the_workers_states_nothing_is_removed(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cannot see who serves what removes nothing, and raises nothing."""
    pruned = Pruned(monkeypatch, depot)
    (depot.datadir.path / "workers").rmdir()
    (depot.datadir.path / "workers").touch()
    depot.tidy((), (), kept=True)
    assert pruned.calls == []


def test_another_site_in_the_same_directory_is_told_of(
    make_app: MakeApp, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It would get this one's versions for its own, and this one its."""
    first: Host = make_app()[0].extensions["plugin_host"]
    first.reconcile()
    make_app()
    assert not caplog.records
    other = tmp_path / "other"
    other.mkdir()
    make_app(DIR=str(other))
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"{str(tmp_path / 'data')!r} serves the plugins folder {str(folder)!r}, too" in line
