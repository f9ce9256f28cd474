"""Attacks a site with a guest, and holds every answer to what it must be, whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.hostile.guest import Answer, Guest

#: The id of every request, so that problem documents are the same each time.
REQUEST_ID = "hostile-1"
#: Headers of every request.
HEADERS = {"Host": "shop.example", "X-Request-ID": REQUEST_ID, "X-A": "of-the-client"}
#: What the server adds.
_SERVERS = {"server", "date", "connection"}

_PROBLEM = (
    "<!doctype html>\n<html lang=en>\n<title>503 Service Unavailable</title>\n"
    "<h1>Service Unavailable</h1>\n<p>A part of this site is unavailable at the moment.</p>\n"
    f"<p>Request id: <code>{REQUEST_ID}</code></p>\n"
)


class Got(NamedTuple):
    """A response: all of it, but what the server itself says in headers."""

    status: int
    headers: dict[str, str]
    body: Any

    @classmethod
    def of(cls, status: int, headers: list[tuple[str, str]], body: bytes, method: str) -> Got:
        """Return what came; a body of JSON as what it says; a length that fits is left out."""
        found: dict[str, str] = {}
        for name, value in headers:
            key = name.lower()
            if key == "allow":
                value = ", ".join(sorted(value.split(", ")))  # Werkzeug keeps a set
            if key not in _SERVERS:
                found[key] = f"{found[key]}, {value}" if key in found else value
        length = found.pop("content-length", None)
        if method != "HEAD" and length is not None and int(length) != len(body):
            found["content-length"] = f"{length}, but there are {len(body)}"
        text = body.decode("latin-1")
        if found.get("content-type") != "application/json":
            return cls(status, found, text)
        try:
            return cls(status, found, json.loads(body))
        except ValueError:
            return cls(status, found, text)


#: Asks a site, with `HEADERS`: method, path, body.
Ask = Callable[[str, str, bytes | None], Got]


def expected(guest: Guest, answer: Answer) -> Got:
    """The whole response that a client must get."""
    headers = {"content-type": "application/json", "x-neighbour": "here"}
    page = {
        "method": guest.method,
        "path": guest.path,
        "query": "",
        "headers": {"X-A": "of-the-client"},
        "body": "s" * guest.send,
        "g": {"neighbour": "here"},
    }
    if answer == "page":
        return Got(200, headers, page)
    if answer == "default":
        return Got(200, headers, {"answer": "default"})
    if answer == "problem":
        more = {"x-request-id": REQUEST_ID, "vary": "Accept"}
        html = "text/html; charset=utf-8"
        return Got(503, {**headers, **more, "content-type": html}, _PROBLEM)
    assert isinstance(answer, dict), f"{guest.name}: {answer!r} is no answer"
    headers |= answer.get("headers", {})
    for name in answer.get("without", ()):
        del headers[name]
    body = answer.get("body", page | answer.get("page", {}))
    if "length" in answer:
        body = "a" * answer["length"]
    return Got(answer.get("status", 200), headers, body)


def ask_neighbour(ask: Ask, number: int) -> None:
    """Hold the neighbour to all that it does."""
    said = {"said": [number, "x" * number], "g": "here"}
    headers = {"content-type": "application/json", "x-neighbour": "here"}
    assert ask("GET", f"/neighbour/{number}", None) == Got(200, headers, said)


def attack(guest: Guest, ask: Ask) -> None:
    """Send the guest what it waits for, as often as it says, and ask its neighbour each time."""
    body = b"s" * guest.send if guest.send else None
    for hit in range(guest.hits):
        got = ask(guest.method, guest.path, body)
        assert got == expected(guest, guest.expected(hit)), f"{guest.name}, hit {hit}"
        ask_neighbour(ask, hit)
