"""The processor time of a plugin's first calls, where greenlets share a thread."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import asking
import guests
import pytest
from asking import NAME, OUT, calling

#: Counts to ten million.
_COUNT = """(local $i i32)
  (loop $on (br_if $on (i32.lt_u
    (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10000000))))"""

_SITE = """
from gevent import monkey; monkey.patch_all()
import gevent, json, sys, time
from flask import Flask
from plugin_host import PluginHost

app, busy = Flask("site"), 0.5
app.config.update(
    PLUGIN_HOST_DIR=sys.argv[1], PLUGIN_HOST_DATA_DIR="", PLUGIN_HOST_RELOAD=False,
    PLUGIN_HOST_TIMEOUT=60, PLUGIN_HOST_GRANTS=["call"],
)
plugins = PluginHost(app)
plugins.hookspec("counts")
plugins.hookspec("asks")

def compute():
    until = time.thread_time() + busy
    while time.thread_time() < until:
        pass

@plugins.provide("wait", input=bytes, output=bytes)
def wait(data):
    gevent.spawn(compute).join()  # another greenlet's work, as far as the plugin goes
    return b""

with app.app_context():
    plugins.call("counts")
    plugins.call("asks")
    found = {p["name"]: p["cpu_seconds"] for p in plugins.status()["plugins"]}
print(json.dumps({**found, "busy": busy}))
"""


@pytest.mark.gevent
def test_a_guest_is_measured_wherever_it_runs(tmp_path: Path) -> None:
    """On a thread of its own it counts as in its caller's; other greenlets meanwhile do not."""
    pytest.importorskip("gevent")
    asks = f"{_COUNT} (drop {calling('call', NAME, 4, 0, 0, OUT, 64)}) (i64.const 0)"
    (tmp_path / "counts.wat").write_text(guests.module({"counts": f"{_COUNT} (i64.const 0)"}))
    (tmp_path / "asks.wat").write_text(asking.guest({"asks": asks}, "call", text=b"wait"))
    done = subprocess.run(
        [sys.executable, "-c", _SITE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["counts"] / 2 < found["asks"] < found["busy"]
