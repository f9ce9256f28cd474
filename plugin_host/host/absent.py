"""A plugins folder that is away when a worker starts: it is being replaced, and others serve on.

An error there would end more than the worker: gunicorn's master gives up the whole site when a
worker cannot boot.
"""

from __future__ import annotations

import logging
import os
import stat
from typing import Any

from ..config import Settings
from ..errors import ConfigError
from ..machine.datadir import DataDirError
from ..machine.depot import Depot
from ..machine.fleet import WorkerState

logger = logging.getLogger("plugin_host")


def check_folder(settings: Settings, depot: Depot | None) -> None:
    """Make the plugins folder if that is wanted; it may be away while other workers serve from it.

    :raises ConfigError: it is not there, or is not a folder.
    """
    folder = settings.dir
    if settings.create_dir:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(
                f"PLUGIN_HOST_DIR {str(folder)!r} cannot be created: {exc.strerror};"
                " name a folder that this process may write"
            ) from exc
    try:
        mode = os.stat(folder).st_mode
    except (FileNotFoundError, NotADirectoryError) as exc:
        if others(settings, depot):
            logger.error(
                "plugins folder %s is away; what the other workers serve serves here, too", folder
            )
            return
        raise ConfigError(
            f"PLUGIN_HOST_DIR {str(folder)!r} does not exist; create it, name another folder, or"
            " set PLUGIN_HOST_CREATE_DIR"
        ) from exc
    except OSError:
        return  # it cannot be told now: the scan says why, and looks again
    if not stat.S_ISDIR(mode):
        raise ConfigError(f"PLUGIN_HOST_DIR {str(folder)!r} is not a folder; name a folder")


def elsewhere(settings: Settings, depot: Depot | None) -> dict[str, dict[str, Any]] | None:
    """Return what the latest states of the machine's other workers say of plugins, by name.

    None: no other worker looks at the same folder.
    """
    newest = sorted(others(settings, depot), key=lambda worker: worker.published_at)
    plugins = [plugin for each in newest for plugin in each.status.get("plugins", ())]
    return {str(plugin.get("name")): plugin for plugin in plugins} if newest else None


def others(settings: Settings, depot: Depot | None) -> list[WorkerState]:
    """Return the live workers that look at the same folder; none where nobody can tell."""
    try:
        workers = [] if depot is None else depot.workers()
    except DataDirError:
        return []
    return [worker for worker in workers if worker.status.get("dir") == str(settings.dir)]
