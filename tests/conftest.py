"""Fixtures for all tests, and the leak detector."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from plugin_host import PluginHost
from plugin_host.wasm.instance import Instance

#: Threads that live as long as the process: one per engine, started by the first call.
_PERMANENT = "plugin-host-watchdog"


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
    return sum(isinstance(item, Instance) for item in gc.get_objects())


@pytest.fixture(autouse=True)
def leak_detector() -> Iterator[None]:
    """No test leaves a thread, an instance or an open file behind."""
    threads = _threads()
    files = _files() if os.path.isdir("/proc/self/fd") else set()
    yield
    for thread in _threads() - threads:
        thread.join(5)
    gc.collect()
    assert not (_threads() - threads), "the test left threads running"
    assert _instances() == 0, "the test left instances alive"
    if files:
        left = {entry for entry in _files() - files if "/dev/" not in entry}
        assert not left, f"the test left files open: {left}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty plugins folder."""
    path = tmp_path / "plugins"
    path.mkdir()
    return path


MakeApp = Callable[..., tuple[Flask, PluginHost]]


@pytest.fixture(params=[True, False], ids=["fast", "public"])
def fast_call(request: pytest.FixtureRequest) -> bool:
    """Both ways of calling guests."""
    return bool(request.param)


@pytest.fixture
def make_app(folder: Path) -> Iterator[MakeApp]:
    """Make an app with a plugin host on ``folder``; keywords are PLUGIN_HOST_ keys."""
    apps: list[Flask] = []

    def make(prepare: Callable[[Flask], None] | None = None, **config: Any) -> tuple[Flask, PluginHost]:
        app = Flask("shop")
        app.testing = True
        app.config.update(PLUGIN_HOST_DIR=str(folder), PLUGIN_HOST_RELOAD=False)
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
