"""Fixtures for all tests, and the leak detector."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from clocks import Clock
from flask import Flask
from guests import MakeApp

from plugin_host import PluginHost
from plugin_host.wasm.engine import engines

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

#: Set to 0 to run every app of the tests through wasmtime's public API.
FAST_CALL = "PLUGIN_HOST_TESTS_FAST_CALL"
#: Threads that live as long as the process: one per engine, started by the first call.
_PERMANENT = "plugin-host-watchdog"
#: Seconds for what another thread is about to put away; only a test that leaks waits as long.
_PATIENCE = 5.0


def _threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.is_alive() and t.name != _PERMANENT}


def _files() -> set[str]:
    """What this process has open, by target; standard streams and libraries aside."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name}:{os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue  # the descriptor of this very listing
    return found


def _instances() -> int:
    """How many instances live, in both ways of calling."""
    return sum(len(each.watchdog._watched) for each in engines())


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> None:
    """Have the garbage collector look at what a file's tests make, and at nothing else.

    The leak detector collects after almost every test: without this, that is most of the time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def leak_detector(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """No test leaves a thread, an instance or an open file behind."""
    threads = _threads()
    files = _files() if os.path.isdir("/proc/self/fd") else set()
    yield
    for thread in _threads() - threads:
        thread.join(_PATIENCE)
    # Records keep tracebacks, and those keep apps: those of the phases before, and of this one.
    for phase in ("setup", "call"):
        caplog.get_records(phase).clear()
    for handler in logging.getLogger().handlers:
        getattr(handler, "records", []).clear()
    request.node.funcargs.clear()  # pytest would keep the fixtures' values for a little longer
    left = {entry for entry in _files() - files if "/dev/" not in entry} if files else set()
    deadline = time.monotonic() + _PATIENCE
    while (_instances() or left) and time.monotonic() < deadline:
        if not gc.collect():  # one that another thread has begun makes ours do nothing
            time.sleep(0.001)
        left &= _files()
    assert not (_threads() - threads), "the test left threads running"
    assert _instances() == 0, "the test left instances alive"
    assert not left, f"the test left files open: {left}"


@pytest.fixture
def clock() -> Clock:
    """A clock that is set by hand."""
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty plugins folder."""
    path = tmp_path / "plugins"
    path.mkdir()
    return path


@pytest.fixture(params=[True, False], ids=["fast", "public"])
def fast_call(request: pytest.FixtureRequest) -> bool:
    """Both ways of calling guests."""
    return bool(request.param)


@pytest.fixture
def make_app(folder: Path) -> Iterator[MakeApp]:
    """Make an app with a plugin host on ``folder``; keywords are PLUGIN_HOST_ keys."""
    apps: list[Flask] = []

    def make(
        prepare: Callable[[Flask], None] | None = None, **config: Any
    ) -> tuple[Flask, PluginHost]:
        app = Flask("shop")
        app.testing = True
        app.config.update(PLUGIN_HOST_DIR=str(folder), PLUGIN_HOST_RELOAD=False)
        app.config["PLUGIN_HOST_DATA_DIR"] = str(folder.parent / "data")
        app.config["PLUGIN_HOST_FAST_CALL"] = os.environ.get(FAST_CALL, "1")
        app.config.update({f"PLUGIN_HOST_{key}": value for key, value in config.items()})
        if prepare:
            prepare(app)
        plugins = PluginHost(app)
        apps.append(app)
        return app, plugins

    yield make
    for app in apps:
        app.extensions["plugin_host"].close()
    apps.clear()
