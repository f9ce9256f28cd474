"""How often a new version is judged. What comes of it: tests/reload/test_decisions.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from plugin_host.config import Settings
from plugin_host.host.probation import INTERVAL, LINGER, Probations
from plugin_host.machine.control import Control
from plugin_host.machine.datadir import DataDir
from plugin_host.machine.depot import Depot


def version(digest: str) -> Any:
    totals = {"calls": 0, "faults": 0, "last_error": None}
    return SimpleNamespace(name="tax", version="1", digest=digest, totals=lambda: totals)


def test_the_workers_are_looked_at_while_there_is_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their states are read four times a second after calls, at once after a fault, else never."""
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

    def looks_at(*steps: float) -> list[float]:
        began, seen = now[0], len(looks)
        for step in steps:
            now[0] = began + step
            assert probations.judge() is False
        return [look - began for look in looks[seen:]]

    assert looks_at(0.0) == []  # nothing is on probation
    probations.begin({"tax": new}, {"tax": old}, Control())
    assert looks_at(0.0, 1.0) == []  # nobody has called it
    assert not probations.is_active
    new.totals()["calls"] = 1
    now[0] = 200.0
    steps = (0.0, INTERVAL / 2, INTERVAL, INTERVAL * 1.5, LINGER, LINGER + INTERVAL)
    assert looks_at(*steps) == [0.0, INTERVAL]
    new.totals()["calls"] = 2
    now[0] = 300.0
    assert looks_at(0.0) == [0.0]
    assert probations.is_active
    new.on_fault()
    assert woken == [300.0]
    assert looks_at(0.0) == [0.0]
