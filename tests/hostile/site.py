"""The site that hostile guests are let loose on: ``gunicorn 'tests.hostile.site:create()'``."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, request
from flask.typing import ResponseReturnValue

from plugin_host import PluginHost
from plugin_host.wasm.engine import engines

NEIGHBOUR = Path(__file__).parent / "neighbour.wat"

#: ``PLUGIN_HOST_`` keys. Limits are low, so that attacks meet them soon; what goes by the clock is
#: high enough for a busy machine, and guests that mean to be late have a deadline of their own.
CONFIG: dict[str, Any] = {
    "TIMEOUT": 1.0,
    "INIT_TIMEOUT": 0.25,
    "COMPILE_TIMEOUT": 1.0,
    "MAX_INSTANCES": 4,
    "MAX_MEMORY": 4 << 20,
    "MAX_RESULT": 1 << 20,
    "LOG_RATE": 10,
    # Each attack is to reach its guest, however many failed before it.
    "BREAKER_FAILURES": 0,
    "PROBATION_FAILURES": 0,
    "GRANTS": {
        "*": ["log", "clock", "random"],
        "http_*": ["http"],
        "state_*": ["state"],
        "app_*": ["emit", "call", "session", "metrics"],
    },
    "STATE": "memory:",
}

METHODS = ("GET", "POST", "PUT")


def add_views(app: Flask, plugins: PluginHost) -> None:
    """Add the pages that are attacked, and those that tell how the worker is."""

    @plugins.hookspec("ask", output=dict[str, Any])
    def ask(_payload: Any) -> dict[str, Any]:
        return {"answer": "default"}

    @plugins.hookspec("mirror")
    def mirror(_payload: Any) -> None:
        """Answer nothing: the neighbour does."""

    @plugins.provide("again")
    def again(_sent: Any) -> Any:
        return plugins.call("ask", {"question": 1})

    @app.get("/ask")
    def asks() -> ResponseReturnValue:
        return dict(plugins.call("ask", {"question": 1}))

    @app.get("/neighbour/<int:number>")
    def neighbour(number: int) -> ResponseReturnValue:
        return {"said": plugins.call("mirror", [number, "x" * number]), "g": g.get("neighbour")}

    @app.route("/", defaults={"_path": ""}, methods=METHODS)
    @app.route("/<path:_path>", methods=METHODS)
    def page(_path: str) -> ResponseReturnValue:
        """Tell what has reached the view."""
        return {
            "method": request.method,
            "path": request.path,
            "query": request.query_string.decode("latin-1"),
            "headers": {k: v for k, v in request.headers if k.startswith("X-A")},
            "body": request.get_data().decode("latin-1"),
            "g": {name: g.get(name) for name in g},
        }

    @app.get("/slash/<path:_path>/")
    def slash(_path: str) -> ResponseReturnValue:
        return "with a slash at its end"

    @app.get("/hit/<int:status>")
    def bodiless(status: int) -> ResponseReturnValue:
        """Answer with a status that has its own rules for bodies."""
        if status != 206:
            return Response(status=status)
        headers = {"Content-Range": "bytes 0-3/10", "Content-Type": "text/plain; charset=utf-8"}
        return Response("part", 206, headers)

    @app.get("/holds")
    def holds() -> ResponseReturnValue:
        return {"pid": os.getpid(), "instances": instances()}

    @app.get("/status")
    def status() -> ResponseReturnValue:
        return plugins.status()


def instances() -> int:
    """How many instances live in this process."""
    gc.collect()  # of what a traceback still refers to
    return sum(len(each.watchdog._watched) for each in engines())


def create() -> Flask:
    """Make the site for a server."""
    app = Flask(__name__)
    app.config.update({f"PLUGIN_HOST_{key}": value for key, value in CONFIG.items()})
    app.config.from_prefixed_env()
    add_views(app, PluginHost(app))
    return app
