"""How often a new version is judged. What comes of it: tests/reload/test_decisions.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from plugin_host.config import Settings
from plugin_host.host.probation import INTERVAL, Probations
from plugin_host.machine.control import Control
from plugin_host.machine.datadir import DataDir
from plugin_host.machine.depot import Depot
from plugin_host.serving.plugin import Plugin


def version(digest: str) -> Plugin:
    totals = {"calls": 0, "faults": 0, "last_error": None}
    made = SimpleNamespace(name="tax", version="1", digest=digest, totals=lambda: totals)
    return cast("Plugin", made)


def test_the_workers_are_looked_at_at_an_interval_and_after_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the folder is looked at, the others' states are read four times a second."""
    now, looks, woken = [100.0], [], []
    monkeypatch.setattr("plugin_host.host.probation.time.monotonic", lambda: now[0])

    def workers() -> list[Any]:
        looks.append(now[0])
        return []

    settings = Settings.from_mapping({}, tmp_path)
    datadir = DataDir.open(tmp_path / "data")
    depot = cast("Depot", SimpleNamespace(workers=workers, datadir=datadir))
    probations = Probations(settings, depot, lambda: woken.append(now[0]))
    old, new = version("a"), version("b")
    probations.judge()
    assert looks == []  # nothing is on probation
    probations.begin({"tax": new}, {"tax": old}, Control())
    for step in (0.0, INTERVAL / 2, INTERVAL * 0.9, INTERVAL, INTERVAL * 1.1):
        now[0] = 100.0 + step
        assert probations.judge() is False
    assert looks == [100.0, 100.0 + INTERVAL]
    new.on_fault()
    assert woken == [now[0]]
    probations.judge()
    assert looks[2:] == [now[0]]
