"""`guard.wasm` in a site."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response, request

from .conftest import Site

Config = dict[str, Any]


def answer_with(body: Any, content_type: str, **headers: str) -> Callable[[Flask], None]:
    def prepare(app: Flask) -> None:
        @app.route("/")
        def page() -> Response:
            return Response(body, content_type=content_type, headers=headers or None)

    return prepare


@pytest.fixture
def guarded(site: Site) -> Callable[..., Any]:
    """The response of a guarded site whose only page has this body."""

    def get(body: Any, content_type: str = "application/json", **config: Any) -> Any:
        headers = config.pop("response_headers", {})
        prepare = answer_with(body, content_type, **headers)
        client, _ = site("guard", prepare=prepare, **config)
        return client.get("/")

    return get


Guarded = Callable[..., Any]


def test_security_headers(guarded: Guarded) -> None:
    """The headers of the config are set, in place of the app's own."""
    headers = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN"}
    own = {"X-Frame-Options": "ALLOWALL", "X-Own": "1"}
    got = guarded("x", "text/html", headers=headers, response_headers=own).headers
    assert headers.items() <= dict(got).items()
    assert got["X-Own"] == "1"


def test_errors_too(guarded: Guarded, site: Site) -> None:
    """An error page has the headers, too."""
    client, _ = site("guard")
    answer = client.get("/nowhere")
    assert (answer.status_code, answer.headers["x-frame-options"]) == (404, "DENY")


VISA, AMEX, LONG = "4242424242424242", "378282246310005", "6304000000000000000"

CARDS = [
    (VISA, "************4242"),
    ("4242 4242 4242 4242", "**** **** **** 4242"),
    ("4242-4242-4242-4242", "****-****-****-4242"),
    (AMEX, "***********0005"),
    ("3782 822463 10005", "**** ****** *0005"),
    ("4222222222222", "*********2222"),
    (LONG, "***************0000"),
    (f"card {VISA}, exp 12/27", "card ************4242, exp 12/27"),
    ("12 4242 4242 4242 4242 12", "12 **** **** **** 4242 12"),
    (f"{VISA};{AMEX}", "************4242;***********0005"),
    (f"é{VISA}", "é************4242"),
    (f'"{VISA}"\\{VISA}', '"************4242"\\************4242'),
]
NO_CARDS = [
    "4242424242424243",
    "42424242424242424242424242424242",
    "424242424242",
    "4242  4242 4242 4242",
    "4242_4242_4242_4242",
    "1700000000004",
    "0000000000000000",
    "9999999999999995",
    "2026-03-01 18:00:00",
    "+49 30 901820",
    "",
]


@pytest.mark.parametrize("ascii_", [True, False])
def test_cards(guarded: Guarded, ascii_: bool) -> None:
    """Card numbers in JSON strings, keys included, keep their last four digits only."""
    body = {f"{text}": [text, {"x": f"<{text}>"}] for text, _ in CARDS}
    hidden = {f"{text}": [text, {"x": f"<{text}>"}] for _, text in CARDS}
    assert guarded(json.dumps(body, ensure_ascii=ascii_)).json == hidden


def test_no_cards(guarded: Guarded) -> None:
    """What only looks like a card number stays, byte for byte."""
    body = json.dumps({"a": NO_CARDS, "n": [1.5e10, -4242424242424242, 4242424242424242.5]})
    assert guarded(body).text == body


def test_numbers(guarded: Guarded) -> None:
    """A JSON number that is a card number becomes a string, unless the config says otherwise."""
    body = f'{{"a":{VISA},"b":[{AMEX}, {VISA}],"c":"{VISA}","d":7}}'
    assert guarded(body).json == {
        "a": "************4242",
        "b": ["***********0005", "************4242"],
        "c": "************4242",
        "d": 7,
    }
    assert guarded(VISA).json == "************4242"


def test_numbers_kept(guarded: Guarded) -> None:
    """With `numbers = false` JSON numbers stay."""
    body = f'{{"a":{VISA},"c":"{VISA}"}}'
    assert guarded(body, numbers=False).text == f'{{"a":{VISA},"c":"************4242"}}'


@pytest.mark.parametrize(
    ("content_type", "config"),
    [
        ("text/html", {}),
        ("application/json", {"redact": False}),
        ("application/json", {"response_headers": {"Content-Encoding": "br"}}),
    ],
)
def test_left_alone(guarded: Guarded, content_type: str, config: Config) -> None:
    """Other types, encoded bodies, and a guard that shall not redact: bodies stay."""
    assert guarded(f'"{VISA}"', content_type, **config).text == f'"{VISA}"'


def test_problem_json(guarded: Guarded) -> None:
    """All kinds of JSON are redacted."""
    answer = guarded(f'{{"detail":"{VISA}"}}', "application/problem+json; charset=utf-8")
    assert answer.json == {"detail": "************4242"}


@pytest.mark.parametrize(
    "body", [f'"{VISA}', f'"\\{VISA}', f'"\\u004{VISA}', "\\", '"\\', f"[{VISA}"]
)
def test_broken_json(guarded: Guarded, body: str) -> None:
    """Broken JSON harms nothing: the response arrives."""
    assert guarded(body).status_code == 200


def test_request_is_not_needed(site: Site) -> None:
    """A guarded site still reads its own requests."""

    def prepare(app: Flask) -> None:
        app.add_url_rule("/", "echo", lambda: request.get_data(), methods=["POST"])

    client, _ = site("guard", prepare=prepare)
    assert client.post("/", data=VISA).text == VISA
