"""The site of the soak: the one of the reload benchmarks, and pages for other plugins' hooks."""

from __future__ import annotations

import gc
import os
from typing import Any

from benchmarks.reload_site import app, index, plugins
from plugin_host.wasm.engine import engines

__all__ = ["app"]

plugins.hookspec("mirror")
plugins.hookspec("ask", output=dict[str, Any])


@app.get("/attack/<name>")
def attacked(name: str) -> str:
    """Answer as `/` does, if the plugin of that name lets the request through."""
    return index()


@app.get("/mirror/<int:number>")
def mirror(number: int) -> str:
    """Have a business hook give back what it gets."""
    said = plugins.call("mirror", {"number": number, "text": "x" * (number % 100)})
    return index() if said["number"] == number else f"{os.getpid()} {said}"


@app.get("/ask")
def ask() -> str:
    """Ask plugins that answer what is no answer."""
    return index() if plugins.call("ask", 1) is None else f"{os.getpid()} answered"


@app.get("/lost")
def lost() -> str:
    """Say how many instances live that belong to no plugin that serves."""
    gc.collect()
    live = sum(len(each.watchdog._watched) for each in engines())
    known = sum(plugin["instances"] for plugin in plugins.status()["plugins"])
    return f"{os.getpid()} {live - known}"
