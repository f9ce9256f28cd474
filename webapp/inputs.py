"""What people and programs send us, checked before anything uses it."""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

import msgspec
from flask import request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

MAX_QUANTITY = 99
MAX_LINES = 20
MAX_NOTE = 500
MAX_NAME = 32

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_ONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")

T = TypeVar("T")


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many pieces of an article."""

    sku: Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MAX_QUANTITY)]


Items = Annotated[list[Item], msgspec.Meta(min_length=1, max_length=MAX_LINES)]


class ItemsIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for a quote."""

    items: Items


class CartIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body that replaces the cart; it may be empty."""

    items: Annotated[list[Item], msgspec.Meta(max_length=MAX_LINES)]


class OrderIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an order; without `items` it orders the cart. `expected_total` in cents."""

    items: Items | None = None
    note: Annotated[str, msgspec.Meta(max_length=MAX_NOTE)] = ""
    expected_total: int | None = None


def json_body(kind: type[T]) -> T:
    """Decode the request's JSON body.

    :raises UnsupportedMediaType: it is not declared as JSON. A form on another site cannot declare
        that, which is what keeps the JSON routes safe without a token.
    :raises BadRequest: it is not JSON, or not of this `kind`.
    """
    if not request.is_json:
        raise UnsupportedMediaType("Send JSON, with the header Content-Type: application/json.")
    try:
        return msgspec.json.decode(request.get_data(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise BadRequest(f"The body is not right: {exc}.") from exc


def quantity(text: str, least: int = 1) -> int:
    """Read a number of pieces.

    :raises BadRequest: it is not a whole number from `least` to `MAX_QUANTITY`.
    """
    text = text.strip()
    # isdigit alone would let other scripts' digits and int() underscores and signs through.
    if text.isascii() and text.isdigit() and len(text) <= 3 and least <= int(text) <= MAX_QUANTITY:
        return int(text)
    raise BadRequest(f"Quantity must be a whole number from {least} to {MAX_QUANTITY}.")


def cents(text: str | None) -> int | None:
    """Read an amount in cents that one of our own forms carries.

    :raises BadRequest: it is there, but is no such number.
    """
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 12:
        return int(text)
    raise BadRequest("The form is damaged: its price is not a number. Please open the page again.")


def once(text: str | None) -> str | None:
    """Read the value that makes a form count only once.

    :raises BadRequest: it is there, but is none of ours.
    """
    if text is None or _ONCE.fullmatch(text):
        return text
    raise BadRequest("The form is damaged. Please open the page again.")


def idempotency_key() -> str | None:
    """Read the header Idempotency-Key, with or without quotes: a retried request sends it again.

    :raises BadRequest: it is there, but is not long enough to be nobody else's, or too long.
    """
    sent = request.headers.get("Idempotency-Key")
    if sent is None:
        return None
    key = sent.removeprefix('"').removesuffix('"')
    if _ONCE.fullmatch(key):
        return key
    raise BadRequest(
        "The header Idempotency-Key must have 16 to 64 letters (a to z), digits, dashes or"
        " underscores, such as a UUID."
    )


def note(text: str) -> str:
    """Read the note to an order.

    :raises BadRequest: it is too long.
    """
    text = text.strip().replace("\r\n", "\n")
    if len(text) > MAX_NOTE:
        raise BadRequest(f"The note is too long: at most {MAX_NOTE} characters.")
    return text


def user_name(text: str) -> str:
    """Read the name a visitor goes by.

    It is sent as a plain cookie that plugins read too, so it needs no quoting in one.

    :raises BadRequest: it holds anything but letters, digits, dot, dash and underscore.
    """
    text = text.strip()
    if len(text) <= MAX_NAME and _NAME.fullmatch(text):
        return text
    raise BadRequest(
        f"A name has 1 to {MAX_NAME} letters (a to z), digits, dots, dashes or underscores, and "
        "starts with a letter or digit."
    )


def current_user() -> str | None:
    """Return the name in the visitor's cookie; None when there is none, or not a valid one."""
    name = request.cookies.get("user", "")
    return name if len(name) <= MAX_NAME and _NAME.fullmatch(name) else None


def local_path(text: str | None, default: str) -> str:
    """Return a path to go on to, but only if it stays on this site."""
    safe = bool(text) and re.fullmatch(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", text or "")
    return text if safe and text else default
