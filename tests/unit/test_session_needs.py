"""Cookies and the session: read by plugins that are granted them, and by no others."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import asking
import guests
import pytest
from asking import DATA, LEN, NAME, OUT, answering, calling
from flask import Flask, Response, session
from guests import MakeApp

from plugin_host import ConfigError, GuestError, GuestTrap, PluginHost
from plugin_host.hostfunctions.session import ABSENT, CLOSED, TOO_LARGE, UNFIT

KEY = b"user_id"
GET = calling("session_get", DATA, LEN, OUT, 64)
#: The payload is the key.
HOOKS = {
    "look": answering(GET),
    "no_room": f"(drop {calling('session_get', NAME, 7, -1, 2)}) (i64.const 0)",
    "outside": f"(drop {calling('session_get', -2, 7, OUT, 2)}) (i64.const 0)",
    "long_key": f"(drop {calling('session_get', NAME, 257, OUT, 2)}) (i64.const 0)",
}


def site(
    make_app: MakeApp, folder: Path, manifest: str = "", **config: Any
) -> tuple[Flask, PluginHost]:
    """A site whose plugin reads the session, and whose views write it."""
    text = asking.guest(HOOKS, "session_get", text=KEY)
    (folder / "looker.wat").write_text(text)
    (folder / "looker.toml").write_text(f'on_failure = "fail"\n{manifest}')
    app, plugins = make_app(**{"GRANTS": ["session"], "TIMEOUT": 2, **config})
    app.secret_key = "of the test"
    for name in HOOKS:
        plugins.hookspec(name, input=bytes, output=bytes)

    @app.get("/login")
    def login() -> str:
        session["user_id"] = {"id": 7, "name": "Ann"}
        session["odd"] = "x" * 80
        return "in"

    @app.get("/look/<key>")
    def look(key: str) -> str:
        try:
            return plugins.call("look", key.encode()).decode()  # type: ignore[no-any-return]
        except GuestError as exc:
            return str(-len(exc.message))

    return app, plugins


def test_a_key_of_the_session_is_json(make_app: MakeApp, folder: Path, fast_call: bool) -> None:
    """A plugin reads what the app has put there; there is nothing under other keys."""
    app, _ = site(make_app, folder, FAST_CALL=fast_call)
    client = app.test_client()
    assert client.get("/look/user_id").text == str(ABSENT)
    client.get("/login")
    assert client.get("/look/user_id").text == '{"id":7,"name":"Ann"}'
    assert client.get("/look/other").text == str(ABSENT)


def test_the_answer_depends_on_the_cookie_then(make_app: MakeApp, folder: Path) -> None:
    """A response for which a plugin has read the session says so to caches."""
    app, _ = site(make_app, folder)
    assert app.test_client().get("/look/user_id").headers["Vary"] == "Cookie"


def test_a_response_hook_that_reads_the_session_says_so_to_caches(
    make_app: MakeApp, folder: Path
) -> None:
    """What it makes of the response depends on the cookie, too, though the view's did not."""
    look = f"(drop {GET}) (i64.const 0)"
    (folder / "looker.wat").write_text(asking.guest({"on_response": look}, "session_get", text=KEY))
    app, _ = make_app(GRANTS=["session"])
    app.secret_key = "of the test"
    app.add_url_rule("/", view_func=lambda: Response("", headers={"Vary": "Accept"}))
    assert app.test_client().get("/").headers["Vary"] == "Accept, Cookie"


def test_a_request_that_starts_over_after_a_look_at_the_session_says_so_to_caches(
    make_app: MakeApp, folder: Path
) -> None:
    """Where it went depends on the cookie, though Flask has opened the session anew since."""
    move = guests.edits(guests.edit(guests.SET_PATH, b"", b"/members"))
    hook = f"(drop {GET}) (i64.const {guests.packed(guests.RESULT, len(move))})"
    extra = f'(data (i32.const {guests.RESULT}) "{guests.escaped(move)}")'
    text = asking.guest({"on_request": hook}, "session_get", text=KEY, extra=extra)
    (folder / "looker.wat").write_text(text)
    (folder / "looker.toml").write_text('match.paths = ["/"]')
    app, _ = make_app(GRANTS=["session"])
    app.secret_key = "of the test"
    app.add_url_rule("/members", view_func=lambda: "members")
    response = app.test_client().get("/")
    assert (response.text, response.headers.get("Vary")) == ("members", "Cookie")


def test_without_a_request_there_is_no_session(make_app: MakeApp, folder: Path) -> None:
    """Outside of requests every key is absent."""
    app, plugins = site(make_app, folder)
    with app.app_context(), pytest.raises(GuestError) as caught:
        plugins.call("look", KEY)
    assert -len(caught.value.message) == ABSENT


@pytest.mark.parametrize("granted", [["session"], ["session:user_id"]])
def test_one_key_may_be_granted_or_asked_for(
    make_app: MakeApp, folder: Path, granted: list[str]
) -> None:
    """What a plugin has not asked for, or is not granted, it cannot read."""
    app, _ = site(make_app, folder, 'capabilities = ["session:user_id"]', GRANTS=granted)
    client = app.test_client()
    client.get("/login")
    assert client.get("/look/user_id").text == '{"id":7,"name":"Ann"}'
    assert client.get("/look/odd").text == str(CLOSED)


def test_without_the_grant_it_does_not_load(make_app: MakeApp, folder: Path) -> None:
    """Reading the session is not among what every plugin may."""
    app, plugins = site(make_app, folder, GRANTS=["log", "session:x"], TIMEOUT=1)
    with app.app_context():
        assert [p["state"] for p in plugins.status()["plugins"]] == ["serving"]
    app, plugins = site(make_app, folder, GRANTS=["log"])
    with app.app_context():
        (plugin,) = plugins.status()["plugins"]
    assert "does not grant it the capability 'session'" in plugin["load_error"]


@pytest.mark.parametrize("init", [True, False], ids=["init", "self-test"])
def test_loading_sees_no_session(
    make_app: MakeApp, folder: Path, fast_call: bool, init: bool
) -> None:
    """In a self-test every key is absent; to read one while an instance is made is an error."""
    name = "ph_init" if init else "ph_selftest"
    extra = f"""(func (export "{name}") (param $len i32) (result i64)
      (if (i32.ne {calling("session_get", NAME, len(KEY), OUT, 64)} (i32.const {ABSENT}))
        (then unreachable)) (i64.const 0))"""
    (folder / "looker.wat").write_text(
        asking.guest({"look": HOOKS["look"]}, "session_get", text=KEY, extra=extra)
    )
    app, plugins = make_app(FAST_CALL=fast_call, GRANTS=["session"])
    with app.app_context():
        (plugin,) = plugins.status()["plugins"]
    assert plugin["state"] == ("failed" if init else "serving")
    assert ("the session was read while" in (plugin["load_error"] or "")) is init


def test_a_value_that_is_no_json_is_an_error(make_app: MakeApp, folder: Path) -> None:
    """What an app's own kind of session holds may be anything; a plugin is told that it is."""
    app, plugins = site(make_app, folder, MAX_BODY=50)
    with app.test_request_context("/"):
        session["user_id"] = object()
        session["odd"] = "x" * 80
        for key, code in ((b"user_id", UNFIT), (b"odd", TOO_LARGE)):
            with pytest.raises(GuestError) as caught:
                plugins.call("look", key)
            assert -len(caught.value.message) == code


@pytest.mark.parametrize("hook", ["no_room", "outside", "long_key"])
def test_hostile_pointers_trap(make_app: MakeApp, folder: Path, fast_call: bool, hook: str) -> None:
    """Pointers outside the memory, and keys that are none, end the call."""
    app, plugins = site(make_app, folder, FAST_CALL=fast_call)
    with app.app_context(), pytest.raises(GuestTrap, match=r"outside|at most 256"):
        plugins.call(hook, b"")


# Cookies

MIRROR = guests.module({"on_request": guests.UNCHANGED, "on_response": guests.UNCHANGED})


def shown(make_app: MakeApp, folder: Path, manifest: str = "", **config: Any) -> list[bytes]:
    """The records of a request with a cookie and of a response that sets one."""
    (folder / "seer.wat").write_text(MIRROR)
    (folder / "seer.toml").write_text(manifest)
    app, _ = make_app(**config)
    records: list[bytes] = []

    @app.get("/")
    def index() -> Any:
        return "page", 200, [("Set-Cookie", "given=secret2"), ("X-Other", "seen")]

    (plugin,) = app.extensions["plugin_host"].snapshot.plugins
    call = plugin.call

    def spy(hook: str, data: bytes, *more: Any) -> Any:
        records.append(data)
        return call(hook, data, *more)

    plugin.call = spy
    client = app.test_client()
    client.set_cookie("sent", "secret1")
    response = client.get("/")
    assert response.headers["Set-Cookie"] == "given=secret2"
    del plugin.call
    return records


def test_cookies_are_granted_by_default(make_app: MakeApp, folder: Path) -> None:
    """Whoever needs everything, or says nothing, sees cookies unless the app says otherwise."""
    request, response = shown(make_app, folder)
    assert (b"secret1" in request, b"secret2" in response) == (True, True)


def test_without_the_grant_nobody_sees_a_cookie(make_app: MakeApp, folder: Path) -> None:
    """A plugin that needs everything gets everything but cookies; the browser still gets them."""
    request, response = shown(make_app, folder, GRANTS=["log"])
    assert (b"secret" in request, b"cookie" in request) == (False, False)
    assert (b"secret" in response, b"seen" in response) == (False, True)


@pytest.mark.parametrize(
    ("needs", "what"),
    [
        ('on_request = ["path", "cookies"]', "needs.on_request has 'cookies'"),
        ('on_response = ["header:Set-Cookie"]', "needs.on_response has 'header:set-cookie'"),
    ],
)
def test_who_names_cookies_does_not_load_without_the_grant(
    make_app: MakeApp, folder: Path, needs: str, what: str
) -> None:
    """A plugin that is built on cookies is told so when it is loaded, not by their absence."""
    (folder / "seer.wat").write_text(MIRROR)
    (folder / "seer.toml").write_text(f"[needs]\n{needs}")
    app, plugins = make_app(GRANTS={"*": ["log"], "other": ["cookies"]})
    with app.app_context():
        (plugin,) = plugins.status()["plugins"]
    assert plugin["load_error"] == (
        f"seer.toml: {what}, but the app does not grant the plugin the capability 'cookies';"
        " add 'cookies' to PLUGIN_HOST_GRANTS, or use the plugin without it"
    )


# Randomness that tests can repeat


def test_random_numbers_can_be_repeated_in_tests(
    make_app: MakeApp, folder: Path, fast_call: bool
) -> None:
    """With a seed every app gives a plugin the same numbers, and another plugin others."""
    body = f"{calling('random', OUT, 8)} (i64.const {guests.packed(OUT, 8)})"
    for name in ("one", "two"):
        (folder / f"{name}.wat").write_text(asking.guest({"draw": body}, "random"))
    came = []
    for seed in (7, 7, 8):
        app, plugins = make_app(FAST_CALL=fast_call, RANDOM_SEED=seed)
        plugins.hookspec("draw", combine="collect", output=bytes)
        with app.app_context():
            came.append(plugins.call("draw"))
    assert came[0] == came[1] == [random.Random(f"7 {n}").randbytes(8) for n in ("one", "two")]
    assert came[2] != came[0]
    assert came[0][0] != came[0][1]


def test_a_seed_is_for_tests_only(make_app: MakeApp) -> None:
    """An app that serves does not start with random numbers that can be guessed."""

    def serve(app: Flask) -> None:
        app.testing = False

    with pytest.raises(ConfigError, match="RANDOM_SEED is set, but TESTING is not"):
        make_app(serve, RANDOM_SEED=7)
