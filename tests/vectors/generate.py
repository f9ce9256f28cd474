"""Write the golden vectors of the native ABI: ``python tests/vectors/generate.py``.

The bytes come from ``tests/abi_reference.py``, never from the host. README.md explains the format.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import malformed_cases  # noqa: E402
import record_cases  # noqa: E402
import state_cases  # noqa: E402
from abi_reference import OPS, effect, encode_edits  # noqa: E402

RUN = re.compile(rb"(.)\1{1023,}", re.DOTALL)
MIB = b"a" * (1 << 20)


def blob(data: bytes) -> str | list[Any]:
    """Hex, or a list of hex strings and runs when a byte repeats 1 024 times or more."""
    parts: list[Any] = []
    at = 0
    for run in RUN.finditer(data):
        if run.start() > at:
            parts.append(data[at : run.start()].hex())
        parts.append({"repeat": run[1].hex(), "count": run.end() - run.start()})
        at = run.end()
    if not parts:
        return data.hex()
    if at < len(data):
        parts.append(data[at:].hex())
    return parts


def sealed(data: bytes) -> dict[str, Any]:
    """The members that give the vector's whole bytes, and the means to check them."""
    return {
        "bytes": blob(data),
        "length": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return blob(value)
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def edit_cases() -> list[tuple[str, str, list[dict[str, Any]]]]:
    """(name, hook, edits)"""

    def header(name: str, value: bytes, op: str = "set_header") -> dict[str, Any]:
        return {"op": op, "name": name, "value": value}

    def remove(name: str) -> dict[str, Any]:
        return {"op": "remove_header", "name": name}

    def value(op: str, value: bytes) -> dict[str, Any]:
        return {"op": op, "value": value}

    def answer(status: int) -> dict[str, Any]:
        return {"op": "answer", "status": status}

    def status(status: int) -> dict[str, Any]:
        return {"op": "set_status", "status": status}

    def add_g(name: str, value: bytes) -> dict[str, Any]:
        return {"op": "set_g", "name": name, "value": value}

    hundred = [header(f"x-h{n}", str(n).encode()) for n in range(100)]
    cases: list[tuple[str, str, list[dict[str, Any]]]] = []
    for hook in ("request", "response"):
        cases += [
            (f"{hook}: no edits", hook, []),
            (f"{hook}: set header", hook, [header("x-plugin", b"hello")]),
            (f"{hook}: set header to nothing", hook, [header("x-plugin", b"")]),
            (f"{hook}: add header", hook, [header("x-plugin", b"hello", "add_header")]),
            (f"{hook}: remove header", hook, [remove("x-plugin")]),
            (f"{hook}: header name in mixed case", hook, [header("X-Plugin-Id", b"1")]),
            (f"{hook}: every token character", hook, [header("!#$%&'*+-.^_`|~09azAZ", b"1")]),
            (f"{hook}: header value with inner space and tab", hook, [header("x", b"a \t b")]),
            (f"{hook}: header value in UTF-8", hook, [header("x", "Grüße €".encode())]),
            (f"{hook}: header value in Latin-1", hook, [header("x", b"Gr\xfc\xdfe \x80\xff")]),
            (
                f"{hook}: the same header three ways",
                hook,
                [
                    header("x-a", b"1"),
                    header("x-a", b"2", "add_header"),
                    remove("X-A"),
                    header("x-a", b"3", "add_header"),
                ],
            ),
            (f"{hook}: 100 headers", hook, hundred),
            (f"{hook}: set body", hook, [value("set_body", b'{"a": 1}')]),
            (f"{hook}: set empty body", hook, [value("set_body", b"")]),
            (f"{hook}: set body to all byte values", hook, [value("set_body", bytes(range(256)))]),
            (f"{hook}: set body twice", hook, [value("set_body", b"1"), value("set_body", b"2")]),
            (f"{hook}: set 1 MiB body", hook, [value("set_body", MIB)]),
        ]
    cases += [
        ("1000 edits", "request", [header("x", b"1")] * 1000),
        ("131 072 bytes of headers", "request", [header("x", b"a" * 32_767)] * 4),
        ("set path", "request", [value("set_path", b"/products/7")]),
        ("set path: root", "request", [value("set_path", b"/")]),
        ("set path: UTF-8", "request", [value("set_path", "/Grüße/€".encode())]),
        ("set path: bytes that are not UTF-8", "request", [value("set_path", b"/\xff\xfe")]),
        ("set query", "request", [value("set_query", b"a=1&b=%20&c[]=x?/~!")]),
        ("set query: empty", "request", [value("set_query", b"")]),
        ("set method", "request", [value("set_method", b"POST")]),
        ("set method: token", "request", [value("set_method", b"M-SEARCH")]),
        ("set g", "request", [add_g("discount", b"12.5")]),
        (
            "set g: unicode and empty values",
            "request",
            [add_g("name", "Zoë 東京 \U0001f600".encode()), add_g("a1_", b"")],
        ),
        ("set g: name of 64 bytes", "request", [add_g("n" * 64, b"1")]),
        ("set context", "request", [value("set_context", bytes(range(256)))]),
        ("set context: empty", "request", [value("set_context", b"")]),
        ("set context: 64 KiB", "request", [value("set_context", b"c" * 65536)]),
        ("answer", "request", [answer(404)]),
        ("answer: 200 and 599", "request", [answer(599)]),
        ("answer: 204 with an empty body", "request", [answer(204), value("set_body", b"")]),
        (
            "answer: headers, body, context",
            "request",
            [
                answer(503),
                header("Retry-After", b"7"),
                header("content-type", b"text/plain"),
                header("Set-Cookie", b"a=1", "add_header"),
                header("Set-Cookie", b"b=2", "add_header"),
                value("set_body", "später".encode()),
                value("set_context", b"turned away"),
            ],
        ),
        (
            "answer: its headers start empty, set replaces the first",
            "request",
            [
                header("x-request", b"stays on the request"),
                answer(200),
                header("a", b"1", "add_header"),
                header("b", b"2", "add_header"),
                header("A", b"3", "add_header"),
                header("a", b"4"),
                remove("B"),
                remove("not-there"),
                header("c", b"5"),
            ],
        ),
        (
            "answer: names that differ in - and _ are two headers",
            "request",
            [answer(200), header("x-a", b"1"), header("x_a", b"2"), remove("X-A")],
        ),
        (
            "answer: a context set before it counts",
            "request",
            [value("set_context", b"early"), answer(200), value("set_body", b"x")],
        ),
        (
            "answer: a context set after it counts more",
            "request",
            [value("set_context", b"early"), answer(200), value("set_context", b"")],
        ),
        (
            "answer: edits before it are the request's",
            "request",
            [
                value("set_body", b"request body"),
                value("set_path", b"/x"),
                answer(202),
                value("set_body", b"answer body"),
            ],
        ),
        (
            "every request edit",
            "request",
            [
                header("x-a", b"1"),
                header("x-b", b"2", "add_header"),
                remove("x-c"),
                value("set_path", b"/p"),
                value("set_query", b"q=1"),
                value("set_method", b"PUT"),
                value("set_body", b"body"),
                add_g("k", b"v"),
                value("set_context", b"ctx"),
            ],
        ),
        ("set status", "response", [status(418)]),
        ("set status: 200", "response", [status(200)]),
        ("set status: 304 and empty body", "response", [status(304), value("set_body", b"")]),
        (
            "set status: the last one counts",
            "response",
            [status(204), value("set_body", b"x"), status(201)],
        ),
        (
            "every response edit",
            "response",
            [
                header("x-a", b"1"),
                header("x-b", b"2", "add_header"),
                remove("x-c"),
                value("set_body", b"body"),
                status(201),
            ],
        ),
    ]
    return cases


def edit_vectors() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "hook": f"on_{hook}",
            "edits": jsonable(edits),
            **sealed(encode_edits(edits)),
            "effect": jsonable(effect(edits)),
        }
        for name, hook, edits in edit_cases()
    ]


def record_vectors() -> list[dict[str, Any]]:
    return [
        {**jsonable(case), **sealed(record_cases.encoded(case))} for case in record_cases.cases()
    ]


def malformed_vectors() -> list[dict[str, Any]]:
    return [
        {
            "name": case.name,
            "hook": f"on_{case.hook}",
            **sealed(case.data),
            "offset": case.offset,
            "rule": case.rule,
            **case.given,
        }
        for case in malformed_cases.cases()
    ]


def state_vectors() -> list[dict[str, Any]]:
    return [{**jsonable(case), **sealed(state_cases.encoded(case))} for case in state_cases.cases()]


def table_text(table: dict[str, Any]) -> str:
    """JSON with one vector per line, so that a difference names its vector."""
    vectors = ",\n".join(json.dumps(vector) for vector in table.pop("vectors"))
    head = json.dumps({"abi": 1, **table})[:-1]
    return f'{head}, "vectors": [\n{vectors}\n]}}\n'


def files() -> dict[str, str]:
    """File name → content, as they must be."""
    tables = {
        "records.json": {"vectors": record_vectors()},
        "edits.json": {"ops": OPS, "vectors": edit_vectors()},
        "malformed.json": {"vectors": malformed_vectors()},
        "state.json": {"vectors": state_vectors()},
    }
    return {name: table_text(table) for name, table in tables.items()}


if __name__ == "__main__":
    for name, text in files().items():
        (HERE / name).write_text(text, encoding="ascii", newline="\n")
