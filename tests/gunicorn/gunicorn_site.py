"""The site that the tests in this folder serve: ``gunicorn gunicorn_site:app``."""

from __future__ import annotations

import ctypes
import os
import secrets
import time
from pathlib import Path

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
    time.sleep(app.config.get("TAKES", 0.005))
    return {"pid": os.getpid(), "version": getattr(g, "version", None)}


@app.get("/spin")
def spin() -> ResponseReturnValue:
    """Answer, if the plugins let the request through."""
    return {"pid": os.getpid()}


@app.get("/held")
def held() -> ResponseReturnValue:
    """Answer when the file ``go`` is there; say by a file that somebody waits."""
    marks = Path(app.config["MARKS"])
    (marks / f"held-{secrets.token_hex(8)}").touch()
    while not (marks / "go").exists():
        time.sleep(0.01)
    return {"pid": os.getpid(), "version": getattr(g, "version", None)}


@app.get("/sleep")
def sleep() -> ResponseReturnValue:
    """Take an hour."""
    time.sleep(3600)
    return {"pid": os.getpid()}


@app.get("/stuck")
def stuck() -> ResponseReturnValue:
    """Stand still with all threads, as an extension in C that waits for itself does.

    No signal handler of Python's runs here, so only SIGKILL ends the worker.
    """
    mutex = (ctypes.c_char * 256)()
    python = ctypes.PyDLL(None)  # its calls keep Python's lock
    python.pthread_mutex_lock(mutex)
    python.pthread_mutex_lock(mutex)
    return {"pid": os.getpid()}


@app.get("/status")
def status() -> ResponseReturnValue:
    """Say what serves in this worker."""
    return plugins.status()
