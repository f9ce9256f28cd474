"""A site that switches greenlets while plugins ask it: ``gunicorn gevent_ask_site:app``."""

from __future__ import annotations

import threading

import gevent
from flask import Flask, g, request
from gevent_site import add_views, heard

from plugin_host import PluginHost, plugin_event

app = Flask(__name__)
app.config.from_prefixed_env()
plugins = PluginHost(app)
plugins.hookspec("ask", input=bytes, output=bytes)
add_views(app, plugins, "ask")


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
