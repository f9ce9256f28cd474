"""A small Flask site, with and without hooks: what a request costs with everything around it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flask import Flask, request

from benchmarks import peers
from benchmarks.measure import Skipped
from benchmarks.ours import DECLARED, EVERYTHING, add_plugin
from benchmarks.technology import Technology

#: Names of the kinds of site; the first one has no host at all.
WITHOUT = "without plugin_host"
KINDS = (
    WITHOUT,
    "no plugin",
    "one header hook",
    "one header hook, all headers",
    "10 plugins that do not match",
    "plain before_request function",
    "Extism, JSON, in before_request",
)

_PAGE = "<!doctype html><title>Product {}</title><h1>Product {}</h1><p>In stock. {}</p>\n"


def _site() -> Flask:
    app = Flask("benchmarks.site")

    @app.get("/product/<int:number>")
    def product(number: int) -> str:
        return _PAGE.format(number, number, request.headers.get("X-Lang", ""))

    return app


def _with_host(app: Flask, folder: Path) -> None:
    from plugin_host import PluginHost

    folder.mkdir(exist_ok=True)
    app.config.update(PLUGIN_HOST_DIR=str(folder), PLUGIN_HOST_RELOAD=True)
    PluginHost(app)


def _before_request(app: Flask, edit: Callable[[dict[str, Any]], object]) -> None:
    @app.before_request
    def hook() -> None:
        edit(request.environ)


def _per_thread(technology: type[Technology]) -> Callable[[dict[str, Any]], object]:
    """An Extism plugin that threads share mixes up their outputs: each gets its own."""
    local = threading.local()
    local.edit = technology().edit

    def edit(environ: dict[str, Any]) -> object:
        try:
            here = local.edit
        except AttributeError:
            here = local.edit = technology().edit
        return here(environ)

    return edit


def make(kind: str, folder: Path) -> Flask:
    """Build one kind of site, its plugins in `folder`. Raises `Skipped`, or `ValueError`.

    A kind of the form ``<N> plugins`` has that many that match another path.
    """
    app = _site()
    if kind == WITHOUT:
        return app
    if kind == "plain before_request function":
        _before_request(app, peers.PlainFunction().edit)
        return app
    if kind == "Extism, JSON, in before_request":
        _before_request(app, _per_thread(peers.ExtismJson))
        return app
    if kind.startswith("one header hook"):
        add_plugin(folder, "bench", EVERYTHING[:-1] if "all headers" in kind else DECLARED[:1])
    elif kind != "no plugin":
        for number in range(int(kind.split()[0])):
            add_plugin(folder, f"other{number}", DECLARED[:1], match=f"/elsewhere/{number}/*")
    _with_host(app, folder)
    return app


@contextmanager
def sites(kinds: tuple[str, ...], skipped: dict[str, str]) -> Iterator[dict[str, Flask]]:
    """All these sites in this process; the reasons of those that cannot be go to `skipped`."""
    logger = logging.getLogger("plugin_host")
    with ExitStack() as stack:
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.WARNING)  # a hundred plugins, a line each
        made = {}
        for kind in kinds:
            folder = stack.enter_context(TemporaryDirectory())
            try:
                made[kind] = app = make(kind, Path(folder))
            except Skipped as reason:
                skipped[kind] = str(reason)
                continue
            host = app.extensions.get("plugin_host")
            if host is not None:
                stack.callback(host.close)  # before its folder goes
        yield made


def from_environment() -> Flask:
    """The site that gunicorn serves: ``BENCHMARK_KIND``, plugins in ``BENCHMARK_FOLDER``."""
    logging.getLogger("plugin_host").setLevel(logging.WARNING)
    return make(os.environ["BENCHMARK_KIND"], Path(os.environ["BENCHMARK_FOLDER"]))
