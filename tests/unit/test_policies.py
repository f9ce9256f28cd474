"""Failure policies: what a manifest may say, and what a client or a view gets of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import guests
import pytest
from flask import Flask, Response
from guests import MakeApp

from plugin_host import CircuitOpen
from plugin_host.manifest import parse_manifest

ON_REQUEST, ON_RESPONSE = "on_request", "on_response"
BUSY = """[on_failure.on_request.respond]
status = 503
headers = { Retry-After = "30", Set-Cookie = ["a=1", "b=2"] }
body = "Später wieder.\\n"
"""


def put(folder: Path, name: str, text: str, manifest: str = "") -> None:
    (folder / f"{name}.wat").write_text(text)
    (folder / f"{name}.toml").write_text(manifest)


def failing(hook: str) -> str:
    return guests.module({hook: guests.TRAP})


def site(make_app: MakeApp, **config: Any) -> Flask:
    """An app with one page, which says that it was reached."""
    app, _ = make_app(**config)

    @app.route("/", methods=["GET", "POST"])
    def page() -> Response:
        response = Response("the page")
        response.set_etag("of-the-page")
        return response

    return app


def test_a_fixed_response_answers_for_a_failing_request_hook(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Status, headers, repeated ones too, and body are the manifest's; the view is not reached."""
    put(folder, "gate", failing(ON_REQUEST), BUSY)
    response = site(make_app).test_client().get("/")
    assert (response.status_code, response.text) == (503, "Später wieder.\n")
    assert response.headers["Retry-After"] == "30"
    assert response.headers.getlist("Set-Cookie") == ["a=1", "b=2"]
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert int(response.headers["Content-Length"]) == len(response.data)
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert "policy respond, request " in line


def test_a_fixed_response_takes_the_place_of_the_views(make_app: MakeApp, folder: Path) -> None:
    """When a response hook fails, nothing of the response goes out that it did not see."""
    manifest = "on_failure.on_response.respond = { status = 502, json = { retry = true } }"
    put(folder, "guard", failing(ON_RESPONSE), manifest)
    put(folder, "a_later", guests.adding("x-later", "1"), "order = 1")
    response = site(make_app).test_client().get("/")
    assert (response.status_code, response.json) == (502, {"retry": True})
    assert response.headers["Content-Type"] == "application/json"
    assert "ETag" not in response.headers
    assert response.headers["X-Later"] == "1"  # the other plugins' way back goes on


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_fixed_response_without_a_body(make_app: MakeApp, folder: Path, method: str) -> None:
    """Nothing but a status is enough, whatever was asked."""
    put(folder, "guard", failing(ON_RESPONSE), "on_failure.on_response.respond = { status = 204 }")
    response = site(make_app).test_client().open("/", method=method)
    assert (response.status_code, response.data) == (204, b"")


def test_the_fixed_response_holds_while_the_breaker_is_open(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The policy applies without a call, and without a line for each request."""
    put(folder, "gate", failing(ON_REQUEST), BUSY)
    app = site(make_app, BREAKER_FAILURES=2, BREAKER_OPEN_SECONDS=3600, BREAKER_MAX_SECONDS=3600)
    client = app.test_client()
    assert [client.get("/").status_code for _ in range(20)] == [503] * 20
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert (len(lines), sum("2 of 2 calls failed" in line for line in lines)) == (3, 1)


def test_skip_and_fail_hold_while_the_breaker_is_open(make_app: MakeApp, folder: Path) -> None:
    """A skipped plugin is passed by, one that fails answers 503 or raises, as when it is called."""
    put(folder, "skipped", failing(ON_REQUEST), 'on_failure = "skip"')
    put(folder, "asked", failing("ask"), 'on_failure = "fail"')
    app, plugins = make_app(BREAKER_FAILURES=1)
    app.add_url_rule("/", view_func=lambda: "reached")
    app.add_url_rule("/ask", "ask", view_func=lambda: plugins.call("ask"))
    plugins.hookspec("ask")
    client = app.test_client()
    assert [client.get("/").text for _ in range(3)] == ["reached"] * 3
    assert [client.get("/ask").status_code for _ in range(3)] == [503] * 3
    with app.app_context(), pytest.raises(CircuitOpen):
        plugins.call("ask")


@pytest.mark.parametrize(
    ("combine", "expected"), [("first", 7), ("chain", 7), ("collect", [7, "default"])]
)
def test_a_fixed_answer_stands_for_a_failing_business_hook(
    make_app: MakeApp, folder: Path, combine: Any, expected: Any
) -> None:
    """The plugin counts as having answered, however answers combine."""
    put(folder, "a", failing("ask"), "on_failure.ask = { answer = 7 }")
    put(folder, "b", guests.module({"ask": guests.UNCHANGED}))
    if combine == "collect":
        put(folder, "b", guests.returning("ask", b'"default"'))
    app, plugins = make_app()
    plugins.hookspec("ask", combine=combine)
    with app.app_context():
        assert plugins.call("ask", 1) == expected


def test_a_fixed_answer_that_does_not_fit_is_skipped_and_said(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A manifest cannot know the hookspec: an answer of the wrong type is as good as none."""
    put(folder, "a", failing("ask"), 'on_failure.ask = { answer = "seven" }')
    app, plugins = make_app()
    plugins.hookspec("ask", output=int)(lambda payload: 8)
    with app.app_context():
        assert plugins.call("ask", 1) == 8
    assert "policy skip (the answer does not fit 'ask': Expected `int`, got `str`)" in caplog.text


@pytest.mark.parametrize(
    ("hook", "policy", "message"),
    [
        (ON_REQUEST, '"ignore"', "on_failure.on_request is 'ignore'; allowed: 'skip' or 'fail',"),
        (ON_REQUEST, "{ answer = 1 }", "unknown key 'on_failure.on_request.answer'"),
        (ON_REQUEST, "{}", "on_failure.on_request.respond is missing"),
        (ON_REQUEST, "{ respond = 503 }", "on_failure.on_request.respond is 503; allowed: a table"),
        (ON_REQUEST, "{ respond = { status = 99 } }", "respond.status is 99; allowed: an integer"),
        (ON_REQUEST, "{ respond = { state = 1 } }", "'on_failure.on_request.respond.state'; did"),
        (ON_REQUEST, '{ respond = { body = "a", json = 1 } }', "respond.json; keep one of the two"),
        (ON_REQUEST, "{ respond = { json = inf } }", "respond.json is inf; allowed: a finite"),
        (ON_REQUEST, "{ respond = { status = 304, body = '.' } }", "does not go with status 304"),
        (
            ON_REQUEST,
            '{ respond = { headers = { a = "b\\r\\nc: d" } } }',
            "respond.headers.a: a header",
        ),
        (ON_REQUEST, '{ respond = { headers = { a = " b" } } }', "neither starts nor ends with"),
        (ON_RESPONSE, '{ respond = { headers = { Location = "//a:b" } } }', "whose host and port"),
        (
            ON_REQUEST,
            '{ respond = { headers = { "a b" = "c" } } }',
            "respond.headers is {'a b': 'c'}",
        ),
        (
            ON_REQUEST,
            '{ respond = { headers = { Content-Length = "3" } } }',
            "belong to the server",
        ),
        (
            "ask",
            "{ respond = { status = 503 } }",
            "on_failure.ask.respond'; the known keys are answer",
        ),
        ("ask", "{ answer = 1979-05-27 }", "on_failure.ask.answer is datetime.date"),
        ("ask", "7", "on_failure.ask is 7; allowed: 'skip' or 'fail', or a table with 'answer'"),
    ],
)
def test_a_wrong_policy_does_not_load(
    make_app: MakeApp, folder: Path, hook: str, policy: str, message: str
) -> None:
    """A fixed response obeys the rules of a guest's answer, and the message names the key."""
    put(folder, "gate", guests.module({hook: guests.UNCHANGED}), f"on_failure.{hook} = {policy}")
    app, plugins = make_app()
    with app.app_context():
        (status,) = plugins.status()["plugins"]
    assert status["state"] == "failed"
    assert status["load_error"].startswith("gate.toml: ")
    assert message in status["load_error"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("on_requst", "the plugin has no such hook; did you mean 'on_request'?"),
        ("ask", "the plugin has no such hook; the plugin's hooks are on_request"),
    ],
)
def test_a_policy_of_no_hook_does_not_load(
    make_app: MakeApp, folder: Path, key: str, message: str
) -> None:
    """A hook's misspelled name must not leave it with the policy that holds without a word."""
    put(folder, "gate", guests.module({ON_REQUEST: guests.UNCHANGED}), f"on_failure.{key} = 'skip'")
    app, plugins = make_app()
    with app.app_context():
        (status,) = plugins.status()["plugins"]
    assert status["load_error"] == f"gate.toml: on_failure.{key}: {message}"


def test_a_fixed_response_may_be_as_short_as_a_status() -> None:
    """503 without headers or a body is the default."""
    text = b"on_failure.on_request.respond = {}"
    response = (
        parse_manifest(Path("x.toml"), stem="x", text=text).failure_policy(ON_REQUEST).response
    )
    assert response is not None
    assert (response.status, response.headers, response.body) == (503, (), b"")
