"""The works: fixed inputs, and what a right answer is.

W1 and W2 go from a WSGI environ to the edited environ. Sixteen requests of one browser-like shape
rotate, so that nothing is measured that only ever sees one and the same request.
"""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

Environ = dict[str, Any]

HEADER_BYTES = 646
BODY_BYTES = 4133
HASH_ROUNDS = 1_000_000
VARIANTS = 16

_LANGUAGES = (
    "de-DE,de;q=0.9,en;q=0.8",
    "en-GB,en;q=0.9,fr;q=0.5",
    "fr-FR,fr;q=0.9,en;q=0.6",
    "it-IT,it;q=0.9,en;q=0.7",
)


def _headers(variant: int) -> dict[str, str]:
    """Twelve headers whose names and values are `HEADER_BYTES` long together."""
    headers = {
        "host": "shop.example.com",
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "accept-language": _LANGUAGES[variant % len(_LANGUAGES)],
        "accept-encoding": "gzip, deflate, br, zstd",
        "referer": f"https://shop.example.com/category/{variant:02d}?sort=price",
        "authorization": "Bearer 4f1d8a52c7b94e0ab3d6",
        "x-forwarded-for": f"203.0.113.{100 + variant}",
        "x-forwarded-proto": "https",
        "x-request-id": f"7b1f3a52-90c4-4d1e-8a77-0000000000{variant:02d}",
        "cache-control": "max-age=0",
    }
    used = sum(len(name) + len(value) for name, value in headers.items()) + len("cookie")
    cookie = f"session=s{variant:02d}."
    return headers | {"cookie": (cookie + "a7" * 200)[: HEADER_BYTES - used]}


def body() -> bytes:
    """A cart of `BODY_BYTES` as JSON; the coupon stands near its end."""
    lines = [
        {
            "sku": f"SKU-{i:05d}",
            "name": f"Product number {i}",
            "quantity": i % 5 + 1,
            "cents": 1990 + i,
        }
        for i in range(50)
    ]
    cart: dict[str, object] = {"note": "", "lines": lines, "coupon": "WELCOME10", "currency": "EUR"}
    compact = (",", ":")
    while len(json.dumps(cart, separators=compact)) > BODY_BYTES:
        lines.pop()
    cart["note"] = "x" * (BODY_BYTES - len(json.dumps(cart, separators=compact)))
    return json.dumps(cart, separators=compact).encode()


BODY = body()
REDEEMED = BODY.replace(b'"coupon":"WELCOME10"', b'"coupon":"REDEEMED"')


def environ(variant: int, *, with_body: bool) -> Environ:
    """What gunicorn hands to the application for one of the sixteen requests."""
    env: Environ = {
        "wsgi.errors": None, "wsgi.version": (1, 0), "wsgi.multithread": False,
        "wsgi.multiprocess": True, "wsgi.run_once": False, "wsgi.file_wrapper": None,
        "wsgi.input_terminated": True, "SERVER_SOFTWARE": "gunicorn", "wsgi.input": BytesIO(),
        "REQUEST_METHOD": "POST" if with_body else "GET",
        "QUERY_STRING": f"ref=mail&page={variant}", "RAW_URI": f"/product/{variant:02d}?ref=mail",
        "SERVER_PROTOCOL": "HTTP/1.1",
    }  # fmt: skip
    for name, value in _headers(variant).items():
        env["HTTP_" + name.upper().replace("-", "_")] = value
    if with_body:
        env |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(BODY))}
    return env | {
        "wsgi.url_scheme": "http", "REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "51324",
        "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", "SCRIPT_NAME": "",
        "PATH_INFO": f"/product/{variant:02d}",
    }  # fmt: skip


_TEMPLATES = {
    with_body: [environ(i, with_body=with_body) for i in range(VARIANTS)]
    for with_body in (False, True)
}


def batch(size: int, *, with_body: bool) -> list[Environ]:
    """`size` environs, fresh ones: a candidate may edit what it gets."""
    templates = _TEMPLATES[with_body]
    environs = [dict(templates[i % VARIANTS]) for i in range(size)]
    if with_body:
        for env in environs:
            env["wsgi.input"] = BytesIO(BODY)
    return environs


def expect_edited(before: Environ, after: Environ, *, with_body: bool) -> None:
    """Raises `AssertionError` unless the work was done, and done right."""
    expected = before["HTTP_ACCEPT_LANGUAGE"][:2]
    assert after.get("HTTP_X_LANG") == expected, f"x-lang is {after.get('HTTP_X_LANG')!r}"
    if with_body:
        got = after["wsgi.input"].read()
        assert got == REDEEMED, f"the body is {got[:60]!r}…, {len(got)} bytes"
        assert after["CONTENT_LENGTH"] == str(len(REDEEMED)), after["CONTENT_LENGTH"]


def hash_in_python(rounds: int) -> int:
    """W3, what every candidate must return: the hash after `rounds`, an unsigned 32-bit number."""
    h = 2463534242
    for i in range(rounds):
        h ^= h << 13 & 0xFFFFFFFF
        h ^= h >> 17
        h ^= h << 5 & 0xFFFFFFFF
        h = h + i & 0xFFFFFFFF
    return h
