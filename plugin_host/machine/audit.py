"""The log of what operators, and what is automatic, changed: when, who, and what."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime

from .datadir import DataDir, DataDirError

audit_log = logging.getLogger("plugin_host.audit")

_log = logging.getLogger("plugin_host")


def note(datadir: DataDir | None, what: str, by: str = "") -> None:
    """Write a line to the logger, and to the file ``audit.log`` of the data directory.

    The change has been made: what the file system refuses is logged, and nothing is raised.

    :param what: one line.
    :param by: what decided it; the user and process are always named.
    """
    line = f"{_actor(by)}: {what}"
    audit_log.info("%s", line)
    if datadir is None:
        return
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        datadir.append("audit.log", f"{now} {line}\n".encode(errors="replace"))
    except (OSError, DataDirError) as error:
        _log.warning("audit.log cannot be written: %s; the line was: %s", error, line)


def _actor(by: str) -> str:
    """Name the user behind this process, also through sudo."""
    uid = os.getuid() if hasattr(os, "getuid") else -1
    try:
        import pwd

        user = f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except (ImportError, KeyError):  # Windows; a container's user without a name
        user = f"uid {uid}" if uid >= 0 else os.environ.get("USERNAME", "unknown user")
    if uid == 0 and os.environ.get("SUDO_USER"):
        user += f", sudo by {os.environ['SUDO_USER']!a}"
    return f"{user}, pid {os.getpid()}" + (f", {by}" if by else "")
