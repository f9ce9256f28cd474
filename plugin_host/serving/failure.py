"""What is said when a hook fails: a line in the log, and the request's id, to find it by."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import MutableMapping
from typing import Any

from ..errors import CircuitOpen, HookError
from .plugin import Plugin

logger = logging.getLogger("plugin_host")

#: Where a request's environ keeps its id once it has one.
REQUEST_ID = "plugin_host.request_id"
_is_request_id = re.compile(r"[A-Za-z0-9._:/+=@~-]{1,128}").fullmatch


def request_id(environ: MutableMapping[str, Any]) -> str:
    """Name a request in the log and for its client: as its own ``X-Request-ID``, if well-formed.

    Made when first asked for, which is when something fails.
    """
    known: str | None = environ.get(REQUEST_ID)
    if known is None:
        sent = environ.get("HTTP_X_REQUEST_ID", "")
        known = environ[REQUEST_ID] = sent if _is_request_id(sent) else secrets.token_hex(8)
    return known


def log_failure(
    plugin: Plugin, hook: str, exc: HookError, policy: str, request: str | None
) -> None:
    """Write the one log line of a failed hook, unless there are too many.

    :param request: its id, if it belongs to one.
    """
    if isinstance(exc, CircuitOpen):
        return  # the breaker has said so, once
    throttle = plugin.failure_lines
    if not throttle.admits():
        return
    if count := throttle.resumed():
        logger.error(
            "plugin %s %s: suppressed %d lines about failures", plugin.name, plugin.version, count
        )
    logger.error(
        "plugin %s %s, hook %s: %s; policy %s%s",
        plugin.name,
        plugin.version,
        hook,
        exc.message,
        policy,
        f", request {request}" if request else "",
        extra={"plugin": plugin.name, "hook": hook, "request_id": request},
    )
