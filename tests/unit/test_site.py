"""An app with plugins is the app that it was: what surrounds a request, and what it starts with."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guests
import pytest
from flask import (
    Flask,
    Response,
    abort,
    make_response,
    request,
    request_started,
    session,
    signals,
)
from guests import MakeApp
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.routing import BaseConverter, RequestRedirect
from werkzeug.test import EnvironBuilder, run_wsgi_app

ON_REQUEST, ON_RESPONSE = "on_request", "on_response"
#: A plugin that sees all there is of requests and responses, and edits nothing.
LOOKING = guests.module(dict.fromkeys((ON_REQUEST, ON_RESPONSE), guests.UNCHANGED))
#: A plugin that marks requests and responses, on one path.
MARKING = guests.module(
    {
        ON_REQUEST: f"(i64.const {guests.packed(1024, 19)})",
        ON_RESPONSE: f"(i64.const {guests.packed(1024, 19)})",
    },
    data=[(1024, guests.edits(guests.edit(guests.ADD_HEADER, b"X-Mark", b"1")))],
)


def put(folder: Path, name: str, text: str, manifest: str = "") -> None:
    """Drop a plugin into the folder."""
    (folder / f"{name}.wat").write_text(text)
    (folder / f"{name}.toml").write_text(manifest)


def editing(*edits: bytes) -> str:
    return guests.returning(ON_REQUEST, guests.edits(*edits))


def moving(path: bytes) -> str:
    return editing(guests.edit(guests.SET_PATH, b"", path))


def test_a_request_without_a_body_keeps_the_servers_input(make_app: MakeApp, folder: Path) -> None:
    """A view that upgrades the connection finds the socket behind it, whoever asked for bodies."""
    put(folder, "look", LOOKING)
    app, _ = make_app()
    seen: list[object] = []
    app.add_url_rule("/", view_func=lambda: seen.append(request.environ["wsgi.input"]) or "")
    servers_own = io.BytesIO()
    for terminated in (True, False):
        overrides = {"wsgi.input": servers_own, "wsgi.input_terminated": terminated}
        app.test_client().get("/", environ_overrides=overrides)
    assert [each is servers_own for each in seen] == [True, True]


class _Silent:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _SilentConverter(BaseConverter):
    def to_python(self, value: str) -> Any:
        return _Silent()


def test_an_argument_that_is_no_text_is_not_shown(make_app: MakeApp, folder: Path) -> None:
    """What a converter makes of the path is for the view; a plugin that needs it gets none."""
    put(folder, "look", LOOKING)
    put(
        folder,
        "reads",
        guests.module({ON_REQUEST: guests.UNCHANGED}),
        'capabilities = ["state"]\nstate.prefetch = ["key:{args:what}"]',
    )
    app, plugins = make_app(GRANTS={"reads": ["state"]}, STATE="memory:")
    app.url_map.converters["silent"] = _SilentConverter
    app.add_url_rule("/<silent:what>", view_func=lambda what: type(what).__name__)
    assert app.test_client().get("/x").text == "_Silent"
    with app.app_context():
        assert [(p["state"], p["calls"]) for p in plugins.status()["plugins"]] == [
            ("serving", 2),
            ("serving", 1),
        ]


def test_a_request_inside_a_request_meets_its_own_plugins_only(
    make_app: MakeApp, folder: Path
) -> None:
    """A view that makes requests of its own does not lend them its plugins."""
    put(folder, "mark", MARKING, 'match = { paths = ["/outer"] }')
    app, _ = make_app()

    @app.get("/outer")
    def outer() -> list[bool]:
        inner = app.test_client().get("/inner")
        with app.test_request_context("/inner"):
            app.preprocess_request()
            prepared = app.process_response(
                make_response(request.headers.get("X-Mark", "unmarked"))
            )
        responses = (inner, prepared)
        return [r.get_data() == b"unmarked" and "X-Mark" not in r.headers for r in responses]

    app.add_url_rule("/inner", view_func=lambda: request.headers.get("X-Mark", "unmarked"))
    response = app.test_client().get("/outer")
    assert (response.json, response.headers.getlist("X-Mark")) == ([True, True], ["1"])


class _Cut(io.RawIOBase):
    """What a server gives of a chunked body whose end does not come, or makes no sense.

    :param error: of the server's own kind.
    """

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        raise self.error


@pytest.mark.parametrize("error", [OSError, Exception])
def test_a_body_that_is_cut_off_or_malformed_is_the_clients_error(
    make_app: MakeApp, folder: Path, error: type[Exception]
) -> None:
    """What a plugin reads for itself fails as what the view reads with Werkzeug does."""
    put(folder, "look", LOOKING)
    app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: "", methods=["POST"])
    overrides = {"wsgi.input": _Cut(error), "wsgi.input_terminated": True}
    assert app.test_client().post("/", environ_overrides=overrides).status_code == 400


class _Failing:
    def __init__(self, done: list[str]) -> None:
        self.done = done

    def __iter__(self) -> Iterator[bytes]:
        yield b"first"
        raise RuntimeError("midway")

    def close(self) -> None:
        self.done.append("closed")


def test_a_stream_that_fails_while_it_is_buffered_is_closed(
    make_app: MakeApp, folder: Path
) -> None:
    """The client gets the app's error page, and what the stream holds is let go."""
    put(folder, "look", LOOKING, 'needs = { on_response = ["stream"] }')
    app, _ = make_app(lambda app: app.config.update(PROPAGATE_EXCEPTIONS=False))
    done: list[str] = []

    @app.get("/")
    def view() -> Response:
        response = Response(_Failing(done))
        response.call_on_close(lambda: done.append("called"))
        return response

    assert (app.test_client().get("/").status_code, done) == (500, ["closed", "called"])


def with_session(app: Flask) -> None:
    app.config["SECRET_KEY"] = "k"

    @app.get("/")
    def view() -> str:
        return f"{session.get('user')} {len(request.cookies)}"

    @app.get("/enter")
    def enter() -> str:
        session["user"] = "ann"
        return ""


def test_a_changed_cookie_changes_the_session(make_app: MakeApp, folder: Path) -> None:
    """The session is that of the cookies that the view sees, not of those that came."""
    put(folder, "strip", editing(guests.edit(guests.REMOVE_HEADER, b"Cookie")), 'match.paths=["/"]')
    app, _ = make_app(with_session)
    client = app.test_client()
    client.get("/enter")
    assert client.get("/").text == "None 0"
    cookie = client.get_cookie("session")
    assert cookie is not None
    sets = guests.edit(guests.SET_HEADER, b"Cookie", f"session={cookie.value}".encode())
    put(folder, "strip", editing(sets), 'match.paths=["/"]')
    app, _ = make_app(with_session)
    assert app.test_client().get("/").text == "ann 1"


def test_a_redirect_repeats_the_query_that_plugins_made(make_app: MakeApp, folder: Path) -> None:
    """What a plugin takes off a query does not come back with the slash that a path lacks."""
    put(folder, "strip", editing(guests.edit(guests.SET_QUERY, b"", b"page=2")))
    app, _ = make_app()
    app.add_url_rule("/list/", "list", lambda: request.query_string.decode())
    client = app.test_client()
    sent = "?page=2&token=secret"
    assert client.get("/list" + sent).headers["Location"] == "http://localhost/list/?page=2"
    assert client.get("/list/" + sent).text == "page=2"
    assert client.get("/nowhere" + sent).status_code == 404


def test_the_page_of_a_failure_sees_the_request_that_plugins_made(
    make_app: MakeApp, folder: Path
) -> None:
    """What one plugin has taken off the query is gone, too, when the next one fails."""
    put(folder, "a", editing(guests.edit(guests.SET_QUERY, b"", b"page=2")))
    put(folder, "b", guests.module({ON_REQUEST: guests.TRAP}), 'on_failure = "fail"')
    app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: "")
    app.register_error_handler(503, lambda _: (f"{dict(request.args)} {request.full_path}", 503))
    page = app.test_client().get("/?page=2&token=secret")
    assert (page.status_code, page.text) == (503, "{'page': '2'} /?page=2")


class _Middleware:
    """Takes a prefix off the path, and the method from a header.

    :param copies: whether it hands on an environ of its own.
    """

    def __init__(self, wsgi_app: Any, copies: bool) -> None:
        self.wsgi_app, self.copies = wsgi_app, copies

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if self.copies:
            environ = dict(environ)
        if environ["PATH_INFO"].startswith("/api/"):
            environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/api")
            environ["SCRIPT_NAME"] = "/api"
        environ["REQUEST_METHOD"] = environ.get("HTTP_X_METHOD", environ["REQUEST_METHOD"])
        return self.wsgi_app(environ, start_response)


@pytest.mark.parametrize("copies", [False, True], ids=["in-place", "copied"])
def test_middleware_inside_does_not_pass_a_plugin_by(
    make_app: MakeApp, folder: Path, copies: bool
) -> None:
    """A plugin is matched by what the app routes, though middleware was there before the host."""
    gate = editing(guests.edit(guests.ANSWER, b"", 403))
    put(folder, "gate", gate, 'match = [{ paths = ["/admin"] }, { methods = ["DELETE"] }]')
    put(folder, "move", moving(b"/new"), 'match.paths = ["/old"]')

    def prepare(app: Flask) -> None:
        app.add_url_rule("/admin", view_func=lambda: "secret")
        app.add_url_rule("/new", "new", lambda: "new", methods=["GET", "DELETE"])
        app.wsgi_app = _Middleware(app.wsgi_app, copies)  # type: ignore[method-assign]

    app, _ = make_app(prepare)
    client = app.test_client()
    assert [client.get(path).status_code for path in ("/admin", "/api/admin")] == [403, 403]
    assert client.get("/new", headers={"X-Method": "DELETE"}).status_code == 403
    assert [client.get(path).text for path in ("/old", "/api/old")] == ["new", "new"]


def test_starting_over_is_no_error_of_the_first_start(make_app: MakeApp, folder: Path) -> None:
    """Teardown functions run for both contexts, and are told of no error."""
    put(folder, "move", moving(b"/new"), 'match.paths = ["/old"]')
    seen: list[object] = []

    def prepare(app: Flask) -> None:
        app.teardown_request(lambda exc: seen.append((request.path, exc)))
        app.add_url_rule("/new", view_func=lambda: "new")

    app, _ = make_app(prepare)
    assert app.test_client().get("/old").text == "new"
    assert seen == [("/old", None), ("/new", None)]


def test_the_apps_own_rule_for_teardown_errors_still_counts(
    make_app: MakeApp, folder: Path
) -> None:
    """An app that ignores an error in teardown functions ignores it with plugins, too."""
    put(folder, "look", LOOKING)
    seen: list[object] = []

    def prepare(app: Flask) -> None:
        app.config["PROPAGATE_EXCEPTIONS"] = False
        app.should_ignore_error = (  # type: ignore[method-assign]
            lambda error: isinstance(error, LookupError)
        )
        app.teardown_request(lambda exc: seen.append(type(exc)))
        app.add_url_rule("/<int:n>", view_func=lambda n: [1][n] / 0)

    app, _ = make_app(prepare)
    client = app.test_client()
    assert [client.get(path).status_code for path in ("/1", "/0")] == [500, 500]
    assert seen == [type(None), ZeroDivisionError]


def test_only_the_context_that_served_is_kept_for_a_test(make_app: MakeApp, folder: Path) -> None:
    """``with client:`` ends one context, not also that of the start that was left."""
    put(folder, "move", moving(b"/new"), 'match.paths = ["/old"]')
    seen: list[str] = []
    app, _ = make_app(lambda app: app.teardown_request(lambda exc: seen.append(request.path)))
    app.add_url_rule("/new", view_func=lambda: "new")
    with app.test_client() as client:
        assert client.get("/old").text == "new"
        assert request.path == "/new"
        seen.clear()
    assert seen == ["/new"]


@pytest.mark.parametrize("match", ['match.endpoints = ["view"]', 'match.paths = ["/"]', ""])
def test_an_error_before_any_plugin_passes_through_response_hooks(
    make_app: MakeApp, folder: Path, match: str
) -> None:
    """An error page is a response too, when a receiver of a signal has failed."""
    put(folder, "hello", guests.adding("x-hello", "1"), match)
    app, _ = make_app(lambda app: app.config.update(PROPAGATE_EXCEPTIONS=False))
    app.add_url_rule("/", "view", lambda: "")

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError

    with request_started.connected_to(fails, app):
        response = app.test_client().get("/")
    assert (response.status_code, response.headers["X-Hello"]) == (500, "1")


def test_a_plugin_that_edits_nothing_changes_no_signal(make_app: MakeApp, folder: Path) -> None:
    """Signals and teardown functions come in the order in which they come without plugins."""

    def walk(app: Flask) -> list[object]:
        heard: list[object] = []
        app.config["PROPAGATE_EXCEPTIONS"] = False
        app.add_url_rule("/", view_func=lambda: "")
        app.add_url_rule("/boom", "boom", lambda: 1 // 0)
        app.teardown_request(lambda exc: heard.append(("teardown", repr(exc))))
        for name in ("started", "finished", "tearing_down"):
            signal = getattr(signals, f"request_{name}")
            signal.connect(lambda *_, _n=name, **__: heard.append(_n), app, weak=False)
        client = app.test_client()
        heard.extend(client.get(path).headers.to_wsgi_list() for path in ("/", "/boom", "/none"))
        return heard

    put(folder, "look", LOOKING)
    app, _ = make_app()
    bare = Flask("shop")
    assert walk(app) == walk(bare)


@pytest.mark.parametrize("path", ["/", "/old"])
@pytest.mark.parametrize("way", ["data", "form", "json"])
def test_what_was_read_of_a_body_before_plugins_is_not_lost(
    make_app: MakeApp, folder: Path, way: str, path: str
) -> None:
    """A receiver of a signal may read the body; an edit does not cost the view its own."""
    put(folder, "mark", MARKING)
    if way != "form":  # a form that was parsed cannot be read again by a request that starts over
        put(folder, "move", moving(b"/"), 'match.paths = ["/old"]')
    app, _ = make_app()
    readers: dict[str, Any] = {
        "data": lambda: request.get_data().decode(),
        "form": lambda: request.form["n"],
        "json": lambda: request.get_json(force=True)["n"],
    }
    app.add_url_rule("/", "view", readers[way], methods=["POST"])
    app.add_url_rule("/old", "old", readers[way], methods=["POST"])

    def reads(*_: object, **__: object) -> None:
        assert readers[way]()

    sent: dict[str, Any] = {"form": {"data": {"n": "1"}}, "json": {"json": {"n": "1"}}}
    with request_started.connected_to(reads, app):
        response = app.test_client().post(path, **sent.get(way, {"data": "1"}))
    assert (response.text, response.headers["X-Mark"]) == ("1", "1")


def test_a_request_forwarded_with_its_own_environ_keeps_its_plugins(
    make_app: MakeApp, folder: Path
) -> None:
    """What a view makes of the environ that it has is another request, with its own plugins."""
    put(folder, "mark", MARKING, 'match.paths = ["/outer"]')
    put(folder, "hello", guests.adding("x-hello", "1"), 'match.paths = ["/inner"]')
    app, _ = make_app()

    @app.get("/outer")
    def outer() -> str:
        request.environ["PATH_INFO"] = "/inner"
        headers: list[tuple[str, str]] = []
        body = app(request.environ, lambda status, given: headers.extend(given))
        names = [name for name, _ in headers if name.startswith("x-")]
        return f"{b''.join(body).decode()} {names}"

    app.add_url_rule("/inner", view_func=lambda: "inner")
    response = app.test_client().get("/outer")
    assert (response.text, response.headers.getlist("X-Mark")) == ("inner ['x-hello']", ["1"])


@pytest.mark.parametrize("hook", [ON_REQUEST, ON_RESPONSE])
def test_a_trapped_failure_says_what_failed(make_app: MakeApp, folder: Path, hook: str) -> None:
    """With TRAP_HTTP_EXCEPTIONS a test meets the error that a client would have been shown."""
    put(folder, "broken", guests.module({hook: guests.TRAP}), 'on_failure = "fail"')
    app, _ = make_app(lambda app: app.config.update(TRAP_HTTP_EXCEPTIONS=True))
    app.add_url_rule("/", view_func=lambda: "")
    with pytest.raises(ServiceUnavailable, match="Request id"):
        app.test_client().get("/")


def exchanged(app: Flask, method: str) -> tuple[int, str | None, bytes]:
    """Ask an app as a server does; return status, ``Content-Length`` and what is sent as body."""
    environ = EnvironBuilder("/", method=method).get_environ()
    body, status, headers = run_wsgi_app(app, environ)
    return int(status.split()[0]), headers.get("Content-Length"), b"".join(body)


@pytest.mark.parametrize("how", ["abort", "redirect", "length", "stream", "after"])
def test_a_response_to_get_is_framed_as_one_whatever_a_plugin_made_of_the_method(
    make_app: MakeApp, folder: Path, how: str
) -> None:
    """No length is promised for a body that does not come: the next response would be taken for it.

    Flask makes a response of an HTTP error by calling it with the request's environ; a view may
    give HEAD the length of what GET would give; and what fails after a request is another error.
    """
    put(folder, "heads", editing(guests.edit(guests.SET_METHOD, b"", b"HEAD")))
    app, _ = make_app()
    app.logger.disabled, app.config["PROPAGATE_EXCEPTIONS"] = True, False

    @app.get("/")
    def view() -> Response:
        if how == "abort":
            abort(418)
        if how == "redirect":
            raise RequestRedirect("/elsewhere")
        if how == "stream":
            return Response(iter(()), headers={"Content-Length": "1000"})
        return Response(headers={"Content-Length": "1000"} if how == "length" else {})

    @app.after_request
    def fail(response: Response) -> Response:
        if how == "after":
            raise ValueError
        return response

    _, length, body = exchanged(app, "GET")
    assert length in (None, str(len(body)))


def test_a_wsgi_app_that_a_view_returns_sees_the_method_that_plugins_made(
    make_app: MakeApp, folder: Path
) -> None:
    """It handles the request, as a view does; only its response is framed for the client."""
    put(folder, "gets", editing(guests.edit(guests.SET_METHOD, b"", b"GET")))
    app, _ = make_app()

    def inner(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["REQUEST_METHOD"].encode()]

    app.add_url_rule("/", view_func=lambda: inner)
    assert exchanged(app, "DELETE") == (200, None, b"GET")


def test_a_response_to_head_has_no_body_although_all_fails(make_app: MakeApp, folder: Path) -> None:
    """Neither what a plugin made of the method nor what fails afterwards makes one."""
    put(folder, "gets", editing(guests.edit(guests.SET_METHOD, b"", b"GET")))
    app, _ = make_app()
    app.logger.disabled, app.config["PROPAGATE_EXCEPTIONS"] = True, False
    app.add_url_rule("/", view_func=lambda: "page")

    @app.after_request
    def fail(response: Response) -> Response:
        raise ValueError

    status, _, body = exchanged(app, "HEAD")
    assert (status, body) == (500, b"")


def test_long_paths_are_not_kept(make_app: MakeApp, folder: Path) -> None:
    """Whoever varies the path, a client or a plugin, does not make a worker keep them all."""
    put(folder, "marks", MARKING, 'match.paths = ["/**"]')
    app, _ = make_app()
    snapshot = app.extensions["plugin_host"].snapshot
    tracemalloc.start()
    try:
        for number in range(100):
            path = f"/{number}😀{'a' * 16_000}"
            assert snapshot.plan("GET", path, None) is not None
            assert snapshot.plan_early("GET", path.encode().decode("latin-1")) is not None
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
