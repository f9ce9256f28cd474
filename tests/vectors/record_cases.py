"""The cases of ``records.json``: fields by hand, and where the host makes them, what from."""

from __future__ import annotations

from typing import Any

from abi_reference import BODY, BODY_OMITTED, REQUEST, RESPONSE, encode_record

Case = dict[str, Any]
KINDS = {"request": REQUEST, "response": RESPONSE}

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/cart",
    "QUERY_STRING": "page=2&sort=price",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "192.0.2.7",
    "REMOTE_PORT": "51234",
    "wsgi.url_scheme": "https",
    "HTTP_HOST": "shop.example",
}
BASIC = [
    (":method", b"GET"),
    (":scheme", b"https"),
    (":host", b"shop.example"),
    (":path", b"/cart"),
    (":query", b"page=2&sort=price"),
    (":remote", b"192.0.2.7"),
    (":protocol", b"HTTP/1.1"),
]
BASIC_NAMES = [name for name, _ in BASIC]
TWELVE = {
    "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
    "HTTP_ACCEPT_LANGUAGE": "de-DE,de;q=0.9,en;q=0.7",
    "HTTP_CACHE_CONTROL": "no-cache",
    "HTTP_CONNECTION": "keep-alive",
    "HTTP_REFERER": "https://shop.example/products?page=1",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "HTTP_X_FORWARDED_FOR": "198.51.100.4, 192.0.2.1",
    "HTTP_X_REQUEST_ID": "0193f1a2-7c3b-7000-8000-0123456789ab",
}


def headers_of(environ: dict[str, str]) -> list[tuple[str, bytes]]:
    return [
        (key.removeprefix("HTTP_").replace("_", "-").lower(), value.encode("latin-1"))
        for key, value in environ.items()
    ]


def request(
    name: str,
    fields: list[Any],
    *,
    environ: dict[str, Any] | None = None,
    wanted: list[str] | None = None,
    headers: bool | list[str] = True,
    body: bytes = b"",
    flags: int = 0,
    **more: Any,
) -> Case:
    case: Case = {
        "name": name,
        "kind": "request",
        "fields": fields,
        "flags": flags,
        "status": 0,
        "body": body,
    }
    if environ is not None:
        wanted = BASIC_NAMES if wanted is None else wanted
        case["host"] = {"environ": environ, "fields": wanted, "headers": headers, **more}
    return case


def response(
    name: str,
    fields: list[Any],
    *,
    status: int = 200,
    given: list[Any] | None = None,
    headers: bool | list[str] = True,
    context: bool = False,
    context_value: bytes | None = None,
    body: bytes = b"",
    flags: int = 0,
) -> Case:
    case: Case = {
        "name": name,
        "kind": "response",
        "fields": fields,
        "flags": flags,
        "status": status,
        "body": body,
    }
    if given is not None:
        case["host"] = {
            "given": given,
            "headers": headers,
            "context": context,
            "context_value": context_value,
        }
    return case


def request_cases() -> list[Case]:
    hundred = {f"HTTP_X_H{n}": f"value {n}" for n in range(100)}
    post = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "8"}
    routed = {"endpoint": "product", "args": {"id": 7, "name": "Grüße &"}}
    args = b"id=7&name=Gr%C3%BC%C3%9Fe+%26"
    return [
        request("nothing at all", [], environ=ENVIRON, wanted=[], headers=[]),
        request("line and no headers", BASIC, environ=ENVIRON),
        request("twelve fields of headers", BASIC + headers_of(TWELVE), environ=ENVIRON | TWELVE),
        request("100 headers", headers_of(hundred), environ=ENVIRON | hundred, wanted=[]),
        request(
            "headers only",
            [("accept", b"*/*")],
            environ=ENVIRON | {"HTTP_ACCEPT": "*/*"},
            wanted=[],
        ),
        request(
            "empty values",
            [(":path", b""), (":query", b""), ("x-empty", b"")],
            environ=ENVIRON | {"PATH_INFO": "", "QUERY_STRING": "", "HTTP_X_EMPTY": ""},
            wanted=[":path", ":query"],
        ),
        request(
            "UTF-8 bytes",
            [(":path", "/Grüße/東京".encode()), ("x-name", "Zoë €".encode())],
            environ=ENVIRON
            | {
                "PATH_INFO": "/Grüße/東京".encode().decode("latin-1"),
                "HTTP_X_NAME": "Zoë €".encode().decode("latin-1"),
            },
            wanted=[":path"],
        ),
        request(
            "Latin-1 bytes that are not UTF-8",
            [(":path", b"/\xff\xfe"), ("x", b"Gr\xfc\xdfe")],
            environ=ENVIRON | {"PATH_INFO": "/\xff\xfe", "HTTP_X": "Grüße"},
            wanted=[":path"],
        ),
        request(
            "text beyond Latin-1, which WSGI forbids, as UTF-8",
            [("x", "10 €".encode()), ("y", b"\xfc")],
            environ=ENVIRON | {"HTTP_X": "10 €", "HTTP_Y": "ü"},
            wanted=[],
        ),
        request(
            "cookies",
            [(":cookies", b"a=1; b=2"), ("accept", b"*/*")],
            environ=ENVIRON | {"HTTP_COOKIE": "a=1; b=2", "HTTP_ACCEPT": "*/*"},
            wanted=[":cookies"],
        ),
        request(
            "cookies not asked for are not among the headers",
            [("accept", b"*/*")],
            environ=ENVIRON | {"HTTP_COOKIE": "a=1; b=2", "HTTP_ACCEPT": "*/*"},
            wanted=[],
        ),
        request("no cookies: left out", [], environ=ENVIRON, wanted=[":cookies"]),
        request(
            "no cookies, declared needs: marked absent",
            [(":cookies", None)],
            environ=ENVIRON,
            wanted=[":cookies"],
            headers=[],
        ),
        request(
            "declared headers",
            [
                (":method", b"GET"),
                ("user-agent", TWELVE["HTTP_USER_AGENT"].encode()),
                ("x-request-id", TWELVE["HTTP_X_REQUEST_ID"].encode()),
            ],
            environ=ENVIRON | TWELVE,
            wanted=[":method"],
            headers=["user-agent", "x-request-id"],
        ),
        request(
            "declared headers that were not sent",
            [("authorization", None), ("user-agent", b"test"), ("x-other", None)],
            environ=ENVIRON | {"HTTP_USER_AGENT": "test"},
            wanted=[],
            headers=["authorization", "user-agent", "x-other"],
        ),
        request(
            "a header sent twice comes joined",
            [("accept", b"text/html, */*")],
            environ=ENVIRON | {"HTTP_ACCEPT": "text/html, */*"},
            wanted=[],
        ),
        request(
            "endpoint and view arguments",
            [(":path", b"/cart"), ("accept", b"*/*"), (":endpoint", b"product"), (":args", args)],
            environ=ENVIRON | {"HTTP_ACCEPT": "*/*"},
            wanted=[":endpoint", ":path", ":args"],
            **routed,
        ),
        request(
            "endpoint and view arguments, declared needs",
            [(":path", b"/cart"), ("accept", b"*/*"), (":endpoint", b"product"), (":args", args)],
            environ=ENVIRON | {"HTTP_ACCEPT": "*/*"},
            wanted=[":endpoint", ":path", ":args"],
            headers=["accept"],
            **routed,
        ),
        request(
            "endpoint without arguments, not ASCII",
            [(":endpoint", "café".encode()), (":args", b"")],
            environ=ENVIRON,
            wanted=[":endpoint", ":args"],
            endpoint="café",
            args={},
        ),
        request(
            "routes nowhere: left out",
            [(":path", b"/cart")],
            environ=ENVIRON,
            wanted=[":path", ":endpoint", ":args"],
        ),
        request(
            "routes nowhere, declared needs: marked absent",
            [(":path", b"/cart"), (":endpoint", None), (":args", None)],
            environ=ENVIRON,
            wanted=[":path", ":endpoint", ":args"],
            headers=[],
        ),
        request(
            "no Host header",
            [(":host", b"127.0.0.1:8000")],
            wanted=[":host"],
            environ={k: v for k, v in ENVIRON.items() if k != "HTTP_HOST"},
        ),
        request(
            "no Host header, the scheme's own port",
            [(":host", b"127.0.0.1")],
            wanted=[":host"],
            headers=[],
            environ={
                k: v for k, v in (ENVIRON | {"SERVER_PORT": "443"}).items() if k != "HTTP_HOST"
            },
        ),
        request(
            "no client address",
            [(":method", b"GET")],
            wanted=[":method", ":remote"],
            environ={k: v for k, v in ENVIRON.items() if k != "REMOTE_ADDR"},
        ),
        request(
            "a body",
            [("content-type", b"application/json"), ("content-length", b"8")],
            environ=ENVIRON | post,
            wanted=[],
            body=b'{"a": 1}',
            flags=BODY,
        ),
        request(
            "an empty body, empty content headers are none",
            [("x", b"1")],
            environ=ENVIRON | {"CONTENT_TYPE": "", "CONTENT_LENGTH": "", "HTTP_X": "1"},
            wanted=[],
            flags=BODY,
        ),
        request(
            "empty content headers, declared needs: marked absent",
            [("content-type", None), ("content-length", None)],
            environ=ENVIRON | {"CONTENT_TYPE": "", "CONTENT_LENGTH": ""},
            wanted=[],
            headers=["content-type", "content-length"],
        ),
        request(
            "body of all byte values",
            [],
            environ=ENVIRON,
            wanted=[],
            headers=[],
            body=bytes(range(256)),
            flags=BODY,
        ),
        request("1 MiB body", BASIC, environ=ENVIRON, body=b"a" * (1 << 20), flags=BODY),
        request(
            "body omitted",
            [("content-length", b"99999999")],
            environ=ENVIRON | {"CONTENT_LENGTH": "99999999"},
            wanted=[],
            flags=BODY_OMITTED,
        ),
        request(
            "names that need no padding",
            [("x-ab", b"1"), ("x-cd", b"2")],
            environ=ENVIRON | {"HTTP_X_AB": "1", "HTTP_X_CD": "2"},
            wanted=[],
        ),
        request(
            "fields that a guest does not know",
            [(":next-version", b"?"), (":method", b"GET"), ("x", b"1")],
        ),
        request("fields in another order", [("x", b"1"), (":path", b"/"), (":method", b"PUT")]),
        request("everything absent", [(":endpoint", None), (":cookies", None), ("x", None)]),
        request("empty and absent are not the same", [("x-empty", b""), ("x-absent", None)]),
    ]


def response_cases() -> list[Case]:
    html = ("Content-Type", "text/html; charset=utf-8")
    length = ("Content-Length", "5")
    cookies = [("Set-Cookie", "a=1; Path=/"), ("X-Between", "-"), ("Set-Cookie", "b=2; HttpOnly")]
    shown = [("content-type", b"text/html; charset=utf-8"), ("content-length", b"5")]
    hundred = [(f"X-H{n}", f"value {n}") for n in range(100)]
    return [
        response("response: nothing", [], given=[]),
        response(
            "response: headers and body", shown, given=[html, length], body=b"hello", flags=BODY
        ),
        response("response: headers not asked for", [], given=[html, length], headers=[]),
        response(
            "response: repeated Set-Cookie",
            [("set-cookie", b"a=1; Path=/"), ("x-between", b"-"), ("set-cookie", b"b=2; HttpOnly")],
            given=cookies,
        ),
        response(
            "response: declared header that repeats",
            [("set-cookie", b"a=1; Path=/"), ("set-cookie", b"b=2; HttpOnly")],
            given=[html, *cookies],
            headers=["set-cookie", "etag"],
        ),
        response(
            "response: 100 headers", [(n.lower(), v.encode()) for n, v in hundred], given=hundred
        ),
        response(
            "response: context",
            [*shown, (":context", b"\x00\xffstate")],
            given=[html, length],
            context=True,
            context_value=b"\x00\xffstate",
        ),
        response(
            "response: empty context",
            [(":context", b"")],
            given=[html],
            headers=[],
            context=True,
            context_value=b"",
        ),
        response("response: no context", [(":context", None)], given=[], context=True, status=404),
        response(
            "response: context and body",
            [(":context", b"ctx")],
            given=[],
            context=True,
            context_value=b"ctx",
            body=b"body",
            flags=BODY,
            status=599,
        ),
        response("response: Latin-1 value", [("x", b"Gr\xfc\xdfe")], given=[("X", "Grüße")]),
        response(
            "response: text beyond Latin-1 as UTF-8",
            [("x", "10 €".encode()), ("y", b"\xfc")],
            given=[("X", "10 €"), ("Y", "ü")],
        ),
        response("response: 204 without body", [], given=[], status=204, flags=BODY_OMITTED),
        response("response: interim status", [], given=[], status=100),
        response(
            "response: 1 MiB body", shown, given=[html, length], body=b"a" * (1 << 20), flags=BODY
        ),
    ]


def cases() -> list[Case]:
    return request_cases() + response_cases()


def encoded(case: Case) -> bytes:
    fields = [(name.encode(), value) for name, value in case["fields"]]
    return encode_record(KINDS[case["kind"]], fields, case["flags"], case["status"], case["body"])
