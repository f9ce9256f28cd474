"""The site of the reload benchmarks: ``gunicorn benchmarks.reload_site:app``.

Each response carries, as ``<worker> <version>``, what `on_request` of the plugin said; the header
says what `on_response` said. Each worker notes its swaps in ``BENCHMARK_SWITCHES``.
"""

from __future__ import annotations

import os
import time
from typing import Any

from flask import Flask, g

from plugin_host import PluginHost, plugins_changed

app = Flask("benchmarks.reload_site")
app.config.from_prefixed_env()
plugins = PluginHost(app)

_switches = os.open(os.environ["BENCHMARK_SWITCHES"], os.O_WRONLY | os.O_APPEND)


def _note(_sender: Flask, changes: tuple[Any, ...]) -> None:
    """One write a line: lines of several processes do not mix."""
    now = time.monotonic_ns()
    for change in changes:
        os.write(_switches, f"{os.getpid()} {now} {change.new}\n".encode())


plugins_changed.connect(_note, app)


@app.get("/")
def index() -> str:
    """Say which worker answers, and what the plugin put on ``g``."""
    return f"{os.getpid()} {getattr(g, 'version', None)}"


@app.get("/slow")
def slow() -> str:
    """The same after a while, so that a request that comes meanwhile meets another worker."""
    time.sleep(0.02)
    return index()
