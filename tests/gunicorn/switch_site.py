"""A site whose answers take a while: ``gunicorn switch_site:app``.

What a worker may be late by, for nobody to notice, is what an answer takes.
"""

from __future__ import annotations

import os
import time

from flask import Flask
from flask.typing import ResponseReturnValue

from plugin_host import PluginHost

app = Flask(__name__)
app.config.from_prefixed_env()
plugins = PluginHost(app)


@app.get("/")
def index() -> ResponseReturnValue:
    """Say which worker answers."""
    time.sleep(0.03)
    return {"pid": os.getpid()}


@app.get("/status")
def status() -> ResponseReturnValue:
    """Say what serves in this worker."""
    return plugins.status()
