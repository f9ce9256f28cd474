"""What a client sees of a failure: a short document (RFC 9457) in a form that it accepts.

Status, title and the request's id, by which the operator finds the cause in the log; never a word
of a plugin's, or of an error's.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any, Final

from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, ServiceUnavailable
from werkzeug.http import parse_accept_header, parse_options_header

PROBLEM: Final = "application/problem+json"
HTML: Final = "text/html"
TEXT: Final = "text/plain"
_JSON: Final = "application/json"
#: The first of the best that a client accepts.
_OFFERED: Final = (HTML, PROBLEM, _JSON, TEXT)


class Problem(HTTPException):
    """An error whose own response is a problem document; an error handler of the app's goes first.

    :param request_id: names the request in the log.
    """

    #: What the client is told.
    detail: str = ""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        super().__init__(f"{self.detail} Request id: {request_id}")

    def get_headers(
        self, environ: dict[str, Any] | None = None, scope: dict[str, Any] | None = None
    ) -> list[tuple[str, str]]:
        """Return the headers of the form that the client accepts."""
        kind = negotiated(environ or {})
        charset = "" if kind == PROBLEM else "; charset=utf-8"
        return [
            ("Content-Type", kind + charset),
            ("X-Request-ID", self.request_id),
            ("Vary", "Accept"),
        ]

    def get_body(
        self, environ: dict[str, Any] | None = None, scope: dict[str, Any] | None = None
    ) -> str:
        """Return the document in the form that the client accepts."""
        return _WRITERS[negotiated(environ or {})](self)


class HookFailed(Problem, ServiceUnavailable):
    """What a client gets when a plugin fails whose policy is ``fail``: 503 and a request id."""

    detail = "A part of this site is unavailable at the moment."


class BodyTooLarge(Problem, RequestEntityTooLarge):
    """What a client gets when a plugin refuses requests with a body as large."""

    detail = "The request's body is too large."


def negotiated(environ: dict[str, Any]) -> str:
    """Return the media type of the document for a request.

    JSON for whoever prefers it, or sent JSON and accepts anything; HTML for all others, or plain
    text if HTML is not accepted.
    """
    accept = environ.get("HTTP_ACCEPT", "")
    if accept in ("", "*/*"):
        sent, _ = parse_options_header(environ.get("CONTENT_TYPE", ""))
        return PROBLEM if sent == _JSON or sent.endswith("+json") else HTML
    best = parse_accept_header(accept, MIMEAccept).best_match(_OFFERED, TEXT)
    return PROBLEM if best == _JSON else best


def _problem_json(problem: Problem) -> str:
    members = {
        "type": "about:blank",
        "title": problem.name,
        "status": problem.code,
        "detail": problem.detail,
        "request_id": problem.request_id,
    }
    return json.dumps(members) + "\n"


def _html(problem: Problem) -> str:
    title, known_as = escape(f"{problem.code} {problem.name}"), escape(problem.request_id)
    return (
        "<!doctype html>\n<html lang=en>\n"
        f"<title>{title}</title>\n<h1>{escape(problem.name)}</h1>\n<p>{escape(problem.detail)}</p>\n"
        f"<p>Request id: <code>{known_as}</code></p>\n"
    )


def _text(problem: Problem) -> str:
    return f"{problem.code} {problem.name}\n{problem.detail}\nRequest id: {problem.request_id}\n"


_WRITERS: Final = {PROBLEM: _problem_json, HTML: _html, TEXT: _text}
