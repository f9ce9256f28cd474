"""Guests that the usual toolchains make for WASI run as they are, within the default limits."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from flask import request
from guests import MakeApp

from plugin_host import DeadlineExceeded, GuestTrap

SOURCES: Final = Path(__file__).parent / "guests"
Call = Callable[[str, Any], Any]


@pytest.fixture
def call(language: str, make_site: MakeApp) -> Call:
    """Call the guest's business hooks ``wait`` and ``leave``."""
    app, plugins = make_site(TIMEOUT=5.0)
    plugins.hookspec("wait", combine="first")
    plugins.hookspec("leave", combine="first")

    def called(hook: str, payload: Any) -> Any:
        with app.app_context():
            return plugins.call(hook, payload)

    return called


def test_a_hook_uses_clock_chance_and_log(
    language: str, make_site: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    """Time and random bytes are the host's, and what is printed goes to the plugin's log."""
    caplog.set_level("INFO", "plugin_host.plugin")
    app, _ = make_site()
    app.add_url_rule("/", view_func=lambda: request.headers["x-guest"])
    before = int(time.time())
    answers = [app.test_client().get("/").text.split() for _ in range(2)]
    after = int(time.time())

    assert [answer[0] for answer in answers] == [language] * 2
    assert all(before <= int(answer[1]) <= after for answer in answers)
    assert all(re.fullmatch("[0-9a-f]{32}", answer[2]) for answer in answers)
    assert answers[0][2] != answers[1][2]
    said = [
        (record.levelname, re.sub(r"\d+", "N", record.getMessage()))
        for record in caplog.records
        if record.name == f"plugin_host.plugin.{language}"
    ]
    assert said == [("INFO", "a record of N bytes"), ("WARNING", "in year N")] * 2


def test_a_guest_waits(call: Call) -> None:
    """A guest's sleep takes its time, and the hook goes on afterwards."""
    before = time.monotonic()
    assert call("wait", 5) == 5
    assert time.monotonic() - before >= 0.005


def test_a_guest_that_sleeps_too_long_is_ended(call: Call) -> None:
    """A sleep beyond the deadline ends the call, and the next one is served."""
    with pytest.raises(DeadlineExceeded, match="deadline of 5000 ms"):
        call("wait", 3_600_000)
    assert call("wait", 1) == 1


def test_a_guest_that_exits_fails_its_call_only(call: Call) -> None:
    """exit() ends the call, with its code: here the payload's length. The next is served."""
    with pytest.raises(GuestTrap, match="the guest exited with code 7"):
        call("leave", 1234567)
    assert call("wait", 1) == 1


@pytest.mark.go
def test_go_collects_its_garbage(
    folder: Path, build: Callable[[str], Path], make_site: MakeApp
) -> None:
    """A guest with a collector of its own stays within the default limit of memory."""
    (folder / "go.wasm").write_bytes(build("go").read_bytes())
    app, plugins = make_site(TIMEOUT=5.0)
    plugins.hookspec("litter", combine="collect")
    with app.app_context():
        answers = [plugins.call("litter", None) for _ in range(5)]
        (status,) = plugins.status()["plugins"]
    assert answers == [["clean"]] * 5
    assert (status["errors"], status["instances"]) == (0, 1)


FORKING = """
import os, sys
from flask import Flask
from plugin_host import PluginHost

app = Flask("forking")
app.config.update(PLUGIN_HOST_DIR=sys.argv[1], PLUGIN_HOST_DATA_DIR="", PLUGIN_HOST_RELOAD=False)
plugins = PluginHost(app)
plugins.hookspec("wait", combine="first")

def work():
    assert app.test_client().get("/").status_code == 404
    with app.app_context():
        assert plugins.call("wait", 2) == 2

work()
child = os.fork()
if not child:
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_guest_prints_and_waits_on_in_a_forked_worker(folder: Path) -> None:
    """What a guest did in the parent does not keep it from printing and waiting in the child."""
    shutil.copy(SOURCES / "c/hook.wasm", folder / "c.wasm")
    command = [sys.executable, "-c", FORKING, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("in year")) == (0, 2), done.stderr
