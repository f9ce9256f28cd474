"""The Flask extension: `PluginHost`."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
import weakref
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from blinker import Namespace
from flask import Flask, current_app, has_request_context, request, session
from flask.logging import default_handler, has_level_handler

from .config import Settings
from .errors import ConfigError
from .hookspec import HookSpec, Question
from .host.change import Change
from .host.exposition import exposition
from .host.host import Host
from .hostfunctions import metrics
from .hostfunctions.app import App, Event
from .hostfunctions.metrics import by_plugin
from .serving import dispatch
from .serving.dispatch import Exchange
from .serving.failure import request_id
from .site import EXTENSION, SESSION_READ, Site, pinned_key

#: Sent with the app as sender, in the thread that reloads, after what serves has changed in this
#: process; ``changes`` is a tuple of `Change`.
plugins_changed = Namespace().signal("plugins-changed")

#: Sent with the app as sender, in the thread of the call and after it, when a plugin has emitted
#: something; ``event`` has ``plugin``, ``name``, ``data``, ``json()`` and ``request_id``.
plugin_event = Namespace().signal("plugin-event")

logger = logging.getLogger("plugin_host")

_Default = TypeVar("_Default", bound=Callable[..., Any])


class PluginHost:
    """Runs WebAssembly plugins from a folder in a Flask app.

    ``PluginHost(app)``, or ``init_app`` in an app factory. One object may serve several apps: what
    belongs to an app is in ``app.extensions["plugin_host"]``, hookspecs are on this object.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._specs: dict[str, HookSpec] = {}
        self._questions: dict[str, Question] = {}
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the app's ``PLUGIN_HOST_*`` configuration, load the plugins and register.

        A plugin that does not load is logged and left out; nothing is registered before everything
        is checked. No thread is started.

        :raises ConfigError: the configuration is wrong, or the app has a plugin host already.
        """
        if EXTENSION in app.extensions:
            raise ConfigError(
                f"the app {app.name!r} has a plugin host already; call init_app once per app"
            )
        settings = Settings.from_mapping(app.config, app.root_path, app.instance_path)
        given = App(self._questions, _deliverer(app), _session_value, _request_id)
        host = Host(settings, _announcer(app), given)
        _show_log()
        if host.settings.enabled:
            host.reconcile(initial=True)
            Site(app, host).register()
        app.extensions[EXTENSION] = host

    def hookspec(
        self,
        name: str,
        *,
        combine: Literal["chain", "first", "collect"] = "first",
        input: Any = None,
        output: Any = None,
        timeout: float | None = None,
    ) -> Callable[[_Default], _Default]:
        """Declare a business hook; use the result as a decorator on its Python default.

        :param combine: ``first``: the first answer wins; ``chain``: each plugin is fed the answer
            of the one before; ``collect``: a list of all answers.
        :param input: and ``output``: types that msgspec can check, for payload and answer;
            ``bytes`` passes raw bytes; None is any JSON.
        :param timeout: the deadline of each plugin's call in seconds, if lower than
            ``PLUGIN_HOST_TIMEOUT``.
        :raises ConfigError: the name or the types are wrong, or the name is declared already.
        """
        if name in self._specs:
            raise ConfigError(f"the hook {name!r} is declared already; declare it once")
        spec = HookSpec(name, combine, input, output, timeout, None)
        self._specs[name] = spec

        def default(function: _Default) -> _Default:
            self._specs[name] = dataclasses.replace(spec, default=function)
            return function

        return default

    def provide(
        self, name: str, *, input: Any = None, output: Any = None
    ) -> Callable[[_Default], _Default]:
        """Decorate a function that answers a question of plugins that are granted ``call``.

        It is called with what the plugin sent, in the context and thread of the request or call in
        which the plugin asks, under the deadline of the plugin's hook: one that takes longer
        returns to nobody. The plugin gets what it returns, or an error if it raises.

        :param input: and ``output``: types as of `hookspec`, of what is sent and of the answer.
        :raises ConfigError: the name or the types are wrong, or the name is provided already.
        """

        def provided(function: _Default) -> _Default:
            if name in self._questions:
                raise ConfigError(f"the question {name!r} is provided already; provide it once")
            self._questions[name] = Question(name, input, output, function)
            return function

        return provided

    def call(self, name: str, payload: Any = None) -> Any:
        """Call a business hook: see `hookspec` for what comes back.

        Works wherever an app context does. Within a request, all calls and HTTP hooks meet the
        same versions of the plugins.

        :raises ConfigError: no hook of that name is declared.
        :raises PayloadError: the payload does not fit the hookspec.
        :raises HookError: a plugin failed whose policy for this hook is ``fail``.
        """
        spec = self._specs.get(name)
        if spec is None:
            known = ", ".join(sorted(self._specs)) or "none"
            raise ConfigError(
                f"no hook {name!r} is declared; declare it with hookspec({name!r}); declared are"
                f" {known}"
            )
        host = _host()
        host.watch()
        environ = request.environ if has_request_context() else None
        pinned = environ.get(pinned_key(host)) if environ else None
        if isinstance(pinned, Exchange):
            pinned = pinned.snapshot
        snapshot = pinned or host.snapshot.for_request(None)
        timeout = host.settings.timeout if spec.timeout is None else spec.timeout
        return dispatch.call_hook(snapshot, spec, payload, timeout, environ)

    def status(self) -> dict[str, Any]:
        """Return what serves in this process and what does not load, as JSON-able values.

        ``plugins`` lists for each its name, version, digest, abi, hooks, state (``serving`` or
        ``failed``), last error, calls, errors and seconds.
        """
        return {**_host().status(), "hookspecs": sorted(self._specs)}

    def fleet(self) -> list[dict[str, Any]]:
        """Return the states of all workers of this machine that serve this app, JSON-able.

        Each has ``pid``, ``since``, ``published_at`` (Unix times) and ``status``, as `status` gave
        it there at most some seconds ago. Workers that died are not in it. Without a data
        directory there is only this process.
        """
        host = _host()
        if host.depot is None:
            now = time.time()
            return [
                {"pid": os.getpid(), "since": None, "published_at": now, "status": host.status()}
            ]
        return [dataclasses.asdict(worker) for worker in host.depot.workers()]

    def metrics(self) -> dict[str, dict[str, Any]]:
        """Return the metrics that plugins keep themselves, by plugin, JSON-able.

        Each has ``counters`` (numbers by name) and ``histograms`` (by name ``counts`` of values in
        each bucket, and their ``sum``), added up over all versions that serve and all workers of
        this machine.
        """
        return by_plugin(self._statuses())

    def metrics_text(self) -> str:
        """Return `metrics`, and what the host counts itself, in Prometheus's text format."""
        statuses = self._statuses()
        return exposition(statuses) + metrics.exposition(by_plugin(statuses))

    def _statuses(self) -> list[dict[str, Any]]:
        """Return the states of this process, now, and of the other workers."""
        own = os.getpid()
        others = [worker["status"] for worker in self.fleet() if worker["pid"] != own]
        return [self.status(), *others]

    def reload(self) -> None:
        """Load all plugins of this process afresh, changed or not."""
        _host().reload()


def _announcer(app: Flask) -> Callable[[tuple[Change, ...]], None]:
    """Return what sends `plugins_changed` for an app, without keeping the app alive."""
    reference = weakref.ref(app)

    def announce(changes: tuple[Change, ...]) -> None:
        sender = reference()
        if sender is not None:
            plugins_changed.send(sender, changes=changes)

    return announce


def _deliverer(app: Flask) -> Callable[[Event], None]:
    """Return what sends `plugin_event` for an app, without keeping the app alive."""
    reference = weakref.ref(app)

    def deliver(event: Event) -> None:
        sender = reference()
        if sender is None:
            return
        for receiver in plugin_event.receivers_for(sender):
            try:
                sender.ensure_sync(receiver)(sender, event=event)
            except Exception:
                logger.exception(
                    "plugin %s: a receiver of its event %s failed",
                    event.plugin,
                    event.name,
                    extra={"plugin": event.plugin, "request_id": event.request_id},
                )

    return deliver


def _session_value(key: str) -> Any:
    if not has_request_context():
        raise KeyError(key)
    request.environ[SESSION_READ] = True
    return session[key]


def _request_id() -> str | None:
    return request_id(request.environ) if has_request_context() else None


def _show_log() -> None:
    """Let an operator see what is loaded and what fails, unless the app has set up logging."""
    logger = logging.getLogger(EXTENSION)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    if not has_level_handler(logger):
        logger.addHandler(default_handler)


def _host() -> Host:
    host = current_app.extensions.get(EXTENSION)
    if host is None:
        raise ConfigError(
            f"the app {current_app.name!r} has no plugin host; call PluginHost.init_app(app)"
        )
    return host  # type: ignore[no-any-return]
