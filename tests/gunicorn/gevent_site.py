"""What the sites have in common whose greenlets switch while plugins are called."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import gevent
from flask import Flask, g, request
from flask.typing import ResponseReturnValue

from plugin_host import HookError, PluginHost

#: What was heard, each with the name that the request has during which it was.
heard: list[Sequence[str | None]] = []


def add_views(app: Flask, plugins: PluginHost, hook: str) -> None:
    """Add the views that `overlapping.overlap` asks; one calls the hook."""

    @app.get("/call")
    def call() -> ResponseReturnValue:
        """Have the plugin do what the request says, as long as it has patience."""
        g.name, g.ident = request.args["name"], threading.get_ident()
        came = "cut off"
        with gevent.Timeout(float(request.args["patience"]), False):
            try:
                came = plugins.call(hook, request.args["said"].encode()).decode()
            except HookError as exc:
                came = type(exc).__name__
        return {"pid": os.getpid(), "came": came}

    @app.get("/heard")
    def what_was_heard() -> ResponseReturnValue:
        """Say what was heard since this was last asked."""
        noted, heard[:] = heard[:], []
        return {"pid": os.getpid(), "heard": noted}

    @app.get("/status")
    def status() -> ResponseReturnValue:
        """Say what serves in this worker."""
        return {**plugins.status(), "patched": bool(gevent.monkey.is_module_patched("threading"))}
