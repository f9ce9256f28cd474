"""Where a command's configuration comes from: the app, or defaults and the environment."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from flask import Config, Flask
from flask.cli import ScriptInfo

from ..config import KEYS, PREFIX, Settings
from ..errors import ConfigError
from ..host.host import Host
from ..site import EXTENSION
from .options import Failure
from .output import safe, say, warn

#: What Flask looks for when it is not told of an app.
_APP_FILES = ("wsgi.py", "app.py")


@dataclass(frozen=True)
class Configuration:
    """What a command works with.

    :param origin: where the settings come from, for people.
    :param host: the app's, with the plugins that the app has loaded; None without an app, or for
        another folder than the app's.
    """

    settings: Settings
    origin: str
    host: Host | None = None


class _NoHost(Exception):
    """There is an app, but its configuration cannot be had; says why."""


def find_configuration(
    ctx: click.Context, directory: Path | None = None, *, app_needed: bool = True
) -> Configuration:
    """Return the app's configuration if there is an app, else the environment's.

    :param directory: a folder to use instead of the configured one.
    :param app_needed: whether an app that is broken is the end (unless ``directory`` says what to
        look at), or only worth a warning.
    :raises Failure: the app or the configuration is broken.
    """
    try:
        found = _of_app(ctx)
    except _NoHost as exc:
        if app_needed and directory is None:
            other = ", or name a folder with --dir" if "directory" in ctx.params else ""
            raise Failure(f"{exc}{other}") from exc
        warn(f"{exc}; going on with the defaults and the environment")
        found = None
    found = found or _of_environment()
    if directory is None:
        return found
    settings = dataclasses.replace(found.settings, dir=directory.absolute())
    return Configuration(settings, found.origin)


def _of_app(ctx: click.Context) -> Configuration | None:
    """Return None if no app was named and none lies about."""
    info = ctx.ensure_object(ScriptInfo)
    named = info.app_import_path or info.create_app
    if not named and not any(map(os.path.isfile, _APP_FILES)):
        return None
    app = _load(info)
    host = app.extensions.get(EXTENSION)
    if host is None:
        raise _NoHost(f"the app {app.name!r} has no plugin host; call PluginHost.init_app(app)")
    return Configuration(host.settings, f"app {app.name!r}", host)


def _load(info: ScriptInfo) -> Flask:
    try:
        # What an app prints while it starts must not get into what the command prints.
        with contextlib.redirect_stdout(sys.stderr), quiet():
            return info.load_app()
    except (Exception, SystemExit) as exc:
        raise _NoHost(f"the app cannot be loaded: {_summary(exc)}; correct it") from exc


def _summary(exc: BaseException) -> str:
    """Return an exception on one line; Flask puts a whole traceback into some messages."""
    text = exc.format_message() if isinstance(exc, click.ClickException) else str(exc)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = " ".join(dict.fromkeys([*lines[:1], *lines[-1:]])).rstrip(".")
    if isinstance(exc, click.ClickException):
        return said
    return f"{type(exc).__name__}: {said}" if said else type(exc).__name__


def _of_environment() -> Configuration:
    try:
        settings = Settings.from_mapping(_environment(), Path.cwd())
    except ConfigError as exc:
        raise Failure(exc) from exc
    return Configuration(settings, "defaults and environment")


def _environment() -> dict[str, Any]:
    """Return the keys in the environment: as apps get them, ``FLASK_…``, and without that."""
    apps, bare = Config(""), Config("")
    apps.from_prefixed_env()
    bare.from_prefixed_env(PREFIX.rstrip("_"))
    found = {name: value for name, value in apps.items() if name.startswith(PREFIX)}
    # Others put variables of such names there, too, such as the addresses of linked containers.
    known = {key.suffix for key in KEYS}
    found.update({PREFIX + name: value for name, value in bare.items() if name in known})
    return found


class _Notes(logging.Handler):
    """Shows what the log says besides what the command itself reports; each line once."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING or record.getMessage() in self._said:
            return
        if record.name == EXTENSION and record.levelno >= logging.ERROR:
            return  # that a plugin does not load is what the command itself says
        self._said.add(record.getMessage())
        say(safe(f"{record.name}: {record.levelname.lower()}: {record.getMessage()}"), err=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the log off the terminal, but for warnings and for what guests say.

    Where somebody has set up logging, that is left as it is.
    """
    logger = logging.getLogger(EXTENSION)
    if logger.hasHandlers():
        yield
        return
    notes = _Notes()
    logger.addHandler(notes)
    try:
        yield
    finally:
        logger.removeHandler(notes)
