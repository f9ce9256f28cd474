"""Plugins that keep state, in a site: grants, backends, self-tests, errors in the status."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import guests
import pytest
from flask import Flask
from guests import RESULT, MakeApp

from plugin_host import ConfigError, ManifestError, PluginHost
from plugin_host.config import Settings
from plugin_host.manifest import parse_manifest
from plugin_host.state import Quota

IMPORTS = """
(import "plugin_host" "state_add"
  (func $add (param i32 i32 i32 i64 i64 i64 i64 i32) (result i32)))
(import "plugin_host" "state_open" (func $open (param i32 i32) (result i32)))"""
#: Counts under the key "n" of a namespace and answers with the sum, or with E: one digit.
COUNT = f"""(func $count (param $ns i32) (result i64)
  (i32.store8 (i32.const {RESULT}) (i32.const 0x45))
  (if (i32.eq (i32.const 1) (call $add (local.get $ns) (i32.const 64) (i32.const 1) (i64.const 1)
      (i64.const {-(1 << 63)}) (i64.const {(1 << 63) - 1}) (i64.const {(1 << 63) - 1})
      (i32.const 128)))
    (then (i32.store8 (i32.const {RESULT})
      (i32.add (i32.const 48) (i32.load (i32.const 128))))))
  (i64.const {guests.packed(RESULT, 1)}))"""
OWN = "(call $count (i32.const 0))"
SHARED = f"""(local $ns i32)
  (local.set $ns (call $open (i32.const 68) (i32.const 4)))
  (i32.store8 (i32.const {RESULT}) (i32.const 0x58))
  (if (result i64) (i32.lt_s (local.get $ns) (i32.const 0))
    (then (i64.const {guests.packed(RESULT, 1)}))
    (else (call $count (local.get $ns))))"""


def guest(extra: str = "") -> str:
    """A plugin whose hooks count, in its own namespace and in the shared one called till."""
    hooks = {"tick": OWN, "ring": SHARED}
    pieces = [(64, b"n"), (68, b"till")]
    return guests.module(hooks, data=pieces, extra=COUNT + extra, imports=IMPORTS)


def serve(folder: Path, make_app: MakeApp, toml: str = "", **config: Any) -> Any:
    """A site with the plugin, and a function that calls its hooks."""
    (folder / "counter.toml").write_text(toml)
    config = {"STATE": "memory:", "GRANTS": ["state", "state:till"], "TIMEOUT": 5, **config}
    app, plugins = make_app(**config)
    for name in ("tick", "ring"):
        plugins.hookspec(name, output=bytes)

    def call(name: str) -> Any:
        with app.app_context():
            return plugins.call(name, None)

    return app, plugins, call


def status(app: Flask, plugins: PluginHost) -> Any:
    with app.app_context():
        (one,) = plugins.status()["plugins"]
        return one


def kept(app: Flask) -> list[str]:
    """The namespaces of the app's store that hold something."""
    names: list[str] = app.extensions["plugin_host"].services.store.namespaces(deadline=1e9)
    return names


@pytest.mark.parametrize("isolation", ["shared", "request"])
def test_state_outlives_a_call(folder: Path, make_app: MakeApp, isolation: str) -> None:
    """Whatever an instance forgets, state is kept, in namespaces of its own and shared ones."""
    (folder / "counter.wat").write_text(guest())
    app, _, call = serve(folder, make_app, f'isolation = "{isolation}"')
    assert [call("tick"), call("tick"), call("ring"), call("tick")] == [b"1", b"2", b"1", b"3"]
    assert kept(app) == ["plugin:counter", "shared:till"]


def test_workers_share_state(folder: Path, make_app: MakeApp) -> None:
    """Two hosts on one SQLite file count as one."""
    (folder / "counter.wat").write_text(guest())
    url = f"sqlite:///{folder.parent / 'state.sqlite3'}"
    first = serve(folder, make_app, STATE=url)[2]
    second = serve(folder, make_app, STATE=url)[2]
    assert [first("tick"), second("tick"), first("tick")] == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("toml", "grants", "error"),
    [
        ("", ["log"], "the app does not grant it the capability 'state'"),
        ("capabilities = ['log']", ["log", "state"], "does not ask for the capability 'state'"),
    ],
)
def test_state_is_granted(
    folder: Path, make_app: MakeApp, toml: str, grants: list[str], error: str
) -> None:
    """A plugin that is not granted state, or does not ask for it, does not load."""
    (folder / "counter.wat").write_text(guest())
    app, plugins, _ = serve(folder, make_app, toml, GRANTS=grants)
    assert error in status(app, plugins)["load_error"]


@pytest.mark.parametrize(
    ("toml", "grants", "result"),
    [
        ("", ["state"], b"X"),
        ("", ["state", "state:other"], b"X"),
        ("capabilities = ['state']", ["state", "state:till"], b"X"),
        ("capabilities = ['state', 'state:till']", ["state"], b"X"),
        ("capabilities = ['state', 'state:till']", ["state", "state:till"], b"1"),
    ],
)
def test_shared_namespaces_are_granted_one_by_one(
    folder: Path, make_app: MakeApp, toml: str, grants: list[str], result: bytes
) -> None:
    """Without both asking and granting a guest gets an error, which is in the status."""
    (folder / "counter.wat").write_text(guest())
    app, plugins, call = serve(folder, make_app, toml, GRANTS=grants)
    assert call("ring") == result
    errors = {} if result == b"1" else {"namespace": 1}
    assert status(app, plugins)["state_errors"] == errors


@pytest.mark.parametrize("name", ["state:", "state:A", "state:a b", "state:" + "x" * 65])
def test_a_shared_namespace_has_a_name(name: str) -> None:
    """A capability that names none is refused, in grants and in manifests."""
    with pytest.raises(ConfigError, match="a shared namespace is 'state:' and 1 to 64 of"):
        Settings.from_mapping({"PLUGIN_HOST_GRANTS": [name]}, ".")
    with pytest.raises(ManifestError, match="a shared namespace is 'state:' and 1 to 64 of"):
        parse_manifest(Path("x.toml"), stem="x", text=f'capabilities = ["{name}"]'.encode())


SELFTEST = """(func (export "ph_selftest") (param i32) (result i64)
  (if (i32.ne (i32.const 0x31) (i32.load8_u (i32.wrap_i64
    (i64.shr_u (call $count (i32.const 0)) (i64.const 32)))))
    (then unreachable)) (i64.const 0))"""
RECORDED = """
[[selftest]]
hook = "tick"
payload = 0
expect.answer = 1
[[selftest]]
hook = "tick"
payload = 0
expect.answer = 2
"""


@pytest.mark.parametrize("isolation", ["shared", "request"])
def test_self_tests_never_touch_the_app(folder: Path, make_app: MakeApp, isolation: str) -> None:
    """They begin with empty namespaces, keep state among themselves, and leave nothing behind."""
    (folder / "counter.wat").write_text(guest(SELFTEST))
    toml = f'isolation = "{isolation}"\n{RECORDED}'
    app, plugins, call = serve(folder, make_app, toml, RECYCLE_CALLS=1)
    assert status(app, plugins)["load_error"] is None
    assert kept(app) == []
    assert [call("tick"), call("tick")] == [b"1", b"2"]
    app.extensions["plugin_host"].reload()
    assert (status(app, plugins)["load_error"], call("tick")) == (None, b"3")


def test_making_an_instance_does_not_touch_the_app(folder: Path, make_app: MakeApp) -> None:
    """A plugin that uses state while it is initialised does not load, and is told why."""
    init = '(func (export "ph_init") (param i32) (result i64) (drop (call $count (i32.const 0)))'
    (folder / "counter.wat").write_text(guest(init + " (i64.const 0))"))
    app, plugins, _ = serve(folder, make_app)
    error = status(app, plugins)["load_error"]
    assert "state was used while the instance was being made; do so in hooks only" in error
    assert kept(app) == []


def test_quotas_are_configured(folder: Path, make_app: MakeApp) -> None:
    """What the configuration allows is what a namespace may hold."""
    (folder / "counter.wat").write_text(guest())
    app, plugins, call = serve(folder, make_app, STATE_MAX_BYTES=1)
    assert call("tick") == b"E"
    assert status(app, plugins)["state_errors"] == {"quota_bytes": 1}
    quota = Settings.from_mapping({}, ".")
    default = (quota.state_max_keys, quota.state_max_bytes, quota.state_max_value)
    assert default == (Quota().max_keys, Quota().max_bytes, Quota().max_value)


def test_a_server_that_is_away(folder: Path, make_app: MakeApp) -> None:
    """The site starts, the guest gets an error in time to answer, and the operator a line."""
    pytest.importorskip("redis")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        (folder / "counter.wat").write_text(guest())
        url = f"redis://:hush@127.0.0.1:{port}/0"
        app, plugins, call = serve(folder, make_app, STATE=url, TIMEOUT=2)
        assert call("tick") == b"E"
    one = status(app, plugins)
    assert (one["state"], one["errors"], one["state_errors"]) == ("serving", 0, {"unavailable": 1})
    assert "hush" not in str(one)
