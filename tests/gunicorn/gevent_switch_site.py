"""A site whose log switches greenlets at every record: ``gunicorn gevent_switch_site:app``."""

from __future__ import annotations

import logging
import os

import gevent
from flask import Flask, has_request_context, request
from gevent_site import add_views, heard

from plugin_host import PluginHost


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
add_views(app, plugins, "speak")
