"""The peers: what else a Python site could run its hooks in.

Each class loads its guest when it is made, and does the works. Making one raises `Skipped` with the
reason when it cannot run here.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from werkzeug.wrappers import Request

from benchmarks import glue
from benchmarks.formats import Indexed
from benchmarks.technology import Technology, guest, optional
from benchmarks.works import Environ, hash_in_python


def _python_hook(environ: Environ) -> Environ:
    glue.set_header(environ, "x-lang", environ.get("HTTP_ACCEPT_LANGUAGE", "")[:2])
    body = glue.read_body(environ)
    if body:
        head, key, rest = body.partition(b'"coupon":"')
        if key:
            body = head + key + b"REDEEMED" + rest[rest.index(b'"') :]
        glue.set_body(environ, body)
    return environ


class PlainFunction(Technology):
    """No sandbox, no marshalling, no reload: a function that edits the environ."""

    name = "plain Python function"
    cold_start = False

    def edit(self, environ: Environ) -> Environ:
        return _python_hook(environ)

    def hash(self, rounds: int) -> int:
        return hash_in_python(rounds)

    def nothing(self, _: object = None) -> object:
        return None


class Pluggy(Technology):
    """The plain function behind a pluggy hook."""

    name = "pluggy hook"
    cold_start = False

    def __init__(self) -> None:
        pluggy = optional("pluggy", "pluggy")
        spec, impl = pluggy.HookspecMarker("benchmarks"), pluggy.HookimplMarker("benchmarks")

        class Spec:
            @spec(firstresult=True)  # type: ignore[untyped-decorator]
            def on_request(self, environ: Environ) -> object: ...

            @spec(firstresult=True)  # type: ignore[untyped-decorator]
            def nothing(self, payload: object) -> object: ...

        class Plugin:
            @impl  # type: ignore[untyped-decorator]
            def on_request(self, environ: Environ) -> Environ:
                return _python_hook(environ)

            @impl  # type: ignore[untyped-decorator]
            def nothing(self, payload: object) -> object:
                return None

        manager = pluggy.PluginManager("benchmarks")
        manager.add_hookspecs(Spec)
        manager.register(Plugin())
        self._on_request, self._nothing = manager.hook.on_request, manager.hook.nothing

    def edit(self, environ: Environ) -> Environ:
        edited: Environ = self._on_request(environ=environ)
        return edited

    def nothing(self, _: object = None) -> object:
        return self._nothing(payload=None)


class ExtismJson(Technology):
    """The Extism Python SDK as its documentation shows it: JSON in, JSON out."""

    name = "Extism, JSON"
    no_cache: ClassVar[dict[str, str]] = {"EXTISM_CACHE_CONFIG": ""}

    def __init__(self) -> None:
        extism = optional("extism", "extism")
        self._make = extism.Plugin
        manifest = {"wasm": [{"data": guest("extism.wasm")}]}
        self._compiled = extism.extism.CompiledPlugin(manifest, functions=[])
        self._plugin = self._make(self._compiled)

    def _edit(self, plugin: Any, environ: Environ) -> Environ:
        output = plugin.call("request_json", json.dumps(glue.request(environ)))
        return glue.apply_answer(environ, json.loads(output))

    def edit(self, environ: Environ) -> Environ:
        return self._edit(self._plugin, environ)

    def fresh_edit(self, environ: Environ) -> Environ:
        with self._make(self._compiled) as plugin:
            return self._edit(plugin, environ)

    def hash(self, rounds: int) -> int:
        return int.from_bytes(
            self._plugin.call("hash_rounds", rounds.to_bytes(4, "little")), "little"
        )

    def nothing(self, _: object = None) -> object:
        return self._plugin.call("nothing", b"")

    def close(self) -> None:
        del self._plugin, self._compiled


class ExtismRequestHeaders(ExtismJson):
    """The same with the glue that a Flask app writes first: ``dict(request.headers)``."""

    name = "Extism, JSON, request.headers"
    cold_start = False

    def edit(self, environ: Environ) -> Environ:
        request = Request(environ)
        values: dict[str, Any] = {
            "method": request.method,
            "path": request.path,
            "query": request.query_string.decode(),
            "headers": {name.lower(): value for name, value in request.headers.items()},
        }
        body = request.get_data()
        if body:
            values["body"] = body.decode()
        output = self._plugin.call("request_json", json.dumps(values))
        return glue.apply_answer(environ, json.loads(output))


class ExtismFlat(ExtismJson):
    """Extism fed with the native ABI's own records and edit lists: its call without its JSON."""

    name = "Extism, flat bytes"

    def __init__(self) -> None:
        super().__init__()
        self._encode = Indexed().encode

    def _edit(self, plugin: Any, environ: Environ) -> Environ:
        return glue.apply_edit_list(environ, plugin.call("request_flat", self._encode(environ)))


class WasmtimePy(Technology):
    """wasmtime-py as its documentation shows it: exports called as functions; JSON, one buffer."""

    name = "wasmtime-py, JSON"

    def __init__(self) -> None:
        wasmtime = optional("wasmtime", "wasmtime")
        self._wasmtime = wasmtime
        self._engine = wasmtime.Engine()
        self._module = wasmtime.Module(self._engine, guest("plain.wasm"))
        self._store, self._exports = self._instance()
        self._buffer = self._exports["alloc"](self._store, 65536)

    def _instance(self) -> tuple[Any, Any]:
        store = self._wasmtime.Store(self._engine)
        return store, self._wasmtime.Instance(store, self._module, []).exports(store)

    def _answer(self, store: Any, exports: Any, at: int, data: bytes) -> dict[str, Any]:
        memory = exports["memory"]
        memory.write(store, data, at)
        packed = exports["on_request"](store, at, len(data)) & 0xFFFFFFFFFFFFFFFF
        start, length = packed >> 32, packed & 0xFFFFFFFF
        answer: dict[str, Any] = json.loads(memory.read(store, start, start + length))
        return answer

    def edit(self, environ: Environ) -> Environ:
        data = json.dumps(glue.request(environ)).encode()
        return glue.apply_answer(
            environ, self._answer(self._store, self._exports, self._buffer, data)
        )

    def fresh_edit(self, environ: Environ) -> Environ:
        data = json.dumps(glue.request(environ)).encode()
        store, exports = self._instance()
        at = exports["alloc"](store, len(data))
        return glue.apply_answer(environ, self._answer(store, exports, at, data))

    def hash(self, rounds: int) -> int:
        value: int = self._exports["hash_rounds"](self._store, rounds)
        return value & 0xFFFFFFFF

    def nothing(self, _: object = None) -> object:
        return self._exports["nothing"](self._store, 0)

    def close(self) -> None:
        self._store.close()


class WasmtimePyAlloc(WasmtimePy):
    """The same with the guest's ``alloc`` and ``free`` around each call, as the tutorials do it."""

    name = "wasmtime-py, JSON, alloc and free"
    cold_start = False

    def edit(self, environ: Environ) -> Environ:
        data = json.dumps(glue.request(environ)).encode()
        at = self._exports["alloc"](self._store, len(data))
        answer = self._answer(self._store, self._exports, at, data)
        self._exports["free"](self._store, at)
        return glue.apply_answer(environ, answer)


class LuaJit(Technology):
    """LuaJIT in the process: values and a table of headers in, values out (its fastest idiom)."""

    name = "LuaJIT (lupa)"

    def __init__(self) -> None:
        lupa = optional("lupa.luajit21", "lupa with LuaJIT 2.1")
        self._runtime = lupa.LuaRuntime
        self._source = guest("hook.lua").decode()
        self._load()

    def _load(self) -> None:
        lua = self._runtime(unpack_returned_tuples=True)
        hooks = lua.execute(self._source)
        self._table_from = lua.table_from
        self._on_request, self._hash, self._nothing = hooks.on_request, hooks.hash, hooks.nothing

    def edit(self, environ: Environ) -> Environ:
        body = glue.read_body(environ)
        new_body, *edits = self._on_request(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ["QUERY_STRING"],
            self._table_from(glue.headers(environ)),
            body or None,
        )
        for name, value in zip(edits[::2], edits[1::2], strict=True):
            glue.set_header(environ, name, value)
        if new_body is not None:
            glue.set_body(environ, new_body.encode())
        return environ

    def fresh_edit(self, environ: Environ) -> Environ:
        self._load()
        return self.edit(environ)

    def hash(self, rounds: int) -> int:
        value: int = self._hash(rounds)
        return value & 0xFFFFFFFF

    def nothing(self, _: object = None) -> object:
        return self._nothing()


ALL: tuple[type[Technology], ...] = (
    PlainFunction,
    Pluggy,
    LuaJit,
    ExtismFlat,
    ExtismJson,
    ExtismRequestHeaders,
    WasmtimePy,
    WasmtimePyAlloc,
)
