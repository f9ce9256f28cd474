"""Our own candidates: the dispatcher, from environ to environ, as the extension calls it."""

from __future__ import annotations

import shutil
import tempfile
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar

from benchmarks import glue
from benchmarks.measure import Skipped
from benchmarks.technology import GUESTS, Technology, guest
from benchmarks.works import Environ
from plugin_host.abi.guest import Guest
from plugin_host.abi.native import BODY, EditsDecoder, RequestEncoder
from plugin_host.config import Settings
from plugin_host.host.host import Host
from plugin_host.message import apply_to_environ
from plugin_host.serving.dispatch import NO_BODY, Body, Exchange
from plugin_host.wasm.instance import Limits
from plugin_host.wasm.runtime import fast_engine, link

#: What the peers are given, too. Host and Cookie are fields of their own.
EVERYTHING = ("method", "path", "query", "host", "cookies", "headers", "body")
DECLARED = ("header:accept-language", "body")


def add_plugin(
    folder: Path,
    name: str,
    needs: tuple[str, ...] | None,
    match: str = "",
    guest: str = "native.wasm",
    isolation: str = "shared",
) -> None:
    """Put a guest of the native ABI into a plugins folder.

    :param needs: what `on_request` declares; None writes no manifest.
    :param match: a path pattern; empty matches every request.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(GUESTS / guest, folder / f"{name}.wasm")
    if needs is None:
        return
    lines = [
        'version = "1"',
        f"isolation = {isolation!r}",
        "[needs]",
        f"on_request = {list(needs)!r}",
    ]
    if match:
        lines += ["[match]", f"paths = [{match!r}]"]
    (folder / f"{name}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


class PluginHost(Technology):
    """A hook that gets what the peers get: method, path, query, all headers, the body."""

    name = "plugin_host"
    needs: ClassVar[tuple[str, ...] | None] = EVERYTHING
    fast: ClassVar[bool] = True
    guest: ClassVar[str] = "native.wasm"
    isolation: ClassVar[str] = "shared"
    recycle_calls: ClassVar[int] = 0

    def __init__(self) -> None:
        if self.fast and fast_engine() is None:
            raise Skipped("this wasmtime release has no fast call")
        self._folder = tempfile.TemporaryDirectory()
        add_plugin(
            Path(self._folder.name),
            "bench",
            self.needs,
            guest=self.guest,
            isolation=self.isolation,
        )
        config = {
            "PLUGIN_HOST_DIR": self._folder.name,
            "PLUGIN_HOST_RELOAD": False,
            "PLUGIN_HOST_FAST_CALL": self.fast,
            "PLUGIN_HOST_RECYCLE_CALLS": self.recycle_calls,
        }
        self._host = Host(Settings.from_mapping(config, self._folder.name))
        self._host.reconcile(initial=True)
        if not self._host.snapshot.plugins:
            raise RuntimeError(f"the guest does not load: {self._host.status()['plugins']}")
        self._plugin = self._host.snapshot.plugins[0]

    def edit(self, environ: Environ) -> Environ:
        def read_body() -> Body:
            body = glue.read_body(environ)
            return Body(body, BODY) if body else NO_BODY

        def replace_body(body: bytes) -> None:
            environ["wsgi.input"] = BytesIO(body)

        exchange = Exchange(self._host.snapshot)
        exchange.plan = exchange.snapshot.plan(
            environ["REQUEST_METHOD"], environ["PATH_INFO"], "product"
        )
        exchange.on_request(environ, "product", None, read_body, replace_body)
        return environ

    def hash(self, rounds: int) -> int:
        answer = self._plugin.call("hash_rounds", rounds.to_bytes(4, "little"), 10.0, bytes)
        return int.from_bytes(answer or b"", "little")

    def nothing(self, _: object = None) -> object:
        return self._plugin.call("nothing", b"", 10.0, bytes)

    def close(self) -> None:
        self._host.close()
        self._folder.cleanup()


class DeclaredNeeds(PluginHost):
    """The same hook, whose manifest declares the one header that it looks at."""

    name = "plugin_host, declared needs"
    needs = DECLARED


class NoManifest(PluginHost):
    """The same hook without a manifest: it gets every field there is."""

    name = "plugin_host, no manifest"
    needs = None


class PublicCalls(PluginHost):
    """Calls through wasmtime's public API: what remains when its bindings are unknown."""

    name = "plugin_host, public calls"
    fast = False


class BareCall(Technology):
    """The lowest floors alone: no plan, no pool, no counters; what the dispatcher adds shows."""

    name = "wasm floor alone"
    cold_start = False

    def __init__(self) -> None:
        engine = fast_engine()
        if engine is None:
            raise Skipped("this wasmtime release has no fast call")
        path = GUESTS / "native.wasm"
        self._linked = link(engine, engine.compile(guest("native.wasm"), path), [], path)
        self._instance = self._linked.instance(Limits(), monotonic(), 10.0)
        self._nothing = self._instance.function("nothing")
        names = ("method", "path", "query", "host", "cookies")
        self._encode = RequestEncoder(tuple(":" + name for name in names)).encode
        self._decode = EditsDecoder().request
        self._guest = self._ready(self._instance)

    def _ready(self, instance: Any) -> Guest:
        return Guest(instance, ("on_request",), b"", 1 << 20, monotonic(), 10.0)

    def _edit(self, guest: Guest, environ: Environ) -> Environ:
        body = glue.read_body(environ)
        record = self._encode(environ, None, None, body, BODY if body else 0)
        result = guest.call("on_request", record, monotonic(), 10.0)
        if result is not None:
            edits = self._decode(result)
            apply_to_environ(environ, edits)
            if edits.body is not None:
                environ["wsgi.input"] = BytesIO(edits.body)
        return environ

    def edit(self, environ: Environ) -> Environ:
        return self._edit(self._guest, environ)

    def fresh_edit(self, environ: Environ) -> Environ:
        return self._edit(self._ready(self._linked.instance(Limits(), monotonic(), 10.0)), environ)

    def nothing(self, _: object = None) -> object:
        return self._nothing(0, monotonic(), 10.0)


ALL: tuple[type[Technology], ...] = (PluginHost, DeclaredNeeds, NoManifest, PublicCalls, BareCall)
