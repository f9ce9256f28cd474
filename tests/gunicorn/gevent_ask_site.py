"""A site that switches greenlets while plugins ask it: ``gunicorn gevent_ask_site:app``."""

from __future__ import annotations

import os
import threading

import gevent
from flask import Flask, g, request
from flask.typing import ResponseReturnValue

from plugin_host import HookError, PluginHost, plugin_event

app = Flask(__name__)
app.config.from_prefixed_env()
plugins = PluginHost(app)
plugins.hookspec("ask", input=bytes, output=bytes)
#: What was emitted, each with the request during which it was received.
heard: list[tuple[str, str]] = []


@plugins.provide("wait", input=bytes, output=bytes)
def wait(data: bytes) -> bytes:
    """Sleep as greenlets do, for as many milliseconds as are asked for; say who was waited for."""
    ms, name, _ = data.decode().split()
    if ms == "0":
        plugins.call("ask", f"5 {name} a".encode())  # a guest on behalf of a guest
    gevent.sleep(int(ms) / 1000)
    right = g.name == name == request.args["name"] and threading.get_ident() == g.ident
    return f"{request.args['name']} {right}".encode()


@plugin_event.connect_via(app)
def hear(sender: Flask, event: object) -> None:
    """Note an event, after a switch."""
    gevent.sleep(0)
    heard.append((request.args["name"], event.data.decode().split()[1]))  # type: ignore[attr-defined]


@app.get("/ask")
def ask() -> ResponseReturnValue:
    """Have the plugin ask, and then answer with what it was told, trap, or loop."""
    g.name, g.ident = request.args["name"], threading.get_ident()
    came = "cut off"
    with gevent.Timeout(float(request.args.get("patience", 60)), False):
        try:
            said = f"{request.args['ms']} {request.args['name']} {request.args['then']}"
            came = plugins.call("ask", said.encode()).decode()
        except HookError as exc:
            came = type(exc).__name__
    return {"pid": os.getpid(), "came": came}


@app.get("/heard")
def what_was_heard() -> ResponseReturnValue:
    """Say what was received since this was last asked."""
    noted, heard[:] = heard[:], []
    return {"pid": os.getpid(), "heard": noted}


@app.get("/status")
def status() -> ResponseReturnValue:
    """Say what serves in this worker."""
    return {**plugins.status(), "patched": bool(gevent.monkey.is_module_patched("threading"))}
