"""What plugins emit reaches the app: after the call, in its thread, and only if it ended well."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asking
import guests
import pytest
from asking import DATA, LEN, NAME, calling
from flask import Flask, has_request_context, request
from guests import MakeApp

from plugin_host import GuestTrap, PluginHost, plugin_event
from plugin_host.hostfunctions.app import MAX_DATA, MAX_EVENTS

EMIT = calling("emit", NAME, 4, DATA, LEN)
NOTHING = "(i64.const 0)"
FLOOD = f"""(local $i i32) (local $sum i32)
  (loop (local.set $sum (i32.add (local.get $sum) {EMIT}))
    (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
  (if (i32.eqz (local.get $sum)) (then unreachable)) (i64.const 0)"""
HOOKS = {
    "one": f"(drop {EMIT}) {NOTHING}",
    "two": f"(drop {EMIT}) (drop {calling('emit', NAME + 4, 5, NAME, 3)}) {NOTHING}",
    "trap": f"(drop {EMIT}) unreachable",
    "fails": f"(drop {EMIT}) (i64.const {guests.packed(NAME, 4, error=True)})",
    "nonsense": f"(drop {EMIT}) (i64.const {guests.packed(0x7FFF_0000, 10)})",
    "flood": FLOOD,
    "long_name": f"(drop {calling('emit', NAME, 65, DATA, LEN)}) {NOTHING}",
    "no_name": f"(drop {calling('emit', NAME, 0, DATA, LEN)}) {NOTHING}",
    "bad_name": f"(drop {calling('emit', NAME + 20, 4, DATA, LEN)}) {NOTHING}",
    "outside": f"(drop {calling('emit', NAME, 4, -1, 2)}) {NOTHING}",
    "huge": f"(drop {calling('emit', NAME, 4, 0, -1)}) {NOTHING}",
    "on_request": f"(drop {calling('emit', NAME, 4, NAME, 2)}) {NOTHING}",
}
TEXT = b"soldother" + b"." * 11 + b"a b\xff" + b"x" * 60


class Heard:
    """What was received, with where and when."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.threads: list[int] = []
        self.contexts: list[bool] = []
        self.fails = False

    def __call__(self, sender: Flask, event: Any) -> None:
        """Receive an event."""
        self.events.append(event)
        self.threads.append(threading.get_ident())
        self.contexts.append(has_request_context())
        if self.fails:
            raise RuntimeError("a receiver that fails")

    @property
    def said(self) -> list[tuple[str, bytes]]:
        """Names and data."""
        return [(event.name, event.data) for event in self.events]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def site(
    make_app: MakeApp, folder: Path, fast_call: bool, heard: Heard
) -> Iterator[tuple[Flask, PluginHost]]:
    """A plugin that emits, whose events are received."""
    (folder / "teller.wat").write_text(asking.guest(HOOKS, "emit", text=TEXT))
    (folder / "teller.toml").write_text('on_failure = "fail"\ncapabilities = ["emit"]')
    app, plugins = make_app(FAST_CALL=fast_call, GRANTS=["emit"], TIMEOUT=5)
    app.add_url_rule("/", view_func=lambda: "shop")
    for name in HOOKS:
        if name != "on_request":
            plugins.hookspec(name, input=bytes, output=bytes)
    plugin_event.connect(heard, app)
    with app.app_context():
        yield app, plugins
    plugin_event.disconnect(heard, app)


def test_an_event_reaches_the_app_with_its_name_and_data(
    site: tuple[Flask, PluginHost], heard: Heard
) -> None:
    """A receiver gets plugin, name and bytes, in the thread of the call; JSON on demand."""
    site[1].call("one", b'{"sku": 7}')
    (event,) = heard.events
    assert (event.plugin, event.name, event.data) == ("teller", "sold", b'{"sku": 7}')
    assert (event.json(), event.request_id) == ({"sku": 7}, None)
    assert heard.threads == [threading.get_ident()]


def test_events_come_in_order(site: tuple[Flask, PluginHost], heard: Heard) -> None:
    """Several events of one call are delivered as they were emitted, and each once."""
    site[1].call("two", b"first")
    assert heard.said == [("sold", b"first"), ("other", b"sol")]
    site[1].call("one", b"next")
    assert heard.said[2:] == [("sold", b"next")]


def test_an_event_of_a_request_has_its_id(site: tuple[Flask, PluginHost], heard: Heard) -> None:
    """The event of an HTTP hook is received within the request, with the request's id."""
    site[0].test_client().get("/", headers={"X-Request-ID": "abc-1"})
    assert [(e.name, e.request_id) for e in heard.events] == [("sold", "abc-1")]
    assert heard.contexts == [True]


@pytest.mark.parametrize("hook", ["trap", "fails", "nonsense"])
def test_events_of_a_call_that_failed_are_dropped(
    site: tuple[Flask, PluginHost], heard: Heard, hook: str
) -> None:
    """A call of which nothing takes effect has emitted nothing, now or later."""
    with pytest.raises(Exception, match="teller"):
        site[1].call(hook, b"x")
    assert heard.events == []
    site[1].call("one", b"y")
    assert heard.said == [("sold", b"y")]


def test_a_flood_is_bounded(site: tuple[Flask, PluginHost], heard: Heard) -> None:
    """One call emits at most so many events; the guest is told of the rest."""
    site[1].call("flood", b"z")
    assert heard.said == [("sold", b"z")] * MAX_EVENTS


def test_the_bytes_of_a_call_are_bounded(site: tuple[Flask, PluginHost], heard: Heard) -> None:
    """The data of all events of a call are at most so many bytes together."""
    site[1].call("flood", b"z" * (MAX_DATA // 4))
    assert len(heard.events) == 4
    heard.events.clear()
    site[1].call("huge", b"")
    assert heard.events == []


@pytest.mark.parametrize("hook", ["long_name", "no_name", "bad_name", "outside"])
def test_a_malformed_event_traps(site: tuple[Flask, PluginHost], heard: Heard, hook: str) -> None:
    """A name that is none, or bytes outside the memory, end the call."""
    with pytest.raises(GuestTrap, match=r"allowed: 1 to 64|outside"):
        site[1].call(hook, b"")
    assert heard.events == []


def test_a_receiver_that_fails_hurts_nothing(
    site: tuple[Flask, PluginHost], heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    """What a receiver raises is logged; the others still hear, and the call has its answer."""
    later: list[str] = []

    def second(sender: Flask, event: Any) -> None:
        later.append(event.name)

    heard.fails = True
    plugin_event.connect(second, site[0])
    assert site[1].call("two", b"x") is None
    plugin_event.disconnect(second, site[0])
    assert later == ["sold", "other"]
    assert len(heard.events) == 2
    failed = [r for r in caplog.records if "a receiver of its event sold failed" in r.getMessage()]
    assert [(r.levelno, r.exc_info is not None) for r in failed] == [(logging.ERROR, True)]


def test_a_receiver_may_be_async(site: tuple[Flask, PluginHost], heard: Heard) -> None:
    """As one of Flask's own signals may: it has run when the call returns."""
    app, plugins = site

    async def receiver(sender: Flask, event: Any) -> None:
        heard(sender, event)

    plugin_event.disconnect(heard, app)
    with plugin_event.connected_to(receiver, app), app.app_context():
        plugins.call("one", b"data")
    assert [event.data for event in heard.events] == [b"data"]


def test_a_receiver_may_call_plugins(site: tuple[Flask, PluginHost], heard: Heard) -> None:
    """No guest is running when an event is received, so that its receiver may call one."""
    app, plugins = site

    def again(sender: Flask, event: Any) -> None:
        if event.data == b"outer":
            plugins.call("one", b"inner")

    plugin_event.connect(again, app)
    plugins.call("one", b"outer")
    plugin_event.disconnect(again, app)
    assert sorted(heard.said) == [("sold", b"inner"), ("sold", b"outer")]


def test_without_the_grant_it_does_not_load(make_app: MakeApp, folder: Path) -> None:
    """Emitting is a capability."""
    (folder / "teller.wat").write_text(asking.guest(HOOKS, "emit", text=TEXT))
    app, plugins = make_app()
    with app.app_context():
        (plugin,) = plugins.status()["plugins"]
    assert "does not grant it the capability 'emit'" in plugin["load_error"]


@pytest.mark.parametrize("init", [True, False], ids=["init", "self-test"])
def test_loading_emits_nothing(
    make_app: MakeApp, folder: Path, heard: Heard, fast_call: bool, init: bool
) -> None:
    """A self-test's events go nowhere; to emit while an instance is made is an error."""
    name = "ph_init" if init else "ph_selftest"
    extra = f'(func (export "{name}") (param $len i32) (result i64) {HOOKS["one"]})'
    text = asking.guest({"one": HOOKS["one"]}, "emit", text=TEXT, extra=extra)
    (folder / "teller.wat").write_text(text)

    def listen(app: Flask) -> None:
        plugin_event.connect(heard, app)

    app, plugins = make_app(listen, FAST_CALL=fast_call, GRANTS=["emit"])
    with app.app_context():
        (plugin,) = plugins.status()["plugins"]
    plugin_event.disconnect(heard, app)
    assert plugin["state"] == ("failed" if init else "serving")
    assert ("an event was emitted while" in (plugin["load_error"] or "")) is init
    assert heard.events == []


def test_log_records_have_the_requests_id(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture, fast_call: bool
) -> None:
    """What a plugin says during a request carries its id, as the record's ``request_id``."""
    caplog.set_level(logging.INFO, "plugin_host.plugin.teller")
    hooks = {"on_request": f"{calling('log', 1, NAME, 4)} {NOTHING}", "ask": HOOKS["one"]}
    hooks["ask"] = hooks["on_request"]
    (folder / "teller.wat").write_text(asking.guest(hooks, "log", text=TEXT))
    app, plugins = make_app(FAST_CALL=fast_call)
    app.add_url_rule("/", view_func=lambda: request.path)
    plugins.hookspec("ask")
    app.test_client().get("/", headers={"X-Request-ID": "abc-2"})
    with app.app_context():
        plugins.call("ask")
    said = [r for r in caplog.records if r.name == "plugin_host.plugin.teller"]
    assert [(r.getMessage(), vars(r)["request_id"]) for r in said] == [
        ("sold", "abc-2"),
        ("sold", None),
    ]
