"""Events, questions, the session and metrics through the AssemblyScript SDK, in a site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session

from plugin_host import GuestTrap, PluginHost, plugin_event

from .conftest import GUEST, MakeApp

pytestmark = pytest.mark.node

HOOKS = (  # noqa: SIM905
    "tell tell_too_much ask_text ask_bytes ask_json ask_nobody read_session measure misname"
).split()


@pytest.fixture(scope="session")
def module(build: Any) -> bytes:
    """The guest, compiled once."""
    return b"" if build.missing_tool() else bytes(build.compile_source(GUEST / "app.ts"))


@pytest.fixture
def site(module: bytes, folder: Path, make_app: MakeApp) -> Iterator[tuple[Flask, PluginHost]]:
    """A site with the guest; a request's context is there."""
    (folder / "guest.wasm").write_bytes(module)
    (folder / "guest.toml").write_text('on_failure = "fail"')
    grants = ["emit", "call", "session:user", "session:large", "metrics"]
    app, plugins = make_app(GRANTS=grants, TIMEOUT=5)
    app.secret_key = "of the test"
    for name in HOOKS:
        plugins.hookspec(name, timeout=5.0, input=bytes, output=bytes)
    with app.test_request_context("/"):
        yield app, plugins


def test_events(site: tuple[Flask, PluginHost]) -> None:
    """Text, bytes and JSON reach the app; what is too much is said to be."""
    app, plugins = site
    heard: list[tuple[str, bytes]] = []

    def hear(sender: Flask, event: Any) -> None:
        heard.append((event.name, event.data))

    with plugin_event.connected_to(hear, app):
        assert plugins.call("tell", "wörld".encode()) == b"true"
        text = "wörld".encode()
        listed = b'["' + text + b'"]'
        assert heard == [("text", text), ("bytes", text), ("empty", b""), ("json", listed)]
        assert plugins.call("tell_too_much", b"") == b"64"
    assert len(heard) == 4 + 64


@pytest.mark.parametrize("size", [0, 5, 1023, 1024, 1025, 100_000])
def test_questions(site: tuple[Flask, PluginHost], size: int) -> None:
    """Answers of any length come as they were given, as text, bytes and JSON."""
    plugins = site[1]
    plugins.provide("bytes", input=bytes, output=bytes)(lambda data: data[::-1])
    plugins.provide("json")(lambda value: {"value": value, "more": "ü" * size})
    data = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
    assert plugins.call("ask_bytes", data) == data[::-1]
    expected = '{"value":[1],"more":"%s"}' % ("ü" * size)
    assert plugins.call("ask_json", b"[1]") == expected.encode()


def test_errors_of_questions(site: tuple[Flask, PluginHost]) -> None:
    """Without an answer there is null, and an error that says why, of the latest question."""
    plugins = site[1]
    assert plugins.call("ask_text", b"x") == b"-1"
    plugins.provide("text", input=bytes, output=bytes)(lambda data: data * 2)
    assert plugins.call("ask_text", b"x") == b"xx"
    assert plugins.call("ask_nobody", b"") == b"true"
    plugins.provide("json", input=list[int], output=int)(lambda value: value[0])
    assert plugins.call("ask_json", b'["a"]') == b"-2"
    assert plugins.call("ask_json", b"[]") == b"-3"
    assert plugins.call("ask_json", b"[7]") == b"7"


def test_session(site: tuple[Flask, PluginHost]) -> None:
    """A key of the session is JSON, however long; what is not there or not granted is null."""
    plugins = site[1]
    session["user"], session["large"], session["other"] = {"id": 7}, "y" * 5000, 1
    assert plugins.call("read_session", b"user") == b'{"id":7}'
    assert plugins.call("read_session", b"large") == b'"' + b"y" * 5000 + b'"'
    assert plugins.call("read_session", b"other") == b"nothing"
    assert plugins.call("read_session", b"none") == b"nothing"


def test_metrics(site: tuple[Flask, PluginHost]) -> None:
    """Counters and histograms are the host's; a name that is none traps."""
    plugins = site[1]
    plugins.call("measure", b"12")
    plugins.call("measure", b"345")
    with pytest.raises(GuestTrap, match="allowed: 1 to 64"):
        plugins.call("misname", b"")
    found = plugins.metrics()["guest"]
    assert found["counters"] == {"calls": 2, "bytes": 5}
    assert found["histograms"]["sizes"]["sum"] == 0.005
