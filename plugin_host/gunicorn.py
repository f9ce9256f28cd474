"""A hook for gunicorn's configuration file: ``from plugin_host.gunicorn import post_worker_init``.

Nothing of this is needed. Without it a worker begins to watch the folder with its first request;
with it, as soon as it has booted, so that also a worker that has served nothing yet is seen in the
fleet and takes part in a coordinated switch.
"""

from __future__ import annotations

from typing import Any

from .host.host import Host
from .site import EXTENSION


def post_worker_init(worker: Any) -> None:
    """Start watching the plugins folder; called in a worker that has loaded the app."""
    host = getattr(worker.wsgi, "extensions", {}).get(EXTENSION)
    if isinstance(host, Host):
        host.watch()
