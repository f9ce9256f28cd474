"""Loading: whatever is wrong with a file is a clear error, and the site goes on serving."""

# ruff: noqa: E501 - the table of faults reads better with long lines

from __future__ import annotations

from pathlib import Path

import guests
import pytest
import wasmtime
from deploying import permissions_count
from guests import MakeApp

from plugin_host import (
    ConfigError,
    ExportError,
    ImportDenied,
    InitError,
    ManifestError,
    ModuleError,
    PluginFileError,
    PluginLoadError,
)
from plugin_host.folder.settling import Timing
from plugin_host.host.naming import NameTaken

HOOK = {"on_response": guests.UNCHANGED}
GOOD = guests.module(HOOK)


def wasm(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def imports(what: str) -> str:
    return guests.module(HOOK, imports=what)


LOG = '(import "plugin_host" "log" (func (param i32 i32 i32)))'

#: What lies in the folder, the error, and what its message says.
BAD: dict[str, tuple[dict[str, str | bytes], type[PluginLoadError], str]] = {
    "empty": ({"bad.wasm": b""}, PluginFileError, r"bad\.wasm: is empty; put a WebAssembly module"),
    "not wasm": ({"bad.wasm": b"#!/bin/sh\nexit\n"}, ModuleError, "is not a WebAssembly core module"),
    "wrong magic": ({"bad.wasm": b"\0asn\1\0\0\0"}, ModuleError, "is not a WebAssembly core module"),
    "truncated": ({"bad.wasm": wasm(GOOD)[:-40]}, ModuleError, "is not a WebAssembly core module"),
    "a component": (
        {"bad.wasm": bytes(wasmtime.wat2wasm("(component)"))},
        ModuleError,
        "component",
    ),
    "text with an error": ({"bad.wat": "(module (oops))"}, ModuleError, "not valid WebAssembly text"),
    "invalid code": (
        {"bad.wat": guests.module({"on_response": "(i32.const 0)"})},
        ModuleError,
        "not a valid WebAssembly module|not valid WebAssembly text",
    ),
    "two modules of one stem": (
        {"bad.wat": GOOD, "bad.wasm": wasm(GOOD)},
        PluginFileError,
        r"bad\.wasm and bad\.wat are both there; remove one",
    ),
    "no memory": (
        {"bad.wat": guests.module(HOOK, memory="(memory 1)")},
        ExportError,
        'exports no memory; export the linear memory as "memory"',
    ),
    "a memory of another kind": (
        {"bad.wat": guests.module(HOOK, memory='(memory 1) (global (export "memory") i32 (i32.const 0))')},
        ExportError,
        "exports no memory",
    ),
    "no version": (
        {"bad.wat": GOOD.replace("ph_abi_version", "ph_abi_versions")},
        ExportError,
        r"does not export the function ph_abi_version: .*export it as \(\) -> \(i32\)",
    ),
    "an unknown version": (
        {"bad.wat": guests.module(HOOK, version=7)},
        ExportError,
        "was built for ABI version 7, this host speaks 1",
    ),
    "no alloc": (
        {"bad.wat": GOOD.replace('"ph_alloc"', '"malloc"')},
        ExportError,
        "does not export the function ph_alloc",
    ),
    "a hook of the wrong type": (
        {"bad.wat": guests.module({}, extra='(func (export "on_request") (param i64))')},
        ExportError,
        "exports no hook",
    ),
    "a hook of the wrong type beside a good one": (
        {"bad.wat": guests.module(HOOK, extra='(func (export "on_request") (param i64))')},
        ExportError,
        r"exports on_request as \(i64\) -> \(\); export it as \(i32\) -> \(i64\)",
    ),
    "a listed hook that is missing": (
        {"bad.wat": GOOD, "bad.toml": 'hooks = ["price"]'},
        ExportError,
        "does not export the function price: there is no export of that name",
    ),
    "a listed hook that is misspelt": (
        {"bad.wat": GOOD, "bad.toml": 'hooks = ["on_respons"]'},
        ExportError,
        "no export of that name; did you mean 'on_response'\\? Else export it as",
    ),
    "no hooks": ({"bad.wat": guests.module({})}, ExportError, "exports no hook; export on_request"),
    "an unknown import": (
        {"bad.wat": imports('(import "plugin_host" "exec" (func))')},
        ImportDenied,
        r"imports plugin_host\.exec, which this host does not offer; .*offers .*plugin_host\.log, plugin",
    ),
    "an import of an unknown module": (
        {"bad.wat": imports('(import "wasi_unstable" "fd_read" (func))')},
        ImportDenied,
        r"imports wasi_unstable\.fd_read, .* offers env\.\*, plugin_host\.\*, wasi_snapshot_preview1\.\*",
    ),
    "a WASI command": (
        {"bad.wat": guests.module(HOOK, extra='(func (export "_start"))')},
        ExportError,
        r"is a WASI command, .* exports _start, and no _initialize; build it as a reactor",
    ),
    "an import of the wrong type": (
        {"bad.wat": imports('(import "plugin_host" "log" (func (param i64)))')},
        ImportDenied,
        "cannot be linked",
    ),
    "an import that the manifest does not ask for": (
        {"bad.wat": imports(LOG), "bad.toml": 'capabilities = ["clock"]'},
        ImportDenied,
        r"manifest does not ask for the capability 'log'; add \"log\" to capabilities",
    ),
    "a start function that traps": (
        {"bad.wat": guests.module(HOOK, extra="(func $s unreachable) (start $s)")},
        InitError,
        "its initialisation failed: unreachable",
    ),
    "a start function that loops": (
        {"bad.wat": guests.module(HOOK, extra="(func $s (loop (br 0))) (start $s)")},
        InitError,
        r"missed its deadline of 50 ms \(in .*PLUGIN_HOST_INIT_TIMEOUT",
    ),
    "an init that traps": (
        {"bad.wat": guests.module({**HOOK, "ph_init": guests.TRAP})},
        InitError,
        r"its initialisation failed: unreachable \(in ph_init\)",
    ),
    "an init that loops": (
        {"bad.wat": guests.module({**HOOK, "ph_init": guests.SPIN})},
        InitError,
        "missed its deadline",
    ),
    "an init that declares an error": (
        {
            "bad.wat": guests.module(
                {**HOOK, "ph_init": f"(i64.const {guests.packed(guests.RESULT, 9, error=True)})"},
                data=[(guests.RESULT, b"no secret")],
            )
        },
        InitError,
        "ph_init declared an error: no secret",
    ),
    "an init that returns a result": (
        {"bad.wat": guests.module({**HOOK, "ph_init": f"(i64.const {guests.packed(8, 8)})"})},
        InitError,
        "ph_init returns 0 or an error",
    ),
    "an _initialize that traps": (
        {"bad.wat": guests.module(HOOK, extra='(func (export "_initialize") unreachable)')},
        InitError,
        "unreachable",
    ),
    "an _initialize of the wrong type": (
        {"bad.wat": guests.module(HOOK, extra='(func (export "_initialize") (param i32))')},
        ExportError,
        "exports _initialize as",
    ),
    "an alloc that returns 0": (
        {"bad.wat": guests.module(HOOK, alloc="(i32.const 0)")},
        InitError,
        r"ph_alloc\(4096\) returned 0: a pointer is a multiple of 8 and not 0",
    ),
    "an alloc that returns -1": (
        {"bad.wat": guests.module(HOOK, alloc="(i32.const -1)")},
        InitError,
        r"returned 4294967295",
    ),
    "an alloc outside the memory": (
        {"bad.wat": guests.module(HOOK, alloc="(i32.const 262136)")},
        InitError,
        "the buffer ends outside the memory of 262144 bytes",
    ),
    "more memory than the cap": (
        {"bad.wat": GOOD.replace(") 4)", ") 100)"), "bad.toml": "limits = { memory_mb = 1 }"},
        ModuleError,
        r"starts with 6553600 bytes of memory, where at most 1048576 are allowed; link it with a"
        r" smaller .* limits\.memory_mb",
    ),
    "not TOML": ({"bad.wat": GOOD, "bad.toml": "name ="}, ManifestError, r"bad\.toml: .*not TOML"),
    "an unknown manifest key": (
        {"bad.wat": GOOD, "bad.toml": "ordr = 1"},
        ManifestError,
        r"bad\.toml: .*ordr.*did you mean 'order'\?",
    ),
    "a wrong manifest type": ({"bad.wat": GOOD, "bad.toml": 'order = "1"'}, ManifestError, "order is '1'"),
    "config against its schema": (
        {
            "bad.wat": GOOD,
            "bad.toml": "config = { n = 0 }\nconfig_schema = { properties = { n = { minimum = 1 } } }",
        },
        ManifestError,
        r"config\.n is 0",
    ),
    "a manifest for another ABI": (
        {"bad.wat": GOOD, "bad.toml": "abi = 2"},
        ManifestError,
        "abi is 2, this host speaks 1",
    ),
}  # fmt: skip


def drop(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_a_clear_error_and_the_site_serves(
    make_app: MakeApp, folder: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each fault has its error class, a message with the remedy, one log line, and a status entry."""
    files, kind, message = BAD[name]
    drop(folder, files)
    (folder / "good.wat").write_text(guests.adding("x-good", "1"))
    app, plugins = make_app(INIT_TIMEOUT=0.05)
    app.add_url_rule("/", view_func=lambda: "ok")
    response = app.test_client().get("/")
    assert (response.text, response.headers["x-good"]) == ("ok", "1")
    host = app.extensions["plugin_host"]
    refusal = host._lineup.refused["bad"]
    assert type(refusal.error) is kind
    with pytest.raises(kind, match=message):
        raise refusal.error
    with app.app_context():
        failed = [p for p in plugins.status()["plugins"] if p["state"] == "failed"]
    assert [(p["name"], p["load_error"]) for p in failed] == [("bad", str(refusal.error))]
    lines = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert lines == [f"plugin not loaded: {refusal.error}"]


def test_a_file_over_the_size_limit_is_refused_unread(make_app: MakeApp, folder: Path) -> None:
    """A 100 MB file costs nothing but a log line."""
    with (folder / "huge.wasm").open("wb") as file:
        file.truncate(100 << 20)
    app, _ = make_app()
    error = app.extensions["plugin_host"]._lineup.refused["huge"].error
    with pytest.raises(PluginFileError, match=r"huge\.wasm: .*104857600"):
        raise error


def test_an_unreadable_file_is_refused(make_app: MakeApp, folder: Path) -> None:
    """Without permission the reason is the system's."""
    (folder / "closed.wat").write_text(GOOD)
    (folder / "closed.wat").chmod(0)
    with permissions_count():
        app, _ = make_app()
    with pytest.raises(PluginFileError, match="ermission"):
        raise app.extensions["plugin_host"]._lineup.refused["closed"].error


def test_two_plugins_with_one_name_are_told_apart_by_file(make_app: MakeApp, folder: Path) -> None:
    """The first keeps serving, the second is refused with both files named."""
    drop(folder, {"a.wat": GOOD, "b.wat": GOOD, "b.toml": 'name = "A"'})
    app, _ = make_app()
    host = app.extensions["plugin_host"]
    assert [p.path.name for p in host.snapshot.plugins] == ["a.wat"]
    with pytest.raises(NameTaken, match=r"b\.wat: its name 'a' is that of the plugin from a\.wat"):
        raise host._lineup.refused["b"].error


def test_a_name_is_that_of_the_file_which_is_called_so(make_app: MakeApp, folder: Path) -> None:
    """Grants go by names: who calls itself like another plugin gets them only while it is away."""
    drop(folder, {"a.wat": GOOD, "a.toml": 'name = "shop"'})
    app, _ = make_app(DATA_DIR="")
    host = app.extensions["plugin_host"]
    host._scanner._timing = Timing(**dict.fromkeys(Timing.__slots__, 0.0))

    def serving() -> list[str]:
        host.reconcile(initial=True)
        return [plugin.path.name for plugin in host.snapshot.plugins]

    assert serving() == ["a.wat"]
    drop(folder, {"Shop.wat": GOOD})
    assert serving() == ["Shop.wat"]
    with pytest.raises(NameTaken, match=r"a\.wat: its name 'shop' is that of .* from Shop\.wat"):
        raise host._lineup.refused["a"].error
    again, _ = make_app(DATA_DIR="")
    assert [p.path.name for p in again.extensions["plugin_host"].snapshot.plugins] == ["Shop.wat"]
    (folder / "Shop.wat").unlink()
    serving()
    assert serving() == ["a.wat"]


def test_an_import_that_is_not_granted_is_refused_with_the_grant(
    make_app: MakeApp, folder: Path
) -> None:
    """The app decides: the message names the capability and the configuration key."""
    drop(folder, {"chatty.wat": imports(LOG)})
    app, _ = make_app(GRANTS={"*": ["clock"], "other": ["log"]})
    with pytest.raises(ImportDenied, match=r"does not grant it the capability 'log'; .*_GRANTS"):
        raise app.extensions["plugin_host"]._lineup.refused["chatty"].error
    granted, _ = make_app(GRANTS={"chat*": ["log"]})
    assert [p.name for p in granted.extensions["plugin_host"].snapshot.plugins] == ["chatty"]


def test_the_embedded_manifest_is_read_and_one_beside_it_wins(
    make_app: MakeApp, folder: Path
) -> None:
    """A custom section carries the manifest with the module; a .toml file overrides it whole."""
    section = b"\x14plugin_host.manifest" + b'name = "inner"\nversion = "1"'
    module = wasm(GOOD) + bytes((0, len(section))) + section
    drop(folder, {"a.wasm": module, "b.wasm": module, "b.toml": 'version = "2"'})
    app, _ = make_app()
    plugins = app.extensions["plugin_host"].snapshot.plugins
    assert [(p.name, p.version) for p in plugins] == [("b", "2"), ("inner", "1")]


def test_init_gets_the_config_as_json(make_app: MakeApp, folder: Path) -> None:
    """The guest sees its manifest's config; here it answers with the bytes that it was given."""
    drop(
        folder,
        {"a.wat": guests.answering_config("ask"), "a.toml": 'config = { b = [1, 2], a = "é" }'},
    )
    app, plugins = make_app()
    plugins.hookspec("ask")
    with app.app_context():
        assert plugins.call("ask") == {"a": "é", "b": [1, 2]}


def test_initialize_runs_once_and_first(make_app: MakeApp, folder: Path) -> None:
    """_initialize comes before ph_abi_version, and exactly once per instance."""
    text = guests.module(
        {"ask": "(i64.const 0)"},
        extra="""(global $n (mut i32) (i32.const 0))
          (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 1))))""",
    ).replace("(result i32) (i32.const 1))", "(result i32) (global.get $n))")
    drop(folder, {"a.wat": text})
    app, _ = make_app()
    assert len(app.extensions["plugin_host"].snapshot.plugins) == 1


def test_host_functions_serve_what_they_promise(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """log, now, random and abort as docs/abi.md says."""
    text = guests.module(
        {
            "logs": """(call $log (i32.const 2) (i32.const 1024) (i32.const 9)) (i64.const 0)""",
            "time": f"""(i64.store (i32.const 2048) (call $now (i32.const 0)))
              (i64.const {guests.packed(2048, 8)})""",
            "dice": f"""(call $random (i32.const 2048) (i32.const 16))
              (i64.const {guests.packed(2048, 16)})""",
            "stop": """(call $abort (i32.const 3076) (i32.const 0) (i32.const 3) (i32.const 4))
              (i64.const 0)""",
            "wild": """(call $random (i32.const -4) (i32.const 16)) (i64.const 0)""",
        },
        imports="""(import "plugin_host" "log" (func $log (param i32 i32 i32)))
          (import "plugin_host" "now" (func $now (param i32) (result i64)))
          (import "plugin_host" "random" (func $random (param i32 i32)))
          (import "env" "abort" (func $abort (param i32 i32 i32 i32)))""",
        data=[
            (1024, b"low\nstock"),
            (3072, (8).to_bytes(4, "little") + "oops".encode("utf-16-le")),
        ],
    )
    drop(folder, {"a.wat": text})
    app, plugins = make_app(FAST_CALL=True)
    for name in ("logs", "time", "dice", "stop", "wild"):
        plugins.hookspec(name, input=bytes, output=bytes)
    with app.app_context():
        plugins.call("logs", b"")
        assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records][-1] == (
            "plugin_host.plugin.a",
            "WARNING",
            r"low\nstock",
        )
        assert int.from_bytes(plugins.call("time", b""), "little") > 1_700_000_000_000_000_000
        dice = {plugins.call("dice", b"") for _ in range(3)}
        assert len(dice) == 3
        assert plugins.call("stop", b"") is None
        assert "aborted: oops at -:3:4" in caplog.text
        assert plugins.call("wild", b"") is None
        assert "outside the guest's memory" in caplog.text


def test_the_folder_must_be_there_unless_it_may_be_made(tmp_path: Path, make_app: MakeApp) -> None:
    """A missing folder is a ConfigError with the remedy, or is created."""
    missing = tmp_path / "nowhere" / "plugins"
    with pytest.raises(ConfigError, match=r"nowhere.*does not exist; create it, .*CREATE_DIR"):
        make_app(DIR=str(missing))
    make_app(DIR=str(missing), CREATE_DIR=True)
    assert missing.is_dir()


def test_a_file_is_no_folder(tmp_path: Path, make_app: MakeApp) -> None:
    """Naming a file is a ConfigError."""
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match="is not a folder"):
        make_app(DIR=str(file))
    with pytest.raises(ConfigError, match="cannot be created"):
        make_app(DIR=str(file / "below"), CREATE_DIR=True)
