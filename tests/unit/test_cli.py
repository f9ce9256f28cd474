"""``flask plugins``: list, inspect and check, with an app and without one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo

from plugin_host.cli import cli
from plugin_host.cli.output import safe
from plugin_host.modules.binary import read_module
from plugin_host.wasm.engine import wat_to_wasm
from tests import guests
from tests.conftest import MakeApp

ROOT = Path(__file__).resolve().parents[2]
LOG = '(import "plugin_host" "log" (func $log (param i32 i32 i32)))'
NOW = '(import "plugin_host" "now" (func $now (param i32) (result i64)))'
HTTP = guests.module({"on_request": guests.UNCHANGED})

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests run in a folder of their own, without configuration from outside."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("PLUGIN_HOST_", "FLASK_")) or name == "NO_COLOR":
            monkeypatch.delenv(name)


@pytest.fixture
def run() -> Run:
    """Run a command, with an app if one is given."""

    def run(*args: str | Path, app: Flask | None = None, color: bool = False) -> Result:
        info = ScriptInfo(create_app=None if app is None else lambda: app)
        arguments = [str(arg) for arg in args]
        result = CliRunner().invoke(cli, arguments, obj=info, color=color, prog_name="plugins")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def put(path: Path, text: str, manifest: str | None = None) -> str:
    """Write a module, and a manifest beside it; returns the digest of both, as the host's."""
    path.write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if manifest is None:
        return digest
    path.with_suffix(".toml").write_text(manifest)
    both = digest + hashlib.sha256(manifest.encode()).hexdigest()
    return hashlib.sha256(both.encode()).hexdigest()


def with_section(text: str, name: bytes, content: bytes) -> bytes:
    """A module in binary, with a custom section behind it."""
    body = bytes([len(name)]) + name + content
    assert len(body) < 128
    return wat_to_wasm(text.encode(), Path("x.wat")) + b"\0" + bytes([len(body)]) + body


# list


def test_list_shows_the_folder_beside(folder: Path, run: Run) -> None:
    """Without an app, list shows ./plugins as a table in the order of the hooks."""
    second = put(folder / "hello.wat", guests.adding("x-a", "b"))
    first = put(folder / "gate.wat", HTTP, 'version = "1.2.0"\norder = 10\n')
    result = run("list")
    assert (result.stdout, result.stderr, result.exit_code) == (
        "NAME   VERSION  DIGEST        STATE    HOOKS        ORDER  FILE\n"
        f"gate   1.2.0    {first[:12]}  serving  on_request   10     gate.wat\n"
        f"hello  0        {second[:12]}  serving  on_response  100    hello.wat\n"
        "\n"
        f"2 plugins in {folder} (configuration: defaults and environment)\n",
        "",
        0,
    )


def test_list_says_why_a_plugin_failed(folder: Path, run: Run) -> None:
    """A plugin that does not load is listed as failed, with the reason below the table."""
    put(folder / "bad.wat", "(module)")
    result = run("list")
    lines = result.stdout.splitlines()
    assert lines[1].split() == ["bad", "-", *lines[1].split()[2:3], "failed", "-", "-", "bad.wat"]
    assert lines[3] == ('bad: bad.wat: exports no memory; export the linear memory as "memory"')
    assert lines[5].startswith("1 plugin, 1 failed, in ")
    assert result.exit_code == 0


def test_list_prefers_the_nearest_folder(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--dir goes before PLUGIN_HOST_DIR, and that before ./plugins."""
    for name in ("plugins", "named", "given"):
        (tmp_path / name).mkdir()
    assert f"in {tmp_path / 'plugins'} " in run("list").stdout
    monkeypatch.setenv("PLUGIN_HOST_DIR", "named")
    assert f"in {tmp_path / 'named'} " in run("list").stdout
    assert f"in {tmp_path / 'given'} " in run("list", "--dir", "given").stdout


def test_list_with_an_app_shows_what_the_app_loaded(
    folder: Path, run: Run, make_app: MakeApp
) -> None:
    """With an app, list --json is the host's own status and names the app."""
    put(folder / "hello.wat", guests.adding("x-a", "b"))
    app, plugins = make_app()
    with app.app_context():
        status = plugins.status()
    del status["hookspecs"]
    result = run("list", "--json", app=app)
    assert json.loads(result.stdout) == status | {"configuration": "app 'shop'"}


def test_list_without_an_app_has_the_shape_of_status(
    folder: Path, run: Run, make_app: MakeApp
) -> None:
    """list --json has the same keys with an app and without one."""
    put(folder / "hello.wat", HTTP)
    app, _ = make_app()
    with_app = json.loads(run("list", "--json", app=app).stdout)
    without = json.loads(run("list", "--json").stdout)
    assert without.keys() == with_app.keys()
    assert [p.keys() for p in without["plugins"]] == [p.keys() for p in with_app["plugins"]]


def test_list_of_another_folder_keeps_the_apps_grants(
    tmp_path: Path, run: Run, make_app: MakeApp
) -> None:
    """--dir changes the folder and nothing else of the app's configuration."""
    (tmp_path / "next").mkdir()
    put(tmp_path / "next" / "clock.wat", guests.module({"ask": guests.ECHO}, imports=NOW))
    app, _ = make_app(GRANTS=["log"])
    plugins = json.loads(run("list", "--dir", "next", "--json", app=app).stdout)["plugins"]
    assert [plugin["state"] for plugin in plugins] == ["failed"]


@pytest.mark.parametrize("command", ["list", "check"])
def test_a_folder_without_plugins_is_said_to_be_empty(command: str, folder: Path, run: Run) -> None:
    """An empty folder is no failure."""
    result = run(command)
    assert result.stdout.startswith(f"no plugins in {folder}")
    assert result.exit_code == 0


@pytest.mark.parametrize("command", ["list", "check"])
@pytest.mark.parametrize("what", ["nowhere", "a-file"])
def test_a_missing_folder_is_an_error(command: str, what: str, tmp_path: Path, run: Run) -> None:
    """A folder that is missing, or is a file, is named on stderr, with a remedy."""
    (tmp_path / "a-file").touch()
    result = run(command, "--dir", what)
    assert result.stderr.startswith(f"Error: plugins folder {tmp_path / what}: N")
    assert result.stderr.endswith("; name another with --dir\n")
    assert (result.stdout, result.exit_code) == ("", 1)


def test_list_says_that_the_app_loads_none(folder: Path, run: Run, make_app: MakeApp) -> None:
    """Plugins that the app has switched off are not mistaken for missing ones."""
    put(folder / "hello.wat", HTTP)
    app, _ = make_app(ENABLED=False)
    result = run("list", app=app)
    assert result.stderr == "Warning: PLUGIN_HOST_ENABLED is false: the app loads no plugins\n"
    assert result.stdout.startswith("no plugins in ")


# inspect


def test_inspect_tells_all(folder: Path, run: Run) -> None:
    """inspect --json says everything that module, manifest and trial say."""
    text = guests.module(
        {"on_request": guests.UNCHANGED, "price": guests.ECHO},
        imports=LOG + NOW,
        memory='(memory (export "memory") 4 8)',
        extra='(global (export "g") i32 (i32.const 1)) (start $s) (func $s)',
    )
    manifest = """
        version = "2.0"
        description = "All of it"
        hooks = ["on_request"]
        capabilities = ["log", "clock"]
        match = { paths = ["/a/*"], methods = ["post"] }
        needs = { on_request = ["path", "header:X-User", "body"] }
        limits = { timeout_ms = 20, memory_mb = 1 }
        config = { rate = 3 }
    """
    digest = put(folder / "full.wat", text, manifest)
    facts = json.loads(run("inspect", "plugins/full.wat", "--json").stdout)
    module = wat_to_wasm(text.encode(), Path("x.wat"))
    hook = {"params": ["i32"], "results": ["i64"]}
    sections = facts.pop("sections")
    assert facts == {
        "file": "plugins/full.wat",
        "format": "wat",
        "size": len(text),
        "module_size": len(module),
        "digest": digest,
        "module_digest": hashlib.sha256(text.encode()).hexdigest(),
        "loads": True,
        "ran": True,
        "error": None,
        "abi": 1,
        "memory": {"minimum": 4 << 16, "maximum": 8 << 16, "limit": 1 << 20},
        "start": True,
        "manifest": {
            "source": "beside",
            "file": "plugins/full.toml",
            "values": {
                "name": "full",
                "version": "2.0",
                "description": "All of it",
                "abi": None,
                "order": 100,
                "hooks": ["on_request"],
                "match": [{"paths": ["/a/*"], "methods": ["POST"], "endpoints": None}],
                "needs": {"on_request": ["path", "header:x-user", "body"]},
                "limits": {
                    "timeout": 0.02,
                    "memory": 1 << 20,
                    "fuel": None,
                    "isolation": "shared",
                },
                "capabilities": ["clock", "log"],
                "on_failure": {"on_request": "fail"},
                "oversize_body": "omit",
                "config": {"rate": 3},
                "config_schema": None,
                "selftest": 0,
            },
        },
        "imports": [
            {
                "module": "plugin_host",
                "name": "log",
                "kind": "func",
                "type": {"params": ["i32", "i32", "i32"], "results": []},
                "offered": True,
                "capability": "log",
                "asked": True,
                "granted": True,
            },
            {
                "module": "plugin_host",
                "name": "now",
                "kind": "func",
                "type": {"params": ["i32"], "results": ["i64"]},
                "offered": True,
                "capability": "clock",
                "asked": True,
                "granted": True,
            },
        ],
        "exports": [
            {"name": "memory", "kind": "memory", "type": None, "role": "abi"},
            {
                "name": "ph_abi_version",
                "kind": "func",
                "type": {"params": [], "results": ["i32"]},
                "role": "abi",
            },
            {
                "name": "ph_alloc",
                "kind": "func",
                "type": {"params": ["i32"], "results": ["i32"]},
                "role": "abi",
            },
            {"name": "on_request", "kind": "func", "type": hook, "role": "hook"},
            {"name": "price", "kind": "func", "type": hook, "role": "unlisted"},
            {"name": "g", "kind": "global", "type": None, "role": None},
        ],
        "configuration": "defaults and environment",
    }
    assert sections == [
        dataclasses.asdict(section) | {"name": section.name or None}
        for section in read_module(module).sections
    ]


def test_inspect_writes_for_people(folder: Path, run: Run) -> None:
    """inspect says in aligned text what a plugin is, wants and offers."""
    digest = put(folder / "hello.wat", guests.module({"ask": guests.ECHO}, imports=LOG))
    lines = run("inspect", "plugins/hello.wat").stdout.splitlines()
    assert lines[:8] == [
        "file           plugins/hello.wat",
        lines[1],
        f"digest         {digest}",
        "would load     yes",
        "configuration  defaults and environment",
        "ABI version    1",
        "memory         256 KiB at first, no maximum of its own, limited to 64 MiB",
        "",
    ]
    assert re.fullmatch(r"size           \d+ bytes of text, \d+ bytes as a module", lines[1])
    assert "Manifest: none; these are the defaults" in lines
    assert "  capabilities   whatever it imports" in lines
    assert lines[lines.index("Imports") + 1] == (
        "  plugin_host.log  (i32, i32, i32) -> ()  needs log: granted"
    )
    assert lines[lines.index("Exports") + 1 :][:4] == [
        "  memory          memory          ABI",
        "  ph_abi_version  () -> (i32)     ABI",
        "  ph_alloc        (i32) -> (i32)  ABI",
        "  ask             (i32) -> (i64)  hook",
    ]


def test_inspect_finds_an_embedded_manifest(folder: Path, run: Run) -> None:
    """A manifest in the module's custom section is shown as embedded."""
    wasm = with_section(HTTP, b"plugin_host.manifest", b'name = "inner"')
    (folder / "outer.wasm").write_bytes(wasm)
    facts = json.loads(run("inspect", "plugins/outer.wasm", "--json").stdout)
    assert facts["manifest"]["source"] == "embedded"
    assert facts["manifest"]["values"]["name"] == "inner"
    assert facts["size"] == facts["module_size"] == len(wasm)


@pytest.mark.parametrize(
    ("imports", "manifest", "grants", "access"),
    [
        (LOG, None, "log", "needs log: granted"),
        (LOG, None, "clock", "needs log: not granted"),
        (LOG, "capabilities = []", "log", "needs log: the manifest does not ask for it"),
        ('(import "env" "abort" (func (param i32 i32 i32 i32)))', None, "", "needs no capability"),
        ('(import "wasi" "fd_write" (func))', None, "log", "this host does not offer it"),
    ],
)
def test_inspect_says_what_an_import_needs(
    imports: str,
    manifest: str | None,
    grants: str,
    access: str,
    folder: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each import is shown with its capability, and whether it is asked for and granted."""
    monkeypatch.setenv("PLUGIN_HOST_GRANTS", grants)
    put(folder / "p.wat", guests.module({"ask": guests.ECHO}, imports=imports), manifest)
    result = run("inspect", "plugins/p.wat")
    line = next(line for line in result.stdout.splitlines() if line.endswith("  " + access))
    assert line.startswith("  ")
    assert result.exit_code == 0


def test_inspect_shows_the_version_of_an_unknown_abi(folder: Path, run: Run) -> None:
    """A guest of an ABI version that the host does not speak is inspected all the same."""
    put(folder / "p.wat", guests.module({"ask": guests.ECHO}, version=7))
    facts = json.loads(run("inspect", "plugins/p.wat", "--json").stdout)
    assert (facts["abi"], facts["loads"], facts["error"]["type"]) == (7, False, "ExportError")
    assert [e["name"] for e in facts["exports"] if e["role"] == "hook"] == ["ask"]


def test_inspect_no_run_enters_no_guest_code(folder: Path, run: Run) -> None:
    """With --no-run not even the start function runs, and the verdict stays open."""
    put(
        folder / "p.wat",
        guests.module({"ask": guests.ECHO}, extra="(start $s) (func $s (unreachable))"),
    )
    facts = json.loads(run("inspect", "--no-run", "plugins/p.wat", "--json").stdout)
    assert (facts["loads"], facts["ran"], facts["error"], facts["abi"]) == (None, False, None, None)
    facts = json.loads(run("inspect", "plugins/p.wat", "--json").stdout)
    assert (facts["loads"], facts["ran"], facts["error"]["type"]) == (False, True, "InitError")


@pytest.mark.parametrize(
    ("text", "manifest", "kind"),
    [
        ('(module (memory (export "memory") 1))', None, "ExportError"),
        (HTTP, "order = 'first'", "ManifestError"),
        (guests.module({}), None, "ExportError"),
        (
            guests.module({"ask": guests.ECHO}, imports='(import "a" "b" (func))'),
            None,
            "ImportDenied",
        ),
        (
            guests.module({"ask": guests.ECHO}, imports='(import "plugin_host" "now" (func))'),
            None,
            "ImportDenied",
        ),
        (
            guests.module({"ask": guests.ECHO}, extra="(func (result i32))"),
            None,
            "ModuleError",
        ),
    ],
)
def test_no_run_finds_the_fault_that_a_run_finds(
    text: str, manifest: str | None, kind: str, folder: Path, run: Run
) -> None:
    """What is wrong before a plugin's code runs is the same with --no-run and without."""
    put(folder / "p.wat", text, manifest)
    facts = [
        json.loads(run("inspect", "plugins/p.wat", "--json", *more).stdout)
        for more in ((), ("--no-run",))
    ]
    assert facts[0]["error"] == facts[1]["error"]
    assert (facts[0]["error"]["type"], facts[1]["loads"]) == (kind, False)


def test_inspect_names_the_manifest_that_is_wrong(folder: Path, run: Run) -> None:
    """A wrong manifest is reported beside what the module says."""
    put(folder / "p.wat", HTTP, "order = 'first'")
    lines = run("inspect", "plugins/p.wat").stdout.splitlines()
    assert "because        plugins/p.toml: order is 'first'" in lines
    assert "remedy         allowed: an integer from -10000 to 10000" in lines
    assert "Manifest: plugins/p.toml; it is wrong" in lines
    assert (
        "  on_request      (i32) -> (i64)  could be a hook, but the manifest does not list it"
        in lines
    )


def _unreadable(folder: Path) -> Iterator[tuple[str, str]]:
    """Make files that are no plugins; yields what to name and what to be told."""
    (folder / "empty.wasm").touch()
    yield "empty.wasm", "is empty; put a WebAssembly module there"
    (folder / "text.wasm").write_text("(module)")
    yield "text.wasm", "is not a WebAssembly core module: at byte 0: a module starts with"
    (folder / "component.wasm").write_bytes(b"\0asm\x0d\0\1\0")
    yield "component.wasm", "is not a WebAssembly core module: at byte 4: this is a component"
    (folder / "bad.wat").write_text("(module")
    yield "bad.wat", "is not valid WebAssembly text: "
    (folder / "link.wasm").symlink_to("gone")
    yield "link.wasm", "is a link to gone, which does not exist; restore the target"
    (folder / "large.wasm").write_bytes(bytes(1000))
    yield "large.wasm", "has 1000 bytes, more than the allowed 500; make it smaller"
    (folder / "sub.wasm").mkdir()
    yield "sub.wasm", "is a folder; name a .wasm or .wat file in it"
    (folder / "p.toml").touch()
    yield "p.toml", "is a manifest; name the module that it belongs to"
    (folder / "p.wasm.bak").touch()
    yield "p.wasm.bak", "does not have the name of a plugin's file; call it NAME.wasm"
    (folder / ".p.wasm").touch()
    yield ".p.wasm", "does not have the name of a plugin's file; call it NAME.wasm"
    yield "gone.wasm", "does not exist; name a .wasm or .wat file"
    yield "no/gone.wasm", "does not exist; name a .wasm or .wat file"


def test_inspect_refuses_what_is_no_module(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that cannot be read or is no module is an error on stderr with a remedy."""
    monkeypatch.setenv("PLUGIN_HOST_MAX_MODULE_SIZE", "500")
    for name, expected in _unreadable(folder):
        result = run("inspect", f"plugins/{name}")
        assert result.stderr.startswith(f"Error: plugins/{name}: {expected}")
        assert (result.stdout, result.exit_code) == ("", 1)


def test_check_gives_the_same_reasons(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """check reports such files among its results, and fails."""
    monkeypatch.setenv("PLUGIN_HOST_MAX_MODULE_SIZE", "500")
    for name, expected in _unreadable(folder):
        result = run("check", f"plugins/{name}", "--json")
        (plugin,) = json.loads(result.stdout)["plugins"]
        error = plugin["error"]
        assert f"{error['reason']}; {error['remedy']}".startswith(expected)
        assert (plugin["file"], plugin["ok"]) == (f"plugins/{name}", False)
        assert (result.stderr, result.exit_code) == ("", 1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tell")
def test_a_file_that_is_being_written_is_not_checked(folder: Path, run: Run) -> None:
    """A module that somebody has open for writing would not load now."""
    put(folder / "p.wat", HTTP)
    with (folder / "p.wat").open("a"):
        by_name, by_folder = run("check", "plugins/p.wat"), run("check")
    assert "p.wat" in by_name.stdout
    assert "is being written, or changed while it was read" in by_name.stdout
    assert "is being written, or changed while it was read" in by_folder.stdout
    assert (by_name.exit_code, by_folder.exit_code) == (1, 1)


@pytest.mark.parametrize("command", ["inspect", "check", "list"])
def test_what_a_plugin_says_cannot_move_the_cursor(command: str, folder: Path, run: Run) -> None:
    """Control characters out of a plugin's files are shown as escapes."""
    text = guests.module({"ask": guests.ECHO}, imports=r'(import "env" "\1b[2J\e2\80\ae" (func))')
    put(folder / "p.wat", text, 'description = "\\u001B[31mred\\nline"')
    output = run(command, *(["plugins/p.wat"] if command == "inspect" else [])).stdout
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert r"env.\x1b[2J\u202e" in output
    if command == "inspect":
        assert r"  description    \x1b[31mred\nline" in output


def test_safe_escapes_what_a_terminal_would_obey() -> None:
    """Line ends, controls, bidirectional marks and undecodable bytes are escaped; words are not."""
    assert safe("a\nb\x1b\x07\u202e\udcff é – ✓") == r"a\nb\x1b\x07\u202e\xff é – ✓"


# check


def test_check_is_content_with_good_plugins(folder: Path, run: Run) -> None:
    """check says OK, the plugin and its hooks, and succeeds."""
    put(folder / "gate.wat", HTTP, 'version = "1.2.0"')
    put(folder / "hello.wat", guests.adding("x-a", "b"))
    result = run("check", "plugins/hello.wat", "plugins/gate.wat")
    assert (result.stdout, result.stderr, result.exit_code) == (
        "OK  plugins/hello.wat  hello 0: on_response\n"
        "OK  plugins/gate.wat   gate 1.2.0: on_request\n"
        "2 of 2 would load\n",
        "",
        0,
    )


def test_check_says_what_is_wrong_and_what_to_do(folder: Path, run: Run) -> None:
    """One bad plugin fails the check; the good ones are still said to be good."""
    put(folder / "a.wat", HTTP, "order = 'first'")
    put(folder / "b.wat", HTTP)
    result = run("check")
    assert (result.stdout, result.stderr, result.exit_code) == (
        "FAILED  a.wat  a.toml: order is 'first'\n"
        "               allowed: an integer from -10000 to 10000\n"
        "OK      b.wat  b 0: on_request\n"
        f"1 of 2 would load in {folder}\n",
        "",
        1,
    )


def test_check_json(folder: Path, run: Run) -> None:
    """check --json says of every plugin whether it would load, and why not."""
    bad = put(folder / "bad.wat", "(module)")
    good = put(folder / "good.wat", HTTP, 'version = "3"\norder = 7')
    nothing: dict[str, object] = {
        "name": None,
        "version": None,
        "abi": None,
        "order": None,
        "hooks": [],
    }
    assert json.loads(run("check", "--json").stdout) == {
        "ok": False,
        "dir": str(folder),
        "configuration": "defaults and environment",
        "plugins": [
            {
                "file": str(folder / "bad.wat"),
                "ok": False,
                "digest": bad,
                **nothing,
                "error": {
                    "type": "ExportError",
                    "file": str(folder / "bad.wat"),
                    "reason": "exports no memory",
                    "remedy": 'export the linear memory as "memory"',
                },
            },
            {
                "file": str(folder / "good.wat"),
                "ok": True,
                "name": "good",
                "version": "3",
                "digest": good,
                "abi": 1,
                "order": 7,
                "hooks": ["on_request"],
                "error": None,
            },
        ],
    }


BAD = {
    "alloc.wat": guests.module({"ask": guests.ECHO}, alloc="(i32.const 1)"),
    "denied.wat": guests.module({"ask": guests.ECHO}, imports='(import "a" "b" (func))'),
    "error.wat": guests.module({"ask": guests.ECHO, "ph_init": "(i64.const 0x500_80000003)"}),
    "loop.wat": guests.module({"ask": guests.ECHO, "ph_init": guests.SPIN}),
    "nohook.wat": guests.module({}),
    "start.wat": guests.module({"ask": guests.ECHO}, extra="(start $s) (func $s (unreachable))"),
    "trap.wat": guests.module({"ask": guests.ECHO, "ph_init": guests.TRAP}),
    "v7.wat": guests.module({"ask": guests.ECHO}, version=7),
}


@pytest.mark.parametrize("fast", ["1", "0"])
def test_check_agrees_with_the_host(
    fast: str, folder: Path, run: Run, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """check gives for each file, and for the folder, exactly the host's own reason."""
    monkeypatch.setenv("PLUGIN_HOST_INIT_TIMEOUT", "0.05")
    monkeypatch.setenv("PLUGIN_HOST_FAST_CALL", fast)
    for name, text in BAD.items():
        put(folder / name, text)
    app, plugins = make_app(INIT_TIMEOUT=0.05, FAST_CALL=fast)
    with app.app_context():
        reasons = {p["file"]: p["load_error"] for p in plugins.status()["plugins"]}
    assert reasons.keys() == BAD.keys()
    files = [f"plugins/{name}" for name in BAD]
    for result in (run("check", "--json"), run("check", *files, "--json")):
        found = {
            Path(p["file"]).name: p["file"].rpartition("/")[2]
            + ": "
            + p["error"]["reason"]
            + (f"; {p['error']['remedy']}" if p["error"]["remedy"] else "")
            for p in json.loads(result.stdout)["plugins"]
        }
        assert found == reasons
        assert result.exit_code == 1


def test_check_finds_two_plugins_of_one_name(folder: Path, run: Run) -> None:
    """Two files of a folder may not name their plugins alike, case aside."""
    put(folder / "a.wat", HTTP, 'name = "Shop"')
    put(folder / "b.wat", HTTP, 'name = "shop"')
    for args in ((), ("plugins/a.wat", "plugins/b.wat")):
        result = run("check", *args)
        assert "its name 'shop' is that of the plugin from a.wat" in result.stdout
        assert "1 of 2 would load" in result.stdout
        assert result.exit_code == 1


def test_check_blames_who_would_not_serve(folder: Path, run: Run) -> None:
    """As on the site, a name is the plugin's whose file is called so, not the first one's."""
    for file in ("a.wat", "b.wat", "shop.wat"):
        put(folder / file, HTTP, 'name = "shop"')
    found = json.loads(run("check", "--json").stdout)["plugins"]
    assert [each["ok"] for each in found] == [False, False, True]
    assert "that of the plugin from shop.wat" in found[0]["error"]["reason"]
    assert "that of the plugin from shop.wat" in found[1]["error"]["reason"]


def test_check_accepts_a_plugins_next_version(tmp_path: Path, folder: Path, run: Run) -> None:
    """Files of different folders may have one name: one is to replace the other."""
    (tmp_path / "build").mkdir()
    put(folder / "shop.wat", HTTP)
    put(tmp_path / "build" / "next.wat", HTTP, 'name = "shop"')
    assert run("check", "plugins/shop.wat", "build/next.wat").exit_code == 0


def test_check_of_a_file_minds_its_manifest_and_nothing_else(folder: Path, run: Run) -> None:
    """A FILE is checked with NAME.toml beside it; other builds of that name do not count."""
    put(folder / "p.wat", HTTP, 'version = "5"')
    (folder / "p.wasm").write_bytes(b"another build")
    assert "p 5: on_request" in run("check", "plugins/p.wat").stdout
    assert "p.wasm and p.wat are both there" in run("check").stdout


def test_check_points_at_manifests_without_a_module(folder: Path, run: Run) -> None:
    """A manifest that no module has, which a slip of the pen makes, is worth a warning."""
    put(folder / "hello.wat", HTTP)
    (folder / "helo.toml").touch()
    (folder / ".hidden.toml").touch()
    result = run("check")
    assert result.stderr == (
        "Warning: helo.toml is the manifest of no plugin: there is no helo.wasm or .wat\n"
    )
    assert result.exit_code == 0


def test_check_takes_files_or_a_folder(run: Run) -> None:
    """FILE together with --dir is wrong usage."""
    result = run("check", "--dir", "plugins", "p.wat")
    assert "give either FILE or --dir, not both" in result.stderr
    assert result.exit_code == 2


def test_check_uses_the_apps_configuration(folder: Path, run: Run, make_app: MakeApp) -> None:
    """What the app does not grant does not load."""
    put(folder / "p.wat", guests.module({"ask": guests.ECHO}, imports=NOW))
    app, _ = make_app(GRANTS=["log"])
    assert run("check", "plugins/p.wat").exit_code == 0
    for args in ((), ("plugins/p.wat",)):
        result = run("check", *args, app=app)
        assert "does not grant it the capability 'clock'" in result.stdout
        assert result.exit_code == 1


# configuration


@pytest.mark.parametrize("prefix", ["PLUGIN_HOST_", "FLASK_PLUGIN_HOST_"])
def test_the_environment_configures_commands_without_an_app(
    prefix: str, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys come from the environment, by their own name or as Flask's from_prefixed_env has it."""
    put(folder / "p.wat", guests.module({"ask": guests.ECHO}, imports=NOW))
    monkeypatch.setenv(prefix + "GRANTS", '{"p": ["log"], "q": ["clock"]}')
    assert run("check").exit_code == 1
    monkeypatch.setenv(prefix + "GRANTS", '{"p": ["clock"]}')
    assert run("check").exit_code == 0


@pytest.mark.parametrize("args", [("list",), ("check",), ("check", "x.wat"), ("inspect", "x.wat")])
def test_a_wrong_value_in_the_environment_is_named(
    args: tuple[str, ...], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration that an app could not start with stops the commands, too."""
    monkeypatch.setenv("PLUGIN_HOST_TIMEOUT", "soon")
    result = run(*args)
    assert result.stderr == (
        "Error: PLUGIN_HOST_TIMEOUT is 'soon'; allowed: seconds from 0.001 to 60\n"
    )
    assert result.exit_code == 1


def test_foreign_variables_of_that_prefix_are_passed_over(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a container manager sets for a service of that name is no configuration."""
    monkeypatch.setenv("PLUGIN_HOST_PORT", "tcp://10.0.0.7:80")
    assert run("list").exit_code == 0


def _fails() -> Flask:
    raise ValueError("no database\nat all")


def _leaves() -> Flask:
    sys.exit(3)


BROKEN = [
    pytest.param(_fails, "the app cannot be loaded: ValueError: no database at all; correct it"),
    pytest.param(_leaves, "the app cannot be loaded: SystemExit: 3; correct it"),
    pytest.param(
        lambda: Flask("bare"), "the app 'bare' has no plugin host; call PluginHost.init_app(app)"
    ),
]


@pytest.mark.parametrize(("create_app", "said"), BROKEN)
def test_a_broken_app_does_not_stop_looking_at_files(
    create_app: Callable[[], Flask], said: str, folder: Path
) -> None:
    """With FILE or --dir a broken app is a warning, and the defaults are used."""
    put(folder / "p.wat", HTTP)
    for args in (
        ["check", "plugins/p.wat"],
        ["inspect", "plugins/p.wat"],
        ["check", "--dir", "plugins"],
        ["list", "--dir", "plugins"],
    ):
        result = CliRunner().invoke(cli, args, obj=ScriptInfo(create_app=create_app))
        expected = f"Warning: {said}; going on with the defaults and the environment\n"
        assert (result.stderr, result.exit_code) == (expected, 0)
        assert "p.wat" in result.stdout


@pytest.mark.parametrize(("create_app", "said"), BROKEN)
@pytest.mark.parametrize("command", ["list", "check"])
def test_the_plugins_of_a_broken_app_cannot_be_shown(
    command: str, create_app: Callable[[], Flask], said: str, folder: Path
) -> None:
    """Without FILE and --dir a broken app is an error: another folder would be a wrong answer."""
    result = CliRunner().invoke(cli, [command], obj=ScriptInfo(create_app=create_app))
    assert result.stderr == f"Error: {said}, or name a folder with --dir\n"
    assert (result.stdout, result.exit_code) == ("", 1)


@pytest.mark.parametrize(("create_app", "said"), BROKEN)
@pytest.mark.parametrize("command", ["status", "disable p"])
def test_the_workers_of_a_broken_app_cannot_be_shown(
    command: str, create_app: Callable[[], Flask], said: str, folder: Path
) -> None:
    """Nothing is suggested that the command does not take."""
    result = CliRunner().invoke(cli, command.split(), obj=ScriptInfo(create_app=create_app))
    assert result.stderr == f"Error: {said}\n"
    assert (result.stdout, result.exit_code) == ("", 1)


def test_commands_start_no_thread(folder: Path, run: Run, make_app: MakeApp) -> None:
    """No command starts watching the folder, not even of an app that reloads."""
    put(folder / "p.wat", HTTP)
    app, _ = make_app(RELOAD=True)
    for args in (("list",), ("check",), ("check", "plugins/p.wat"), ("inspect", "plugins/p.wat")):
        for given in (app, None):
            assert run(*args, app=given).exit_code == 0
    names = {thread.name for thread in threading.enumerate()}
    assert not any("watcher" in name for name in names)
    assert app.extensions["plugin_host"].status()["watcher"]["alive"] is False


# what a terminal shows


@pytest.mark.parametrize(
    ("args", "painted"),
    [
        (("list",), "\x1b[32mserving\x1b[0m"),
        (("check",), "\x1b[32mOK\x1b[0m"),
        (("inspect", "plugins/p.wat"), "\x1b[32myes\x1b[0m"),
    ],
)
def test_colour_is_for_terminals(
    args: tuple[str, ...], painted: str, folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal gets colours, unless NO_COLOR is set; nothing else does."""
    put(folder / "p.wat", HTTP)
    assert painted in run(*args, color=True).stdout
    assert "\x1b" not in run(*args).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in run(*args, color=True).stdout


@pytest.mark.parametrize("command", ["list", "inspect", "check"])
def test_help_has_examples_that_parse(command: str, run: Run) -> None:
    """--help shows examples, and their commands and options exist."""
    shown = run(command, "--help").stdout
    examples = re.findall(r"^    flask (?:--app \S+ )?plugins (\S+) ?(.*)$", shown, re.MULTILINE)
    assert examples
    for name, rest in examples:
        options = {option for p in cli.commands[name].params for option in p.opts}
        assert {word for word in rest.split() if word.startswith("-")} <= options


def test_the_documentation_names_every_command_and_option() -> None:
    """docs/cli.md has a heading for each command, and mentions each of its options."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    parts = dict(re.findall(r"^## `flask plugins (\w+)[^\n]*\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    assert parts.keys() == cli.commands.keys()
    for name, command in cli.commands.items():
        options = [p.opts[0] for p in command.params if isinstance(p, click.Option)]
        assert [option for option in options if f"`{option}" not in parts[name]] == []


def test_the_documentation_names_every_json_key(folder: Path, run: Run) -> None:
    """docs/cli.md names every key that --json can bring, but those of the watcher's health."""
    put(folder / "p.wat", guests.module({"on_request": guests.UNCHANGED}, imports=LOG), "config={}")
    put(folder / "q.wat", "(module)")
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for args in (("list",), ("check",), ("inspect", "plugins/p.wat")):
        value = json.loads(run(*args, "--json").stdout)
        value.pop("watcher", None)
        assert [key for key in _keys(value) if not re.search(f'[`"]{key}[`"]', text)] == []


def _keys(value: object) -> Iterator[str]:
    """Every key in a JSON value; keys that are hooks' names aside."""
    if isinstance(value, dict):
        yield from (key for key in value if key != "on_request")
        value = list(value.values())
    for child in value if isinstance(value, list) else ():
        yield from _keys(child)


def test_what_a_guest_logs_is_shown(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest's warning during its trial is seen on stderr, without the host's own chatter."""
    monkeypatch.setattr(logging.getLogger("plugin_host"), "propagate", False)
    body = "(call $log (i32.const 2) (i32.const 64) (i32.const 5)) (i64.const 0)"
    text = guests.module(
        {"ask": guests.ECHO, "ph_init": body}, imports=LOG, data=[(64, b"ho\x1bho")]
    )
    put(folder / "p.wat", text)
    for args in (("list",), ("check",), ("inspect", "plugins/p.wat")):
        result = run(*args)
        assert result.stderr == "plugin_host.plugin.p: warning: ho\\x1bho\n"
        assert result.exit_code == 0
    assert logging.getLogger("plugin_host").handlers == []


# the real thing


def flask(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command that Flask installs."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PLUGIN_HOST_")}
    command = [sys.executable, "-W", "error", "-m", "flask", *args]
    return subprocess.run(
        command, cwd=cwd, env=clean | env, capture_output=True, text=True, timeout=60, check=False
    )


APP = """
from flask import Flask
from plugin_host import PluginHost
print("starting the shop")
app = Flask("shop")
app.config["PLUGIN_HOST_DIR"] = "parts"
PluginHost(app)
"""


def test_flask_finds_the_commands(tmp_path: Path, folder: Path) -> None:
    """`flask plugins` is there where the package is installed, without any app."""
    put(folder / "hello.wat", guests.adding("x-a", "b"))
    done = flask("plugins", "list", cwd=tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines()[1].split()[3:] == ["serving", "on_response", "100", "hello.wat"]


def test_flask_uses_the_app_beside(tmp_path: Path) -> None:
    """The app's own folder is listed, relative to its root, and its prints stay out of the JSON."""
    (tmp_path / "parts").mkdir()
    put(tmp_path / "parts" / "hello.wat", HTTP)
    put(tmp_path / "parts" / "bad.wat", "(module)")
    (tmp_path / "app.py").write_text(APP)
    done = flask("plugins", "list", "--json", cwd=tmp_path)
    status = json.loads(done.stdout)
    assert status["configuration"] == "app 'shop'"
    assert [(p["file"], p["state"]) for p in status["plugins"]] == [
        ("hello.wat", "serving"),
        ("bad.wat", "failed"),
    ]
    assert (done.stderr, done.returncode) == ("starting the shop\n", 0)


def test_flask_goes_on_without_a_broken_app(tmp_path: Path, folder: Path) -> None:
    """An app whose import fails is one line on stderr, and the file is checked by the defaults."""
    (tmp_path / "shop.py").write_text("import not_there\n")
    put(folder / "bad.wat", "(module)")
    done = flask("--app", "shop", "plugins", "check", "plugins/bad.wat", cwd=tmp_path)
    assert done.stderr == (
        "Warning: the app cannot be loaded: While importing 'shop', an ImportError was raised:"
        " ModuleNotFoundError: No module named 'not_there'; correct it; going on with the defaults"
        " and the environment\n"
    )
    assert (done.stdout.splitlines()[-1], done.returncode) == ("0 of 1 would load", 1)
    done = flask("--app", "shop", "plugins", "list", cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("", 1)
