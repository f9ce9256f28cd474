"""The cases of ``malformed.json``: every rule of section 5, broken once or more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from abi_reference import HEADER, OPS, raw_edit, u16

SIZE = "the result is not longer than the host allows"
HEAD = "an edit list starts with version 1, kind 3 and two zero bytes"
COUNT = "a list has at most 1000 edits"
INSIDE = "an edit lies wholly inside the result"
KNOWN = "the op is known"
PLACE = "the op is allowed at this place"
RESERVED = "reserved bytes are 0"
NO_NAME = "this op has no name"
NO_VALUE = "this op has no value"
TOKEN = "a header name is an RFC 9110 token"
SERVERS = "headers that belong to the server are left alone"
LONG_NAME = "a header name is at most 256 bytes long"
LONG_VALUE = "a header value is at most 32768 bytes long"
ALL_HEADERS = "the headers of a list have at most 131072 bytes"
CONTROL = "a header value has no control characters other than tab"
EDGES = "a header value neither starts nor ends with space or tab"
URL = "Location and Content-Location are URLs whose host and port can be read"
PATH = "a path starts with /"
LONG_PATH = "a path is at most 16384 bytes long"
LONG_QUERY = "a query is at most 16384 bytes long"
QUERY = "a query is printable ASCII without space or #"
METHOD = "a method is an RFC 9110 token in upper case"
LONG_METHOD = "a method is at most 64 bytes long"
G_NAME = "a name on g is an ASCII identifier of at most 64 bytes without a leading underscore"
G_OWN = "the methods of g are left alone"
G_VALUE = "a value on g is UTF-8"
CONTEXT = "a context is at most 65536 bytes long"
STATUS_SIZE = "a status is two bytes long"
STATUS = "a status is 200-599"
BODILESS = "a body does not go with status 204, 205 or 304"

GOOD = raw_edit(1, b"x-good", b"1")
MANY_BYTES = HEADER + raw_edit(2, b"x", b"a" * 32_767) * 4 + raw_edit(3, b"x")


@dataclass
class Case:
    name: str
    hook: str
    data: bytes
    offset: int
    rule: str
    given: dict[str, Any] = field(default_factory=dict)


def listed(*edits: bytes) -> bytes:
    return HEADER + b"".join(edits)


def head_cases() -> list[Case]:
    bad = [b"", b"\1", b"\1\3", b"\1\3\0", b"\0\3\0\0", b"\2\3\0\0", b"\1\1\0\0", b"\1\4\0\0"]
    bad += [b"\1\3\1\0", b"\1\3\0\1", b"HTTP/1.1 200 OK", b'{"a": 1}', b"\0" * 64, b"\xff" * 64]
    return [
        Case(f"{hook}: head {data[:8].hex() or 'missing'}", hook, data, 0, HEAD)
        for hook in ("request", "response")
        for data in bad
    ]


def frame_cases(hook: str) -> list[Case]:
    two = listed(GOOD)
    at = len(two)
    edit = raw_edit(1, b"x-a", b"value")
    return [
        Case("one byte of an edit", hook, two + b"\1", at, INSIDE),
        Case("seven bytes of an edit", hook, two + edit[:7], at, INSIDE),
        Case("name cut off", hook, two + edit[:9], at + 2, INSIDE),
        Case("value missing", hook, two + edit[:11], at + 4, INSIDE),
        Case("value cut off", hook, two + edit[:-1], at + 4, INSIDE),
        Case(
            "name_len too large", hook, listed(raw_edit(1, b"x", b"1", name_len=0xFFFF)), 6, INSIDE
        ),
        Case(
            "value_len too large",
            hook,
            listed(raw_edit(1, b"x", b"1", value_len=0xFFFFFFFF)),
            8,
            INSIDE,
        ),
        Case(
            "value_len one too large", hook, listed(raw_edit(1, b"x", b"1", value_len=2)), 8, INSIDE
        ),
        Case(
            "value_len negative as i32",
            hook,
            listed(raw_edit(7, b"", b"1", value_len=1 << 31)),
            8,
            INSIDE,
        ),
        Case("padding after an edit", hook, listed(GOOD, b"\0\0"), at, INSIDE),
        Case("reserved byte", hook, two + raw_edit(1, b"x", b"1", reserved=1), at + 1, RESERVED),
        Case(
            "reserved byte of set body",
            hook,
            listed(raw_edit(7, b"", b"1", reserved=255)),
            5,
            RESERVED,
        ),
        Case("op 0", hook, two + raw_edit(0), at, KNOWN),
        Case("op 12", hook, two + raw_edit(12), at, KNOWN),
        Case("op 255", hook, two + raw_edit(255), at, KNOWN),
        Case("1001 edits", hook, listed(*[GOOD] * 1001), 4 + 1000 * len(GOOD), COUNT),
        Case("131 073 bytes of headers", hook, MANY_BYTES, 0, ALL_HEADERS),
        Case("longer than the limit", hook, listed(*[GOOD] * 5), 64, SIZE, {"max_result": 64}),
    ]


def header_cases(hook: str, first: bytes = b"") -> list[Case]:
    start = len(HEADER) + len(first)

    def case(name: str, edit: bytes, at: int, rule: str) -> Case:
        return Case(name, hook, listed(first, edit), start + at, rule)

    cases = [case("remove header with a value", raw_edit(3, b"x", b"1"), 4, NO_VALUE)]
    for op in (1, 2, 3):
        value = b"" if op == 3 else b"1"
        for name in (
            b"",
            b"x y",
            b"x:",
            b"x\r\n",
            b"x\n",
            b"x\0",
            b"x\xfc",
            b"(x)",
            b":path",
            b'"',
        ):
            cases.append(case(f"op {op}: name {name!r}", raw_edit(op, name, value), 8, TOKEN))
        long = raw_edit(op, b"x" * 257, value)
        cases.append(case(f"op {op}: a name of 257 bytes", long, 8, LONG_NAME))
        for name in (
            b"connection",
            b"Keep-Alive",
            b"Proxy-Connection",
            b"Proxy-Authenticate",
            b"Proxy-Authorization",
            b"Trailers",
            b"TE",
            b"trailer",
            b"Transfer-Encoding",
            b"Upgrade",
            b"CONTENT-LENGTH",
            b"content_length",
            b"Transfer_Encoding",
            b"X-Accel-Redirect",
            b"X-LiteSpeed-Location",
            b"X-Reproxy-File",
            b"X-Sendfile2",
            b"X-Sendfile-Temporary",
            b"x-sendfile",
        ):
            cases.append(case(f"op {op}: {name.decode()}", raw_edit(op, name, value), 8, SERVERS))
    for op in (1, 2):
        long = raw_edit(op, b"xyz", b"v" * 32_769)
        cases.append(case(f"op {op}: a value of 32 769 bytes", long, 11, LONG_VALUE))
        for value in (b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b", b"\x01", b"a\x7f", b"a\n", b"\x1b["):
            cases.append(
                case(f"op {op}: value {value!r}", raw_edit(op, b"xyz", value), 11, CONTROL)
            )
        for value in (b" ", b"\t", b" a", b"a ", b"\ta", b"a\t", b"a  "):
            cases.append(case(f"op {op}: value {value!r}", raw_edit(op, b"xyz", value), 11, EDGES))
    return cases


def request_cases() -> list[Case]:
    def case(name: str, edit: bytes, at: int, rule: str) -> Case:
        return Case(name, "request", listed(GOOD, edit), len(listed(GOOD)) + at, rule)

    cases = [
        case(f"{op} with a name", raw_edit(OPS[op], b"x", value), 2, NO_NAME)
        for op, value in {
            "set_path": b"/",
            "set_query": b"",
            "set_method": b"GET",
            "set_body": b"1",
            "set_context": b"1",
            "answer": u16(200),
        }.items()
    ]
    for value in (b"", b"x", b"http://a/", b"*", b" /", b"\xff/"):
        cases.append(case(f"path {value!r}", raw_edit(4, b"", value), 8, PATH))
    for value in (b"a b", b"a#b", b"a\r\nb", b"\0", b"\x7f", b"\xc3\xbc", b"a\n", b"\t"):
        cases.append(case(f"query {value!r}", raw_edit(5, b"", value), 8, QUERY))
    cases.append(case("path too long", raw_edit(4, b"", b"/" * 16_385), 4, LONG_PATH))
    cases.append(case("query too long", raw_edit(5, b"", b"a" * 16_385), 4, LONG_QUERY))
    for value in (b"", b"get", b"Post", b"GE T", b"GET ", b"GET\n", b"G\xc3\x9c", b"GET\r\nX: 1"):
        cases.append(case(f"method {value!r}", raw_edit(6, b"", value), 8, METHOD))
    cases.append(case("method too long", raw_edit(6, b"", b"A" * 65), 4, LONG_METHOD))
    for name in (b"", b"_x", b"1x", b"a-b", b"a b", b"x\n", b"\xc3\xbc", b"__class__", b"n" * 65):
        cases.append(case(f"g name {name[:9]!r}", raw_edit(8, name, b"1"), 8, G_NAME))
    for name in (b"get", b"pop", b"setdefault"):
        cases.append(case(f"g name {name!r}", raw_edit(8, name, b"1"), 8, G_OWN))
    for value in (b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80"):
        cases.append(case(f"g value {value!r}", raw_edit(8, b"xy", value), 10, G_VALUE))
    cases.append(case("context too long", raw_edit(9, b"", b"c" * 65537), 4, CONTEXT))
    cases.append(case("set_status in on_request", raw_edit(11, b"", u16(200)), 0, PLACE))
    cases += status_cases("request", 10)
    return cases


def answer_cases() -> list[Case]:
    answer = raw_edit(10, b"", u16(200))

    def case(name: str, status: int, edit: bytes, at: int, rule: str) -> Case:
        first = raw_edit(10, b"", u16(status))
        return Case(f"answer, {name}", "request", listed(first, edit), 14 + at, rule)

    cases = [case("answer again", 200, answer, 0, PLACE)]
    for op, name, value in (
        (4, b"", b"/"),
        (5, b"", b""),
        (6, b"", b"GET"),
        (8, b"x", b"1"),
        (11, b"", u16(200)),
    ):
        cases.append(case(f"then op {op}", 200, raw_edit(op, name, value), 0, PLACE))
    for status in (204, 205, 304):
        body = raw_edit(7, b"", b"x")
        cases.append(case(f"{status} with a body", status, body, 0, BODILESS))
    cases += url_cases("request", answer)
    for malformed in header_cases("request", answer):
        malformed.name = f"answer, {malformed.name}"
        cases.append(malformed)
    return cases


def url_cases(hook: str, first: bytes = b"") -> list[Case]:
    cases = []
    for name in (b"Location", b"content-location"):
        for value in (
            b"http://[",
            b"http://a:99999/",
            b"//a:b",
            b"http://a..b/",
            b"//\xe2\x84\xab/",
            b"//" + b"a." * 127,
        ):
            edit, at = raw_edit(1, name, value), len(HEADER) + len(first) + 8 + len(name)
            label = f"{'answer, ' if first else ''}{name.decode()} {value[:20]!r}"
            cases.append(Case(label, hook, listed(first, edit), at, URL))
    return cases


def status_cases(hook: str, op: int) -> list[Case]:
    cases = []
    for value in (b"", b"\xc8", b"\xc8\0\0\0", b"200"):
        cases.append(
            Case(f"status {value!r}", hook, listed(raw_edit(op, b"", value)), 8, STATUS_SIZE)
        )
    for status in (0, 99, 100, 101, 103, 199, 600, 999, 0xFFFF):
        edit = raw_edit(op, b"", u16(status))
        cases.append(Case(f"status {status}", hook, listed(edit), 12, STATUS))
    return cases


def response_cases() -> list[Case]:
    def case(name: str, edit: bytes, at: int, rule: str) -> Case:
        return Case(name, "response", listed(GOOD, edit), len(listed(GOOD)) + at, rule)

    cases = [
        case("set_body with a name", raw_edit(7, b"x", b"1"), 2, NO_NAME),
        case("set_status with a name", raw_edit(11, b"x", u16(200)), 2, NO_NAME),
    ]
    for op, name, value in (
        (4, b"", b"/"),
        (5, b"", b""),
        (6, b"", b"GET"),
        (8, b"x", b"1"),
        (9, b"", b"1"),
        (10, b"", u16(200)),
    ):
        cases.append(case(f"op {op} in on_response", raw_edit(op, name, value), 0, PLACE))
    cases += url_cases("response")
    cases += status_cases("response", 11)
    body = raw_edit(7, b"", b"body")
    for status in (204, 205, 304):
        edit = raw_edit(11, b"", u16(status))
        cases += [
            Case(f"{status}, then a body", "response", listed(edit, body), 14, BODILESS),
            Case(f"a body, then {status}", "response", listed(body, edit), 4, BODILESS),
        ]
    return cases


def cases() -> list[Case]:
    """Names are made unique by their hook."""
    all_cases = (
        head_cases()
        + [case for hook in ("request", "response") for case in frame_cases(hook)]
        + [case for hook in ("request", "response") for case in header_cases(hook)]
        + request_cases()
        + answer_cases()
        + response_cases()
    )
    for case in all_cases:
        if not case.name.startswith(case.hook):
            case.name = f"{case.hook}: {case.name}"
    return all_cases
