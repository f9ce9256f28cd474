"""The site that the tests in this folder serve: ``gunicorn gunicorn_site:app``."""

from __future__ import annotations

import os
import time

from flask import Flask, g
from flask.typing import ResponseReturnValue

from plugin_host import PluginHost

app = Flask(__name__)
app.config.from_prefixed_env()
plugins = PluginHost(app)


@app.get("/")
def index() -> ResponseReturnValue:
    """Say which worker answers, and what the plugins put on ``g``."""
    # Long enough that a second request meets another worker, where a worker does one at a time.
    time.sleep(0.005)
    return {"pid": os.getpid(), "version": getattr(g, "version", None)}


@app.get("/spin")
def spin() -> ResponseReturnValue:
    """Answer, if the plugins let the request through."""
    return {"pid": os.getpid()}


@app.get("/status")
def status() -> ResponseReturnValue:
    """Say what serves in this worker."""
    return plugins.status()
