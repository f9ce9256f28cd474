"""Protection of the HTML forms against requests from other sites: one token per session."""

from __future__ import annotations

import hmac
import secrets

from flask import request, session
from werkzeug.exceptions import BadRequest

_KEY = "csrf"


def token() -> str:
    """Return the session's token; the first call makes it."""
    if _KEY not in session:
        session[_KEY] = secrets.token_urlsafe(24)
    value: str = session[_KEY]
    return value


def protect() -> None:
    """Refuse a form without the session's token.

    :raises BadRequest: the token is missing or wrong.
    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    sent, expected = request.form.get("csrf_token", ""), session.get(_KEY, "")
    if not expected or not hmac.compare_digest(sent.encode(), expected.encode()):
        raise BadRequest(
            "This form was not sent from our page, or the page was open for too long. "
            "Please open the page again, and make sure that your browser accepts cookies."
        )
