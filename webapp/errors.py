"""Errors as people see them (a page) and as programs see them (RFC 9457 problem JSON)."""

from __future__ import annotations

import re
import sqlite3

from flask import Flask, Response, g, json, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, ServiceUnavailable

from .db import is_busy

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def init_app(app: Flask) -> None:
    """Answer every error of `app` with a page or, under ``/api``, with problem JSON."""
    app.register_error_handler(HTTPException, _answer)
    app.register_error_handler(sqlite3.OperationalError, _database_error)


def request_id(error: HTTPException) -> str | None:
    """Return the id by which the logs know this request, if anybody gave it one.

    The plugin host gives one to a request that a plugin failed; a proxy may give one to any.
    """
    given = getattr(error, "request_id", None) or g.get("request_id")
    given = str(given or request.headers.get("X-Request-ID", ""))
    return given if _REQUEST_ID.fullmatch(given) else None


def wants_json() -> bool:
    """Say whether the client is a program: the path decides, so that 404s are right too."""
    return request.path.startswith("/api/") or request.path == "/healthz"


def dress(response: Response) -> Response:
    """Make a page of a refusal in plain text, which is how plugins refuse, if a browser asks."""
    refusal = response.status_code >= 400 and response.mimetype == "text/plain"
    if not refusal or "text/html" not in request.headers.get("Accept", ""):
        return response
    error = HTTPException(response.get_data(as_text=True).strip())
    error.code = response.status_code
    _fill_page(response, error)
    return response


def _answer(error: HTTPException) -> ResponseReturnValue:
    if error.response is not None or error.code is None or error.code < 400:
        return error  # a redirect, or somebody's own answer
    kept = [(name, value) for name, value in error.get_headers() if name != "Content-Type"]
    response = Response(status=error.code, headers=kept)
    if wants_json():
        _fill_problem(response, error)
    else:
        _fill_page(response, error)
    return response


def _fill_page(response: Response, error: HTTPException) -> None:
    page = render_template("error.html", error=error, request_id=request_id(error))
    response.content_type = "text/html; charset=utf-8"
    response.set_data(page)


def _fill_problem(response: Response, error: HTTPException) -> None:
    problem = {
        "type": "about:blank",
        "title": error.name,
        "status": error.code,
        "detail": error.description,
    }
    if (known_as := request_id(error)) is not None:
        problem["request_id"] = known_as
    response.content_type = "application/problem+json"
    response.set_data(json.dumps(problem) + "\n")


def _database_error(error: sqlite3.OperationalError) -> ResponseReturnValue:
    if not is_busy(error):
        raise error
    return _answer(
        ServiceUnavailable("The shop is very busy. Please try again in a moment.", retry_after=2)
    )
