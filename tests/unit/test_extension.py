"""The Flask extension: registration, requests and responses through plugins, business hooks."""

from __future__ import annotations

import functools
import io
import json
import logging
from pathlib import Path
from typing import Any

import guests
import msgspec
import pytest
from flask import (
    Blueprint,
    Flask,
    Request,
    Response,
    abort,
    g,
    request,
    request_started,
    send_file,
    session,
    stream_with_context,
)
from guests import MakeApp

from plugin_host import ConfigError, GuestError, HookError, PayloadError, PluginHost

ON_REQUEST, ON_RESPONSE = "on_request", "on_response"


def put(folder: Path, name: str, text: str, manifest: str | None = None) -> None:
    """Drop a plugin into the folder."""
    (folder / f"{name}.wat").write_text(text)
    if manifest is not None:
        (folder / f"{name}.toml").write_text(manifest)


def on_request(*edits: bytes) -> str:
    return guests.returning(ON_REQUEST, guests.edits(*edits))


def on_response(*edits: bytes) -> str:
    return guests.returning(ON_RESPONSE, guests.edits(*edits))


def test_a_response_hook_adds_a_header(make_app: MakeApp, folder: Path) -> None:
    """The shortest plugin changes every response."""
    put(folder, "hello", guests.adding("x-hello", "from wasm"))
    app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: "hi")
    response = app.test_client().get("/")
    assert (response.status_code, response.text, response.headers["X-Hello"]) == (
        200,
        "hi",
        "from wasm",
    )


def test_request_edits_reach_the_view(make_app: MakeApp, folder: Path) -> None:
    """Headers, query, body and g are for the view what the client might have sent."""
    put(
        folder,
        "edit",
        on_request(
            guests.edit(guests.SET_HEADER, b"X-User", b"ada"),
            guests.edit(guests.ADD_HEADER, b"Accept-Language", b"fr"),
            guests.edit(guests.REMOVE_HEADER, b"X-Secret"),
            guests.edit(guests.SET_QUERY, b"", b"page=2"),
            guests.edit(guests.SET_BODY, b"", b'{"n": 1}'),
            guests.edit(guests.SET_HEADER, b"Content-Type", b"application/json"),
            guests.edit(guests.SET_G, b"tenant", "é".encode()),
        ),
    )
    app, _ = make_app()

    @app.post("/")
    def view() -> dict[str, Any]:
        return {
            "user": request.headers["X-User"],
            "languages": request.headers["Accept-Language"],
            "secret": request.headers.get("X-Secret"),
            "args": request.args.to_dict(),
            "json": request.get_json(),
            "tenant": g.tenant,
        }

    response = app.test_client().post(
        "/?page=1", data=b"old", headers={"X-Secret": "s", "Accept-Language": "en"}
    )
    assert response.json == {
        "user": "ada",
        "languages": "en, fr",
        "secret": None,
        "args": {"page": "2"},
        "json": {"n": 1},
        "tenant": "é",
    }


def test_edits_win_over_what_a_signal_handler_cached(make_app: MakeApp, folder: Path) -> None:
    """Nothing that was worked out from the old request survives an edit."""
    put(
        folder,
        "edit",
        on_request(
            guests.edit(guests.SET_QUERY, b"", b"a=2"),
            guests.edit(guests.SET_HEADER, b"User-Agent", b"2"),
            guests.edit(guests.SET_BODY, b"", b"f=2"),
        ),
    )
    app, _ = make_app()

    def look(*_: object, **__: object) -> None:
        assert (request.args["a"], str(request.user_agent), request.form["f"]) == ("1", "1", "1")

    app.post("/")(lambda: f"{request.args['a']}{request.user_agent}{request.form['f']}")
    with request_started.connected_to(look, app):
        headers = {"User-Agent": "1"}
        assert app.test_client().post("/?a=1", data={"f": "1"}, headers=headers).text == "222"


class _TenantRequest(Request):
    @functools.cached_property
    def tenant(self) -> str:
        return self.headers["X-Tenant"]


def test_edits_win_over_what_the_apps_own_request_class_cached(
    make_app: MakeApp, folder: Path
) -> None:
    """It may keep what it has worked out as any Python class does."""
    put(folder, "edit", on_request(guests.edit(guests.SET_HEADER, b"X-Tenant", b"2")))
    app, _ = make_app()
    app.request_class = _TenantRequest

    def look(*_: object, **__: object) -> None:
        assert request.tenant == "1"  # type: ignore[attr-defined]

    app.get("/")(lambda: request.tenant)  # type: ignore[attr-defined]
    with request_started.connected_to(look, app):
        assert app.test_client().get("/", headers={"X-Tenant": "1"}).text == "2"


def test_a_plugin_answers_instead_of_the_view(make_app: MakeApp, folder: Path) -> None:
    """An answer ends the request; response hooks still see it; repeated headers are kept."""
    put(
        folder,
        "gate",
        on_request(
            guests.edit(guests.ANSWER, b"", 403),
            guests.edit(guests.ADD_HEADER, b"Set-Cookie", b"a=1"),
            guests.edit(guests.ADD_HEADER, b"Set-Cookie", b"b=2"),
            guests.edit(guests.SET_BODY, b"", b"sold out"),
        ),
    )
    put(folder, "hello", guests.adding("x-hello", "1"))
    app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: abort(500))
    response = app.test_client().get("/")
    assert (response.status_code, response.data) == (403, b"sold out")
    assert response.headers.getlist("Set-Cookie") == ["a=1", "b=2"]
    assert "Content-Type" not in response.headers
    assert (response.headers["Content-Length"], response.headers["X-Hello"]) == ("8", "1")


def test_a_rewritten_path_is_routed_as_if_the_client_had_sent_it(
    make_app: MakeApp, folder: Path
) -> None:
    """Routing, URL processors and the target blueprint's before_request see the new path."""
    put(
        folder,
        "rewrite",
        on_request(
            guests.edit(guests.SET_PATH, b"", b"/shop/7"),
            guests.edit(guests.SET_METHOD, b"", b"POST"),
            guests.edit(guests.SET_G, b"via", b"plugin"),
            guests.edit(guests.SET_CONTEXT, b"", b"ctx"),
        ),
        'match = { paths = ["/old"] }',
    )
    seen: list[str] = []

    def prepare(app: Flask) -> None:
        app.before_request(lambda: seen.append(f"app {request.path}"))
        app.teardown_request(lambda exc: None)
        old, shop = Blueprint("old", __name__), Blueprint("shop", __name__, url_prefix="/shop")
        old.before_request(lambda: seen.append("old blueprint"))
        shop.before_request(lambda: seen.append("shop blueprint"))
        shop.url_value_preprocessor(lambda endpoint, values: seen.append(f"{endpoint} {values}"))
        old.get("/old")(lambda: "old")
        shop.post("/<int:sku>", endpoint="buy")(
            lambda sku: f"{request.method} {request.path} {sku} {g.via} {request.get_data()!r}"
        )
        app.register_blueprint(old)
        app.register_blueprint(shop)

    app, _ = make_app(prepare)
    response = app.test_client().get("/old", data=b"kept")
    assert response.text == "POST /shop/7 7 plugin b'kept'"
    assert seen == ["shop.buy {'sku': 7}", "app /shop/7", "shop blueprint"]


def test_plugins_after_a_rewrite_see_the_new_request_once(make_app: MakeApp, folder: Path) -> None:
    """A later plugin is matched by the new path, an earlier one is not called again."""
    put(
        folder,
        "a",
        on_request(
            guests.edit(guests.SET_PATH, b"", b"/new"), guests.edit(guests.ADD_HEADER, b"X-A", b"1")
        ),
        "order = 1",
    )
    put(
        folder,
        "b",
        on_request(guests.edit(guests.ADD_HEADER, b"X-B", b"1")),
        'match={paths=["/old"]}',
    )
    put(
        folder,
        "c",
        on_request(guests.edit(guests.ADD_HEADER, b"X-C", b"1")),
        'match={paths=["/new"]}',
    )
    app, _ = make_app()
    app.add_url_rule(
        "/new", view_func=lambda: {k: request.headers.get(k) for k in ("X-A", "X-B", "X-C")}
    )
    assert app.test_client().get("/old").json == {"X-A": "1", "X-B": None, "X-C": "1"}


def test_context_goes_from_on_request_to_on_response_of_the_same_plugin(
    make_app: MakeApp, folder: Path
) -> None:
    """The response record carries what this plugin's on_request left, and nobody else's."""
    # Answers the response hook with its whole record as the body.
    echo_record = guests.module(
        {
            ON_REQUEST: f"(i64.const {guests.packed(guests.RESULT, 4 + 8 + 5)})",
            ON_RESPONSE: f"""
              (i32.store (i32.const 2048) (i32.const 0x0301))
              (i32.store (i32.const 2052) (i32.const 7))
              (i32.store (i32.const 2056) (local.get $len))
              (memory.copy (i32.const 2060) (i32.const {guests.HEAP}) (local.get $len))
              (i64.or (i64.const {guests.packed(2048, 0)})
                      (i64.extend_i32_u (i32.add (local.get $len) (i32.const 12))))""",
        },
        data=[(guests.RESULT, guests.edits(guests.edit(guests.SET_CONTEXT, b"", b"mine!")))],
    )
    put(folder, "echo", echo_record, 'needs = { on_response = ["context"] }')
    put(folder, "other", on_request(guests.edit(guests.SET_CONTEXT, b"", b"yours")))
    app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: "body")
    data = app.test_client().get("/").data
    assert b":context" in data
    assert data.endswith(b"mine!")
    assert b"yours" not in data


def test_response_hooks_run_in_reverse_order(make_app: MakeApp, folder: Path) -> None:
    """``order`` then name on the way in, the reverse on the way out."""
    for name, order in (("b", 1), ("c", 1), ("a", 2)):
        put(
            folder,
            name,
            on_response(guests.edit(guests.ADD_HEADER, b"x-o", name.encode())),
            f"order={order}",
        )
    app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: "")
    assert app.test_client().get("/").headers.getlist("x-o") == ["a", "c", "b"]


def test_a_response_is_edited_in_every_part(make_app: MakeApp, folder: Path) -> None:
    """Status, headers and body; what described the old body goes with it."""
    put(
        folder,
        "edit",
        on_response(
            guests.edit(guests.SET_STATUS, b"", 202),
            guests.edit(guests.SET_HEADER, b"X-One", b"2"),
            guests.edit(guests.REMOVE_HEADER, b"X-Gone"),
            guests.edit(guests.SET_BODY, b"", b"new body"),
        ),
    )
    app, _ = make_app()

    @app.get("/")
    def view() -> Response:
        response = Response("old", headers=[("X-One", "1"), ("X-Gone", "1"), ("X-One", "1")])
        response.set_etag("of-the-old-body")
        return response

    response = app.test_client().get("/")
    assert (response.status, response.data) == ("202 ACCEPTED", b"new body")
    assert response.headers.getlist("X-One") == ["2"]
    assert "X-Gone" not in response.headers
    assert "ETag" not in response.headers
    assert response.headers["Content-Length"] == "8"


BODY_SETTER = on_response(guests.edit(guests.SET_BODY, b"", b"changed"))


@pytest.mark.parametrize("status", [200, 304])
def test_a_new_body_is_sent_in_place_of_a_file_that_the_server_would_send(
    make_app: MakeApp, folder: Path, status: int
) -> None:
    """What names a file to the server in front belongs to the body that a plugin replaces."""
    edit = (guests.SET_BODY, b"", b"changed") if status == 200 else (guests.SET_STATUS, b"", 304)
    put(folder, "edit", on_response(guests.edit(*edit)))
    app, _ = make_app(lambda app: app.config.update(USE_X_SENDFILE=True))
    app.get("/")(lambda: send_file(__file__, "text/plain"))
    response = app.test_client().get("/")
    assert (response.status_code, response.headers.get("X-Sendfile")) == (status, None)
    assert response.data == (b"changed" if status == 200 else b"")


def test_a_new_body_has_its_own_length_whatever_the_response_class(
    make_app: MakeApp, folder: Path
) -> None:
    """A class that leaves the length to its views does not send that of the old body."""

    class Unmeasured(Response):
        automatically_set_content_length = False

    put(folder, "edit", BODY_SETTER)
    app, _ = make_app()
    app.response_class = Unmeasured
    app.add_url_rule("/", view_func=lambda: Unmeasured("old", headers={"Content-Length": "3"}))
    response = app.test_client().get("/")
    assert (response.headers["Content-Length"], response.data) == ("7", b"changed")


def test_streams_and_files_are_left_alone_unless_asked_for(make_app: MakeApp, folder: Path) -> None:
    """A hook that needs bodies does not cause a stream to be buffered."""
    put(folder, "look", guests.module({ON_RESPONSE: guests.UNCHANGED}))
    app, _ = make_app()
    produced: list[int] = []

    @app.get("/stream")
    def stream() -> Response:
        def chunks() -> Any:
            for n in range(3):
                produced.append(n)
                yield f"{n};"

        return Response(stream_with_context(chunks()))

    app.add_url_rule("/file", view_func=lambda: send_file(io.BytesIO(b"file"), "text/plain"))
    response = app.test_client().get("/stream")
    assert (response.data, produced) == (b"0;1;2;", [0, 1, 2])
    assert app.test_client().get("/file").data == b"file"


@pytest.mark.parametrize(("limit", "expected"), [(1 << 20, b"changed"), (100, b"changed")])
def test_a_stream_is_buffered_up_to_the_limit_when_asked_for(
    make_app: MakeApp, folder: Path, limit: int, expected: bytes
) -> None:
    """``needs.stream`` shows streams; closing the original is not forgotten."""
    put(folder, "set", BODY_SETTER, 'needs = { on_response = ["stream"] }')
    app, _ = make_app(MAX_BODY=limit)
    closed: list[bool] = []

    class Chunks:
        def __iter__(self) -> Any:
            return iter([b"x" * 60, b"y" * 60, b"z" * 60])

        def close(self) -> None:
            closed.append(True)

    app.add_url_rule("/", view_func=lambda: Response(Chunks()))
    response = app.test_client().get("/")
    assert (response.data, closed) == (expected, [True])


def test_a_stream_over_the_limit_comes_through_whole(make_app: MakeApp, folder: Path) -> None:
    """What was read ahead is re-joined with the rest."""
    put(
        folder,
        "look",
        guests.module({ON_RESPONSE: guests.UNCHANGED}),
        'needs={on_response=["stream"]}',
    )
    app, _ = make_app(MAX_BODY=100)
    app.add_url_rule("/", view_func=lambda: Response(b"%03d" % n for n in range(200)))
    assert app.test_client().get("/").data == b"".join(b"%03d" % n for n in range(200))


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_a_body_gets_none(make_app: MakeApp, folder: Path, status: int) -> None:
    """204 and 304 stay empty whatever a plugin sets."""
    put(folder, "set", BODY_SETTER)
    app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: ("", status))
    response = app.test_client().get("/")
    assert (response.status_code, response.data) == (status, b"")


def expecting(hook: str, flags: int) -> str:
    """A guest that needs nothing but bodies, and traps unless its record has these flags and no
    body.
    """
    got_flags, got_length = guests.HEAP + 8, guests.HEAP + 16
    check = f"""(if (i32.ne (i32.load (i32.const {got_flags})) (i32.const {flags}))
                (then unreachable))
      (if (i32.load (i32.const {got_length})) (then unreachable)) (i64.const 0)"""
    return guests.module({hook: check})


@pytest.mark.parametrize(
    ("hook", "order", "method", "result", "flags", "expected"),
    [
        (ON_REQUEST, 200, "POST", guests.edit(guests.SET_BODY, b"", bytes(1001)), 2, b"1001"),
        (ON_RESPONSE, 50, "POST", guests.edit(guests.SET_BODY, b"", bytes(1001)), 2, bytes(1001)),
        (ON_RESPONSE, 50, "HEAD", guests.edit(guests.SET_BODY, b"", b"body"), 2, b""),
        (ON_RESPONSE, 50, "POST", guests.edit(guests.SET_STATUS, b"", 204), 1, b""),
    ],
    ids=["request-above-limit", "response-above-limit", "head", "emptied"],
)
def test_what_a_plugin_made_of_a_body_is_shown_by_the_rules_of_any_body(
    make_app: MakeApp,
    folder: Path,
    hook: str,
    order: int,
    method: str,
    result: bytes,
    flags: int,
    expected: bytes,
) -> None:
    """The next plugin is not passed a body above the limit, nor one that nobody will see."""
    put(folder, "sets", guests.returning(hook, guests.edits(result)))
    needs = f'needs.{hook} = ["body"]\norder = {order}\non_failure = "fail"'
    put(folder, "looks", expecting(hook, flags), needs)
    app, _ = make_app(MAX_BODY=1000)
    app.add_url_rule(
        "/", view_func=lambda: str(len(request.get_data())), methods=["POST", "HEAD", "GET"]
    )
    response = app.test_client().open("/", method=method)
    assert response.status_code == (204 if flags == 1 else 200)
    assert response.data == expected


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_status_without_a_body_empties_a_part_of_one_too(
    make_app: MakeApp, folder: Path, status: int
) -> None:
    """Nothing of a range is left when a plugin makes its response one without a body."""
    put(folder, "empties", on_response(guests.edit(guests.SET_STATUS, b"", status)))
    app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: ("part", 206, {"Content-Range": "bytes 0-3/10"}))
    response = app.test_client().get("/")
    assert (response.status_code, response.data) == (status, b"")
    assert response.headers.get("Content-Length", "0") == "0"


def test_a_plugin_that_says_not_modified_leaves_the_etag(make_app: MakeApp, folder: Path) -> None:
    """It is of what the client has, which needs it for the next request."""
    put(folder, "same", on_response(guests.edit(guests.SET_STATUS, b"", 304)))
    app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: ("page", {"ETag": '"1"'}))
    response = app.test_client().get("/")
    assert (response.status_code, response.data) == (304, b"")
    assert response.headers.to_wsgi_list() == [("ETag", '"1"')]


def test_head_ranges_and_non_ascii_headers_come_through_unharmed(
    make_app: MakeApp, folder: Path
) -> None:
    """A header edit beside them changes nothing else."""
    put(folder, "hello", guests.adding("x-hello", "1"))
    app, _ = make_app()

    @app.get("/")
    def view() -> Response:
        response = send_file(io.BytesIO(b"0123456789"), "text/plain", etag=False)
        response.headers["X-Name"] = "caf\xe9"
        return response

    client = app.test_client()
    part = client.get("/", headers={"Range": "bytes=2-4"})
    head = client.head("/")
    assert (part.status_code, part.data) == (206, b"234")
    assert (part.headers["Content-Range"], part.headers["X-Name"]) == ("bytes 2-4/10", "caf\xe9")
    assert (head.data, head.headers["Content-Length"], head.headers["X-Hello"]) == (b"", "10", "1")


def test_bodies_are_not_read_unless_a_matching_plugin_needs_them(
    make_app: MakeApp, folder: Path
) -> None:
    """Without the need the stream is the view's alone."""
    put(
        folder,
        "look",
        guests.module({ON_REQUEST: guests.UNCHANGED}),
        'needs = { on_request = ["path"] }',
    )
    app, _ = make_app()

    class Untouchable(io.BytesIO):
        def read(self, *args: Any) -> bytes:
            raise AssertionError("the body was read")

    app.add_url_rule("/", view_func=lambda: "ok", methods=["POST"])
    response = app.test_client().post(
        "/", input_stream=Untouchable(), headers={"Content-Length": "10"}
    )
    assert response.text == "ok"


@pytest.mark.parametrize("chunked", [False, True], ids=["content-length", "chunked"])
@pytest.mark.parametrize("policy", ["omit", "reject"])
def test_a_body_over_the_limit_is_omitted_or_rejected(
    make_app: MakeApp, folder: Path, chunked: bool, policy: str
) -> None:
    """The manifest chooses: the view still gets all of it, or the client gets 413."""
    put(
        folder, "look", guests.module({ON_REQUEST: guests.UNCHANGED}), f'oversize_body = "{policy}"'
    )
    app, _ = make_app(MAX_BODY=1000)
    app.add_url_rule("/", view_func=lambda: str(len(request.get_data())), methods=["POST"])
    body = io.BytesIO(bytes(5000))
    if chunked:
        response = app.test_client().post(
            "/", input_stream=body, environ_overrides={"wsgi.input_terminated": True}
        )
    else:
        response = app.test_client().post(
            "/", input_stream=body, headers={"Content-Length": "5000"}
        )
    assert response.status_code == (200 if policy == "omit" else 413)
    assert (response.text == "5000") is (policy == "omit")


def test_a_length_of_more_digits_than_python_reads_is_over_the_limit(
    make_app: MakeApp, folder: Path
) -> None:
    """What no server lets through is no error of the app's either."""
    put(folder, "look", guests.module({ON_REQUEST: guests.UNCHANGED}), 'oversize_body = "reject"')
    app, _ = make_app()
    response = app.test_client().post("/", environ_overrides={"CONTENT_LENGTH": "9" * 5000})
    assert response.status_code == 413


def test_a_failing_request_hook_answers_503_with_a_request_id_and_no_internals(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The client learns an id, the log learns plugin, version, hook, cause and the same id."""
    put(folder, "broken", guests.module({ON_REQUEST: guests.TRAP}), 'version = "1.2"')
    app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: "never")
    response = app.test_client().get("/")
    request_id = response.headers["X-Request-ID"]
    assert response.status_code == 503
    assert request_id in response.text
    assert "unreachable" not in response.text
    assert "broken" not in response.text
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert line == (
        "plugin broken 1.2, hook on_request: unreachable (in on_request); policy fail,"
        f" request {request_id}"
    )


def test_the_apps_own_503_page_is_used(make_app: MakeApp, folder: Path) -> None:
    """A failing hook is an HTTPException like any other for the app's error handlers."""
    put(folder, "broken", guests.module({ON_REQUEST: guests.TRAP}))
    app, _ = make_app(lambda app: app.register_error_handler(503, lambda e: (f"own {e.code}", 503)))
    assert app.test_client().get("/").text == "own 503"


@pytest.mark.parametrize(
    ("hook", "manifest", "status"),
    [
        (ON_REQUEST, "", 503),
        (ON_REQUEST, 'on_failure = "skip"', 200),
        (ON_RESPONSE, "", 200),
        (ON_RESPONSE, 'on_failure = { on_response = "fail" }', 503),
    ],
)
@pytest.mark.parametrize(
    "body", [guests.TRAP, guests.SPIN, f"(i64.const {guests.packed(1 << 31, 4)})"]
)
def test_the_failure_policy_decides(
    make_app: MakeApp, folder: Path, hook: str, manifest: str, status: int, body: str
) -> None:
    """Trap, deadline and malformed result alike; request hooks fail, response hooks skip."""
    put(folder, "broken", guests.module({hook: body}), manifest)
    put(folder, "hello", guests.adding("x-hello", "1"))
    app, plugins = make_app(TIMEOUT=0.01)
    app.add_url_rule("/", view_func=lambda: "ok")
    client = app.test_client()
    assert [client.get("/").status_code for _ in range(3)] == [status] * 3
    with app.app_context():
        broken = next(p for p in plugins.status()["plugins"] if p["name"] == "broken")
    assert (broken["errors"], broken["calls"], broken["instances"]) == (3, 3, 0)


def test_a_hook_that_grows_memory_to_the_cap_hurts_only_itself(
    make_app: MakeApp, folder: Path
) -> None:
    """Growth beyond the cap is refused to the guest; the request goes on."""
    body = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (i64.const 0)"
    put(folder, "hungry", guests.module({ON_REQUEST: body}), "limits = { memory_mb = 2 }")
    app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: "ok")
    assert app.test_client().get("/").text == "ok"


def test_plugins_are_matched_by_path_method_and_endpoint(make_app: MakeApp, folder: Path) -> None:
    """Only requests that fit every part of a rule meet the plugin."""
    put(
        folder,
        "pick",
        guests.adding("x-pick", "1"),
        'match = { paths = ["/api/**"], methods = ["GET"], endpoints = ["item"] }',
    )
    app, _ = make_app()
    app.add_url_rule("/api/<x>", "item", lambda x: x, methods=["GET", "POST"])
    app.add_url_rule("/web/<x>", "page", lambda x: x)
    client = app.test_client()
    answers = [client.get("/api/1"), client.post("/api/1"), client.get("/web/1"), client.get("/no")]
    assert ["x-pick" in r.headers for r in answers] == [True, False, False, False]


@pytest.mark.parametrize("path", ["/admin", "//admin", "///admin", "admin"])
def test_no_spelling_of_a_path_passes_a_plugin_by(
    make_app: MakeApp, folder: Path, path: str
) -> None:
    """Whatever routes to the view is matched by the plugin that guards it."""
    put(
        folder, "gate", on_request(guests.edit(guests.ANSWER, b"", 403)), 'match={paths=["/admin"]}'
    )
    app, _ = make_app()
    app.add_url_rule("/admin", view_func=lambda: "secret")
    response = app.test_client().get("/", environ_overrides={"PATH_INFO": path})
    assert response.status_code == 403


def test_no_spelling_of_a_method_passes_a_plugin_by(make_app: MakeApp, folder: Path) -> None:
    """A server may hand on a method in lower case, and the framework routes it all the same."""
    put(
        folder, "gate", on_request(guests.edit(guests.ANSWER, b"", 403)), 'match={methods=["POST"]}'
    )
    app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: "secret", methods=["POST"])
    overrides = {"REQUEST_METHOD": "post"}
    assert app.test_client().open("/", environ_overrides=overrides).status_code == 403


def test_the_session_cookie_is_shown_to_response_hooks(make_app: MakeApp, folder: Path) -> None:
    """A plugin sees what the client will get, cookies that are set last included."""
    put(folder, "strip", on_response(guests.edit(guests.REMOVE_HEADER, b"Set-Cookie")))
    app, _ = make_app(lambda app: app.config.update(SECRET_KEY="k"))

    @app.get("/")
    def view() -> str:
        session["n"] = 1
        return ""

    assert "Set-Cookie" not in app.test_client().get("/").headers


def test_error_pages_pass_through_response_hooks(make_app: MakeApp, folder: Path) -> None:
    """404 and 500 are responses too."""
    put(folder, "hello", guests.adding("x-hello", "1"))
    app, _ = make_app(lambda app: app.config.update(PROPAGATE_EXCEPTIONS=False))

    @app.get("/boom")
    def boom() -> str:
        raise RuntimeError

    client = app.test_client()
    responses = client.get("/none"), client.get("/boom")
    assert [(r.status_code, r.headers["x-hello"]) for r in responses] == [(404, "1"), (500, "1")]


def test_async_views_and_sessions_work_as_before(make_app: MakeApp, folder: Path) -> None:
    """The extension gets into nobody's way."""
    put(folder, "hello", guests.adding("x-hello", "1"))
    app, _ = make_app(lambda app: app.config.update(SECRET_KEY="k"))

    @app.get("/")
    async def view() -> str:
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    client = app.test_client()
    assert [client.get("/").text for _ in range(2)] == ["1", "2"]


class Quote(msgspec.Struct):
    total: int


#: Answers {"total":N} for a fixed N.
def pricing(total: int, hook: str = "price") -> str:
    return guests.returning(hook, b'{"total":%d}' % total)


def test_business_hooks_combine_as_declared(make_app: MakeApp, folder: Path) -> None:
    """first: the first answer; chain: each feeds the next; collect: all, in order."""
    put(
        folder, "a", guests.module(dict.fromkeys(("one", "fed", "all"), "(i64.const 0)")), "order=1"
    )
    echo = guests.ECHO
    put(folder, "b", guests.module({"one": echo, "fed": echo, "all": echo}), "order=2")
    put(folder, "c", pricing(5, "one"), "order=3")
    put(folder, "d", pricing(6, "fed"), "order=4")
    put(folder, "e", pricing(7, "all"), "order=5")
    app, plugins = make_app()
    plugins.hookspec("one", combine="first", input=Quote, output=Quote)
    plugins.hookspec("fed", combine="chain", input=Quote)
    plugins.hookspec("all", combine="collect", input=Quote, output=Quote)
    with app.app_context():
        assert plugins.call("one", Quote(1)) == Quote(1)
        assert plugins.call("fed", Quote(1)) == Quote(6)
        assert plugins.call("all", {"total": 1}) == [Quote(1), Quote(7)]


def test_the_python_default_answers_when_no_plugin_does(make_app: MakeApp, folder: Path) -> None:
    """The decorated function stays an ordinary function."""
    app, plugins = make_app()

    @plugins.hookspec("price", combine="first", input=Quote, output=Quote)
    def price(quote: Quote) -> Quote:
        return Quote(quote.total * 2)

    plugins.hookspec("chained", combine="chain")
    plugins.hookspec("collected", combine="collect")
    plugins.hookspec("nothing", combine="first")
    with app.app_context():
        assert plugins.call("price", Quote(2)) == price(Quote(2)) == Quote(4)
        assert plugins.call("chained", {"a": 1}) == {"a": 1}
        assert plugins.call("collected", 1) == []
        assert plugins.call("nothing", 1) is None


@pytest.mark.parametrize(
    "text",
    [
        guests.module({"price": guests.TRAP}),
        guests.module({"price": guests.SPIN}),
        guests.returning("price", b'{"total":"many"}'),
        guests.returning("price", b"not json"),
        guests.error(b"no stock").replace('"ask"', '"price"'),
    ],
    ids=["trap", "deadline", "wrong-shape", "not-json", "declared-error"],
)
def test_a_failing_business_hook_is_skipped_and_the_default_answers(
    make_app: MakeApp, folder: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is that plugin's failure, not the page's."""
    put(folder, "broken", text)
    app, plugins = make_app(TIMEOUT=0.01)
    plugins.hookspec("price", combine="first", input=Quote, output=Quote)(lambda quote: Quote(99))
    with app.app_context():
        assert plugins.call("price", Quote(1)) == Quote(99)
        (broken,) = plugins.status()["plugins"]
    assert (broken["errors"], "hook price" in caplog.text) == (1, True)


def test_a_business_hook_with_policy_fail_raises_and_answers_503(
    make_app: MakeApp, folder: Path
) -> None:
    """The caller may catch it; uncaught, the client sees a 503 like any other."""
    put(folder, "broken", guests.error(b"no stock"), 'on_failure = "fail"')
    app, plugins = make_app()
    plugins.hookspec("ask")
    app.add_url_rule("/", view_func=lambda: plugins.call("ask", 1))
    with (
        app.app_context(),
        pytest.raises(GuestError, match="plugin 'broken', hook 'ask': no stock"),
    ):
        plugins.call("ask", 1)
    response = app.test_client().get("/")
    assert (response.status_code, "no stock" in response.text) == (503, False)
    assert response.headers["X-Request-ID"] in response.text


@pytest.mark.parametrize("early", [True, False])
def test_the_apps_own_handler_of_hook_errors_is_used(
    make_app: MakeApp, folder: Path, early: bool
) -> None:
    """Whether it was registered before the plugin host or after it."""
    put(folder, "broken", guests.error(b"no stock"), 'on_failure = "fail"')

    def prepare(app: Flask) -> None:
        app.register_error_handler(HookError, lambda exc: (f"own {exc.plugin}", 502))

    app, plugins = make_app(prepare if early else None)
    if not early:
        prepare(app)
    plugins.hookspec("ask")
    app.add_url_rule("/", view_func=lambda: plugins.call("ask", 1))
    response = app.test_client().get("/")
    assert (response.status_code, response.text) == (502, "own broken")


def test_a_declared_error_keeps_the_instance(make_app: MakeApp, folder: Path) -> None:
    """Only traps, deadlines and malformed results spend an instance."""
    put(folder, "polite", guests.error(b"no\nstock"))
    app, plugins = make_app()
    plugins.hookspec("ask")
    with app.app_context():
        plugins.call("ask", 1)
        (status,) = plugins.status()["plugins"]
    assert (status["instances"], status["last_error"]) == (
        1,
        "plugin 'polite', hook 'ask': no\\nstock",
    )


def test_a_payload_that_does_not_fit_is_the_callers_error(make_app: MakeApp, folder: Path) -> None:
    """The app's own bug is raised, never sent to a plugin."""
    put(folder, "echo", guests.module({"price": guests.ECHO}))
    app, plugins = make_app()
    plugins.hookspec("price", input=Quote, output=Quote)
    with app.app_context(), pytest.raises(PayloadError, match="does not fit 'price'"):
        plugins.call("price", {"total": "x"})


def test_calling_needs_a_declared_hook_and_an_app_with_a_host(make_app: MakeApp) -> None:
    """Both errors say what to do."""
    app, plugins = make_app()
    with (
        app.app_context(),
        pytest.raises(ConfigError, match=r"no hook 'x' is declared; .*hookspec"),
    ):
        plugins.call("x")
    plugins.hookspec("x")
    bare = Flask("bare")
    with bare.app_context(), pytest.raises(ConfigError, match="'bare' has no plugin host"):
        plugins.call("x")
    with pytest.raises(RuntimeError, match="application context"):
        plugins.call("x")
    with pytest.raises(ConfigError, match="declared already"):
        plugins.hookspec("x")


def test_nothing_is_registered_when_the_configuration_is_wrong(folder: Path) -> None:
    """init_app validates first: a failed one leaves the app as it was."""
    app = Flask("shop")
    app.config.update(PLUGIN_HOST_DIR=str(folder), PLUGIN_HOST_TIMEOUT=-1)
    before = app.wsgi_app
    with pytest.raises(ConfigError, match="PLUGIN_HOST_TIMEOUT is -1"):
        PluginHost(app)
    assert (app.extensions, dict(app.before_request_funcs), app.wsgi_app) == ({}, {}, before)


def test_registering_twice_is_refused(make_app: MakeApp) -> None:
    """One host per app."""
    app, plugins = make_app()
    with pytest.raises(ConfigError, match="has a plugin host already"):
        plugins.init_app(app)


def test_several_apps_have_their_own_plugins(tmp_path: Path) -> None:
    """One extension object, two apps, two folders."""
    plugins, apps = PluginHost(), []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        put(folder, name, guests.adding("x-app", name))
        app = Flask(name)
        app.config.update(PLUGIN_HOST_DIR=folder, PLUGIN_HOST_DATA_DIR="", PLUGIN_HOST_RELOAD=False)
        app.add_url_rule("/", view_func=lambda: "")
        plugins.init_app(app)
        apps.append(app)
    assert [app.test_client().get("/").headers["x-app"] for app in apps] == ["one", "two"]


def test_configuration_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """Flask's from_prefixed_env delivers the keys."""
    monkeypatch.setenv("FLASK_PLUGIN_HOST_DIR", str(folder))
    monkeypatch.setenv("FLASK_PLUGIN_HOST_RELOAD", "false")
    monkeypatch.setenv("FLASK_PLUGIN_HOST_TIMEOUT", "0.02")
    app = Flask("shop")
    app.config.from_prefixed_env()
    PluginHost(app)
    settings = app.extensions["plugin_host"].settings
    assert (settings.dir, settings.reload, settings.timeout) == (folder, False, 0.02)


def test_a_disabled_host_loads_and_registers_nothing(make_app: MakeApp, folder: Path) -> None:
    """ENABLED=False leaves the site as it would be without plugins; defaults answer."""
    put(folder, "hello", guests.adding("x-hello", "1"))
    app, plugins = make_app(ENABLED=False)
    app.add_url_rule("/", view_func=lambda: "ok")
    plugins.hookspec("price")(lambda payload: "default")
    assert "x-hello" not in app.test_client().get("/").headers
    with app.app_context():
        assert (plugins.call("price"), plugins.status()["plugins"]) == ("default", [])


def test_a_disabled_host_wants_no_folder(make_app: MakeApp, folder: Path) -> None:
    """Where plugins are turned off, a folder that was never made is no error."""
    folder.rmdir()
    app, _ = make_app(ENABLED=False)
    app.add_url_rule("/", view_func=lambda: "ok")
    assert app.test_client().get("/").status_code == 200


def test_status_is_json_and_says_what_serves_and_what_does_not(
    make_app: MakeApp, folder: Path
) -> None:
    """Every promised field is there, for serving and for failed plugins."""
    put(folder, "good", guests.adding("x-a", "1"), 'version = "2.0"\ndescription = "adds"')
    put(folder, "bad", "(module")
    app, plugins = make_app()
    app.test_client().get("/")
    with app.app_context():
        status = json.loads(json.dumps(plugins.status()))
    good, bad = status["plugins"]
    keys = ("name", "version", "abi", "hooks", "state", "calls", "errors")
    assert {k: good[k] for k in keys} == {
        "name": "good", "version": "2.0", "abi": 1, "hooks": [ON_RESPONSE], "state": "serving",
        "calls": 1, "errors": 0,
    }  # fmt: skip
    assert len(good["digest"]) == 64
    assert good["seconds"] > 0
    assert (bad["name"], bad["state"], bad["hooks"]) == ("bad", "failed", [])
    assert "bad.wat: is not valid WebAssembly text" in bad["last_error"]


def test_errors_of_hooks_are_one_tree(make_app: MakeApp) -> None:
    """An app can catch them all by HookError."""
    assert issubclass(PayloadError, HookError)
    assert issubclass(GuestError, HookError)
