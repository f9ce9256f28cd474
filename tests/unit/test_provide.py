"""What plugins ask the app: bytes and JSON both ways, within the call's deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asking
import guests
import msgspec
import pytest
from asking import DATA, LEN, NAME, OUT, answering, calling
from flask import Flask, current_app, g, request
from guests import MakeApp

from plugin_host import ConfigError, DeadlineExceeded, GuestError, GuestTrap, PluginHost
from plugin_host.hostfunctions.questions import (
    FAILED,
    MAX_DEPTH,
    TOO_DEEP,
    TOO_LARGE,
    UNFIT,
    UNKNOWN,
)

QUESTION = b"stock_level"
SIZE = len(QUESTION)
CAP = 1024


def asks(cap: int = CAP, out: int = OUT) -> str:
    return calling("call", NAME, SIZE, DATA, LEN, out, cap)


#: Fetches in two pieces what did not fit.
PIECES = f"""(local $n i32) (local.set $n {asks(cap=2)})
  (call $call_receive (i32.const {OUT}) (i32.const 0) (i32.const 5))
  (call $call_receive (i32.const {OUT + 5}) (i32.const 5)
    (i32.sub (local.get $n) (i32.const 5)))
  (i64.or (i64.const {guests.packed(OUT, 0)}) (i64.extend_i32_u (local.get $n)))"""
HOOKS = {
    "ask": answering(asks()),
    "pieces": PIECES,
    "too_much": f"(drop {asks(cap=2)}) {calling('call_receive', OUT, 0, 100)} (i64.const 0)",
    "fitted": f"(drop {asks()}) {calling('call_receive', OUT, 0, 1)} (i64.const 0)",
    "never_asked": f"{calling('call_receive', OUT, 0, 1)} (i64.const 0)",
    "no_room": f"(drop {asks(out=-1)}) (i64.const 0)",
    "outside": f"(drop {calling('call', NAME, SIZE, -8, 16, OUT, CAP)}) (i64.const 0)",
    "far_name": f"(drop {calling('call', -8, SIZE, DATA, 0, OUT, CAP)}) (i64.const 0)",
    "huge": f"(drop {calling('call', NAME, SIZE, 0, -1, OUT, CAP)}) (i64.const 0)",
    "long_name": answering(calling("call", NAME, 4000, DATA, LEN, OUT, CAP)),
    "on_request": f"(drop {calling('call', NAME, SIZE, DATA, 0, OUT, CAP)}) (i64.const 0)",
}


class Item(msgspec.Struct):
    """What is asked for."""

    sku: str
    size: int = 1


@pytest.fixture
def plugins(make_app: MakeApp, folder: Path, fast_call: bool) -> Iterator[PluginHost]:
    """A plugin that asks, and an app that does not answer yet; a context is there."""
    app, plugins = site(make_app, folder, FAST_CALL=fast_call)
    with app.app_context():
        yield plugins


def site(
    make_app: MakeApp, folder: Path, manifest: str = "", **config: Any
) -> tuple[Flask, PluginHost]:
    text = asking.guest(HOOKS, "call", "call_receive", text=QUESTION)
    (folder / "asker.wat").write_text(text)
    (folder / "asker.toml").write_text(manifest or 'on_failure = "fail"')
    app, plugins = make_app(**{"GRANTS": ["call"], "TIMEOUT": 2, **config})
    for name in HOOKS:
        if name != "on_request":
            plugins.hookspec(name, input=bytes, output=bytes)
    return app, plugins


def code(plugins: PluginHost, hook: str = "ask", data: bytes = b"{}") -> int:
    """The error that the guest got."""
    with pytest.raises(GuestError) as caught:
        plugins.call(hook, data)
    return -len(caught.value.message)


def test_json_goes_both_ways(plugins: PluginHost) -> None:
    """The app's function gets a value of its type and its answer becomes JSON."""

    @plugins.provide("stock_level", input=Item, output=dict[str, int])
    def stock_level(item: Item) -> dict[str, int]:
        return {item.sku: item.size}

    assert plugins.call("ask", b'{"sku": "mug"}') == b'{"mug":1}'
    assert stock_level(Item("cup", 2)) == {"cup": 2}


def test_bytes_go_both_ways(plugins: PluginHost) -> None:
    """Bytes pass as they are."""
    plugins.provide("stock_level", input=bytes, output=bytes)(lambda data: data[::-1])
    assert plugins.call("ask", b"\xff\x00a") == b"a\x00\xff"
    assert plugins.call("ask", b"") == b""


def test_no_data_are_null(plugins: PluginHost) -> None:
    """A question without data asks with None, and may be answered with None."""
    seen: list[Any] = []
    plugins.provide("stock_level")(seen.append)
    assert (plugins.call("ask", b""), seen) == (b"null", [None])


def test_an_answer_that_does_not_fit_is_fetched(plugins: PluginHost) -> None:
    """What is longer than the guest has room for is fetched in pieces, in the same call."""
    plugins.provide("stock_level", input=bytes, output=bytes)(lambda _: b"0123456789")
    assert plugins.call("pieces", b"") == b"0123456789"
    for hook in ("too_much", "fitted", "never_asked"):
        with pytest.raises(GuestTrap, match="there are no"):
            plugins.call(hook, b"")


def test_an_unknown_question_is_an_error(
    plugins: PluginHost, caplog: pytest.LogCaptureFixture
) -> None:
    """What the app does not answer is for the guest to handle; it may answer later."""
    assert code(plugins) == UNKNOWN
    assert code(plugins, "long_name") == UNKNOWN
    assert "question 'stock_level': the app does not answer it" in caplog.messages
    plugins.provide("stock_level")(lambda _: 7)
    assert plugins.call("ask", b"") == b"7"


@pytest.mark.parametrize("data", [b"{", b'{"sku": 7}', b"[]", b"\xff"])
def test_what_does_not_fit_never_reaches_the_app(plugins: PluginHost, data: bytes) -> None:
    """Data of another type are refused before the app's function is called."""
    called: list[Any] = []
    plugins.provide("stock_level", input=Item)(called.append)
    assert (code(plugins, data=data), called) == (UNFIT, [])


def test_what_the_app_raises_is_logged(
    plugins: PluginHost, caplog: pytest.LogCaptureFixture
) -> None:
    """The guest gets an error, the log the traceback, and the next question its answer."""

    @plugins.provide("stock_level")
    def stock_level(data: Any) -> Any:
        return 1 / data

    assert code(plugins, data=b"0") == FAILED
    (record,) = [r for r in caplog.records if "stock_level" in r.getMessage()]
    assert record.getMessage() == "plugin asker: question stock_level: the app's answer failed"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert plugins.call("ask", b"4") == b"0.25"


def test_an_answer_of_another_type_is_the_apps_failure(plugins: PluginHost) -> None:
    """An answer that does not fit what was declared does not reach the guest."""
    plugins.provide("stock_level", output=int)(lambda _: "many")
    assert code(plugins) == FAILED


def test_an_answer_that_is_too_large_is_an_error(
    make_app: MakeApp, folder: Path, fast_call: bool
) -> None:
    """An answer has at most PLUGIN_HOST_MAX_BODY bytes, a question as well."""
    app, plugins = site(make_app, folder, FAST_CALL=fast_call, MAX_BODY=100)
    plugins.provide("stock_level", input=bytes, output=bytes)(lambda data: 101 * b"x")
    with app.app_context():
        assert code(plugins) == TOO_LARGE
        with pytest.raises(GuestTrap, match="a question has at most 100 bytes"):
            plugins.call("ask", 101 * b"x")


@pytest.mark.parametrize("hook", ["no_room", "outside", "far_name", "huge"])
def test_hostile_pointers_trap_before_the_app_is_asked(plugins: PluginHost, hook: str) -> None:
    """Pointers outside the memory end the call, and the app's function is not called."""
    called: list[Any] = []
    plugins.provide("stock_level", input=bytes, output=bytes)(called.append)
    with pytest.raises(GuestTrap, match=r"outside|at most"):
        plugins.call(hook, b"")
    assert called == []


def test_the_app_answers_in_the_context_of_the_request(make_app: MakeApp, folder: Path) -> None:
    """The app's function finds the request, ``g`` and the app that a view would find."""
    app, plugins = site(make_app, folder)
    seen = []

    @plugins.provide("stock_level")
    def stock_level(_data: Any) -> None:
        seen.append((request.path, current_app.name))
        g.asked = True

    app.add_url_rule("/cart", view_func=lambda: str(g.asked))
    assert app.test_client().get("/cart").text == "True"
    assert seen == [("/cart", "shop")]


def test_an_answer_that_comes_too_late_ends_the_call(
    make_app: MakeApp, folder: Path, fast_call: bool
) -> None:
    """The app's function is not cut off, and the call fails by its deadline when it returns."""
    app, plugins = site(make_app, folder, FAST_CALL=fast_call, TIMEOUT=0.05)
    done = []

    @plugins.provide("stock_level")
    def stock_level(_data: Any) -> None:
        time.sleep(0.1)
        done.append(True)

    with app.app_context(), pytest.raises(DeadlineExceeded, match="50 ms"):
        plugins.call("ask", b"")
    assert done == [True]


def test_the_app_may_call_plugins_to_answer(plugins: PluginHost) -> None:
    """Questions nest so deep, and then there is an error instead of a stack that ends."""
    depths: list[int] = []

    @plugins.provide("stock_level", input=bytes, output=bytes)
    def stock_level(data: bytes) -> bytes:
        depths.append(len(data))
        try:
            return plugins.call("ask", data + b"x") or b""
        except GuestError as exc:
            return str(-len(exc.message)).encode()

    assert plugins.call("ask", b"x") == str(TOO_DEEP).encode()
    assert depths == list(range(1, MAX_DEPTH + 1))


@pytest.mark.parametrize(
    ("asked", "granted", "loads", "answers"),
    [
        (None, ["call"], True, True),
        (None, ["call:stock_level"], True, True),
        (None, ["call:other"], True, False),
        (None, [], False, False),
        ("call", ["call"], True, True),
        ("call", ["call:stock_level"], False, False),
        ("call:stock_level", ["call"], True, True),
        ("call:stock_level", ["call:stock_level"], True, True),
        ("call:stock_level", ["call:other"], False, False),
        ("call:other", ["call"], True, False),
        ("log", ["call"], False, False),
    ],
)
def test_questions_are_asked_for_and_granted_by_name(
    make_app: MakeApp,
    folder: Path,
    asked: str | None,
    granted: list[str],
    loads: bool,
    answers: bool,
) -> None:
    """A plugin asks what its manifest asks for and the app grants, all questions or one."""
    manifest = 'on_failure = "fail"'
    if asked:
        manifest += f'\ncapabilities = ["{asked}"]'
    app, plugins = site(make_app, folder, manifest, GRANTS=granted)
    plugins.provide("stock_level")(lambda _: 7)
    with app.app_context():
        (plugin,) = plugins.status()["plugins"]
        assert plugin["state"] == ("serving" if loads else "failed")
        if loads and answers:
            assert plugins.call("ask", b"") == b"7"
        elif loads:
            assert code(plugins) == UNKNOWN


@pytest.mark.parametrize("init", [True, False], ids=["init", "self-test"])
def test_the_app_is_not_asked_while_loading(
    make_app: MakeApp, folder: Path, fast_call: bool, init: bool
) -> None:
    """In a self-test the app answers nothing; to ask while an instance is made is an error."""
    name = "ph_init" if init else "ph_selftest"
    extra = f"""(func (export "{name}") (param $len i32) (result i64)
      (if (i32.ne {asks()} (i32.const -1)) (then unreachable)) (i64.const 0))"""
    called: list[Any] = []
    (folder / "asker.wat").write_text(
        asking.guest({"ask": HOOKS["ask"]}, "call", text=QUESTION, extra=extra)
    )
    app, plugins = make_app(FAST_CALL=fast_call, GRANTS=["call"])
    plugins.provide("stock_level")(called.append)
    with app.app_context():
        plugins.reload()
        (plugin,) = plugins.status()["plugins"]
    assert plugin["state"] == ("failed" if init else "serving")
    assert ("the app was asked while" in (plugin["load_error"] or "")) is init
    assert called == []


def test_provide_is_checked() -> None:
    """A wrong name, a wrong type, a second function or none are errors when they are declared."""
    plugins = PluginHost()
    plugins.provide("stock_level")(len)
    with pytest.raises(ConfigError, match="'stock_level' is provided already"):
        plugins.provide("stock_level")(len)
    with pytest.raises(ConfigError, match=r"question 'stock level': allowed as a name"):
        plugins.provide("stock level")(len)
    with pytest.raises(ConfigError, match=r"question 'other': output is .*cannot pass as JSON"):
        plugins.provide("other", output=object)(len)
    with pytest.raises(ConfigError, match="question 'other': answer is 7"):
        plugins.provide("other")(7)  # type: ignore[type-var]


def test_what_is_emitted_belongs_to_its_own_call(make_app: MakeApp, folder: Path) -> None:
    """A call that a call waits for delivers its own events, and not those of the one that waits."""
    from plugin_host import plugin_event

    emit = f"(drop {calling('emit', NAME, SIZE, DATA, LEN)})"
    hooks = {
        "outer": f"{emit} (drop {asks()}) unreachable",
        "inner": f"{emit} (i64.const 0)",
    }
    (folder / "asker.wat").write_text(asking.guest(hooks, "emit", "call", text=QUESTION))
    app, plugins = make_app(GRANTS=["call", "emit"], TIMEOUT=2)
    for name in hooks:
        plugins.hookspec(name, input=bytes, output=bytes)
    plugins.provide("stock_level", input=bytes)(lambda data: plugins.call("inner", b"in"))
    heard: list[bytes] = []

    def hear(sender: Flask, event: Any) -> None:
        heard.append(event.data)

    with plugin_event.connected_to(hear, app), app.app_context():
        plugins.call("outer", b"out")
    assert heard == [b"in"]
