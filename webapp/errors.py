"""Errors as people see them (a page) and as programs see them (RFC 9457 problem JSON)."""

from __future__ import annotations

import re
import sqlite3

from flask import Flask, g, json, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException, ServiceUnavailable
from werkzeug.wrappers import Response

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


def _answer(error: HTTPException) -> ResponseReturnValue:
    if error.response is not None or error.code is None or error.code < 400:
        return error  # a redirect, or somebody's own answer
    response = error.get_response()
    if not isinstance(response, Response):  # pragma: no cover - a WSGI app as the answer
        return error
    if wants_json():
        _fill_problem(response, error)
    else:
        response.content_type = "text/html; charset=utf-8"
        response.set_data(render_template("error.html", error=error, request_id=request_id(error)))
    return response


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
