"""What a client sees of a failure: a problem document, and an id that the log has, too."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import guests
import pytest
from flask import Flask
from guests import MakeApp
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from plugin_host import HookFailed
from plugin_host.problem import HTML, PROBLEM, TEXT, negotiated

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
AXIOS = "application/json, text/plain, */*"


@pytest.mark.parametrize(
    ("accept", "sent", "kind"),
    [
        (None, None, HTML),
        ("*/*", None, HTML),
        (BROWSER, None, HTML),
        (BROWSER, "application/json", HTML),
        ("application/json", None, PROBLEM),
        ("application/problem+json", None, PROBLEM),
        (AXIOS, None, PROBLEM),
        ("application/json;q=0.5, text/html", None, HTML),
        ("*/*", "application/json; charset=utf-8", PROBLEM),
        (None, "application/ld+json", PROBLEM),
        ("text/plain", None, TEXT),
        ("image/png", None, TEXT),
        ("text/*", None, HTML),
        ("text/html;q=0, text/plain", None, TEXT),
        ("\x00;;q=x,,", None, TEXT),
    ],
)
def test_the_form_is_what_the_client_accepts(
    accept: str | None, sent: str | None, kind: str
) -> None:
    """JSON for who prefers or sends it, HTML for all others that take it, and else plain text."""
    environ = {"HTTP_ACCEPT": accept, "CONTENT_TYPE": sent}
    assert negotiated({key: value for key, value in environ.items() if value is not None}) == kind


def broken(make_app: MakeApp, folder: Path) -> Flask:
    """A site whose every request fails, in a view at ``/ask`` and in a request hook elsewhere."""
    manifest = 'on_failure = "fail"\nmatch.paths = ["/"]\noversize_body = "reject"'
    (folder / "broken.wat").write_text(
        guests.module({"on_request": guests.TRAP, "ask": guests.TRAP})
    )
    (folder / "broken.toml").write_text(manifest)
    app, plugins = make_app(MAX_BODY=10)
    plugins.hookspec("ask")
    app.add_url_rule("/", view_func=lambda: "never", methods=["GET", "POST"])
    app.add_url_rule("/ask", "ask", view_func=lambda: plugins.call("ask"))
    return app


def known_as(response: TestResponse, caplog: pytest.LogCaptureFixture) -> str:
    """The request's id, which is in the header, the body and the one line of the log."""
    found = response.headers["X-Request-ID"]
    assert found in response.text
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert line.endswith(f"; policy fail, request {found}")
    assert not re.search("unreachable|broken|trap|ask", response.text.replace(found, ""))
    return found


@pytest.mark.parametrize("path", ["/", "/ask"], ids=["request-hook", "business-hook"])
def test_json(make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture, path: str) -> None:
    """RFC 9457: type, title, status, detail, and the id; not a word of the plugin's."""
    client = broken(make_app, folder).test_client()
    response = client.get(path, headers={"Accept": "application/json"})
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "A part of this site is unavailable at the moment.",
        "request_id": known_as(response, caplog),
    }


@pytest.mark.parametrize("path", ["/", "/ask"], ids=["request-hook", "business-hook"])
def test_html(make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture, path: str) -> None:
    """A page with title and id."""
    response = broken(make_app, folder).test_client().get(path, headers={"Accept": BROWSER})
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f"<code>{known_as(response, caplog)}</code>" in response.text
    assert "<title>503 Service Unavailable</title>" in response.text


def test_text(make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Three lines."""
    response = broken(make_app, folder).test_client().get("/", headers={"Accept": "image/png"})
    assert response.text == (
        "503 Service Unavailable\nA part of this site is unavailable at the moment.\n"
        f"Request id: {known_as(response, caplog)}\n"
    )


@pytest.mark.parametrize("sent", ["r-1", "0af7651916cd43dd8448eb211c80319c", "a:b/c+d=e@f~g"])
def test_a_well_formed_id_of_the_request_is_kept(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture, sent: str
) -> None:
    """Whoever stands in front of the site finds the same id in both logs."""
    response = broken(make_app, folder).test_client().get("/", headers={"X-Request-ID": sent})
    assert known_as(response, caplog) == sent


@pytest.mark.parametrize("sent", ["", "a b", "<script>", "x" * 129, "é", "a,b", "a\tb"])
def test_any_other_id_is_replaced(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture, sent: str
) -> None:
    """Nothing gets into the log or the page that is not plainly an id."""
    client = broken(make_app, folder).test_client()
    response = client.get("/", environ_overrides={"HTTP_X_REQUEST_ID": sent})
    assert re.fullmatch("[0-9a-f]{16}", known_as(response, caplog))


@pytest.mark.parametrize("accept", [BROWSER, "application/json"])
def test_a_body_that_is_too_large_is_a_problem_as_well(
    make_app: MakeApp, folder: Path, accept: str
) -> None:
    """413 comes in the same forms."""
    client = broken(make_app, folder).test_client()
    response = client.post("/", data=b"x" * 11, headers={"Accept": accept})
    assert response.status_code == 413
    assert "The request" in response.text
    assert response.headers["X-Request-ID"] in response.text


@pytest.mark.parametrize("handled", [503, HookFailed, HTTPException])
def test_the_apps_own_handler_goes_first(
    make_app: MakeApp, folder: Path, handled: type[Exception] | int
) -> None:
    """By status, by class, or for all HTTP errors; it is given the id."""
    app = broken(make_app, folder)
    app.register_error_handler(handled, lambda exc: (f"own {exc.code} {exc.request_id}", 503))
    response = app.test_client().get("/", headers={"X-Request-ID": "r-1"})
    assert response.text == "own 503 r-1"


def test_the_apps_own_handler_for_large_bodies_goes_first(make_app: MakeApp, folder: Path) -> None:
    """A refusal of a large body is an HTTP error like any other."""
    app = broken(make_app, folder)
    app.register_error_handler(413, lambda exc: ("own 413", 413))
    assert app.test_client().post("/", data=b"x" * 11).text == "own 413"


def test_a_handler_that_asks_for_the_response_gets_one() -> None:
    """The usual handler for all HTTP errors calls ``get_response`` without an environ."""
    response = HookFailed("r-1").get_response()
    assert (response.status_code, response.headers["X-Request-ID"]) == (503, "r-1")  # type: ignore[attr-defined]
