"""A site whose log switches greenlets at every record: ``gunicorn gevent_switch_site:app``."""

from __future__ import annotations

import logging
import os

import gevent
from flask import Flask, has_request_context, request
from flask.typing import ResponseReturnValue

from plugin_host import HookError, PluginHost

#: What was logged, each with the request during which it was.
heard: list[tuple[str | None, str]] = []


class Parking(logging.Handler):
    """Sleeps for as many milliseconds as a record begins with, and holds its lock meanwhile."""

    def emit(self, record: logging.LogRecord) -> None:
        """Note the record after the sleep."""
        text = record.getMessage()
        gevent.sleep(int(text.partition(" ")[0]) / 1000)
        heard.append((request.args.get("name") if has_request_context() else None, text))


class Unlocked(Parking):
    """The same without a lock, so that greenlets overlap in it."""

    def createLock(self) -> None:  # noqa: N802 - logging's name
        """Have none."""
        self.lock = None


app = Flask(__name__)
app.config.from_prefixed_env()
locks = os.environ["SWITCH_LOCKS"] == "1"
logging.getLogger("plugin_host.plugin").addHandler(Parking() if locks else Unlocked())
plugins = PluginHost(app)
plugins.hookspec("speak", input=bytes, output=bytes)


@app.get("/speak")
def speak() -> ResponseReturnValue:
    """Have the plugin log what is to be said, and then answer with it, trap, or loop."""
    said = f"{request.args['ms']} {request.args['name']} {request.args['then']}".encode()
    came = "cut off"
    with gevent.Timeout(float(request.args.get("patience", 60)), False):
        try:
            came = plugins.call("speak", said).decode()
        except HookError as exc:
            came = type(exc).__name__
    return {"pid": os.getpid(), "came": came}


@app.get("/heard")
def what_was_heard() -> ResponseReturnValue:
    """Say what was logged since this was last asked."""
    noted, heard[:] = heard[:], []
    return {"pid": os.getpid(), "heard": noted}


@app.get("/status")
def status() -> ResponseReturnValue:
    """Say what serves in this worker."""
    return {**plugins.status(), "patched": bool(gevent.monkey.is_module_patched("threading"))}
