"""Encoding records from an environ and from response headers."""

from __future__ import annotations

import string
from io import BytesIO
from typing import Any

import abi_reference as reference
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugin_host.abi import records, request_records
from plugin_host.abi.native import REQUEST_FIELDS, RequestEncoder, ResponseEncoder

# A busy machine is no failure.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "HTTP_HOST": "a.example",
    "wsgi.url_scheme": "http",
    "wsgi.version": (1, 0),
    "wsgi.input": BytesIO(),
}
LATIN = st.text(st.characters(max_codepoint=0xFF), max_size=30)
NAMES = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=12)
REQUEST_HEADERS = st.dictionaries(
    NAMES.filter(lambda name: name not in ("host", "cookie", "content-type", "content-length")),
    LATIN,
    max_size=20,
)


def fields_of(record: bytes) -> dict[str, str | None]:
    """A record's fields as text; absent ones, marked or left out, are None or missing."""
    fields = reference.decode_record(record)["fields"]
    names = [name.decode("latin-1") for name, _ in fields]
    assert sorted(set(names)) == sorted(names)
    values = [None if value is None else value.decode("latin-1") for _, value in fields]
    return dict(zip(names, values, strict=True))


def with_headers(headers: dict[str, str]) -> dict[str, Any]:
    return {**ENVIRON, **{f"HTTP_{n.upper().replace('-', '_')}": v for n, v in headers.items()}}


@untimed
@given(REQUEST_HEADERS, LATIN, LATIN, st.binary(max_size=100), st.integers(0, 3))
def test_request_round_trip(
    headers: dict[str, str], path: str, query: str, body: bytes, flags: int
) -> None:
    """Every header and field of a request is in its record, byte for byte."""
    environ = {**with_headers(headers), "PATH_INFO": path, "QUERY_STRING": query}
    encoder = RequestEncoder((":path", ":query"), True)
    expected = {":path": path, ":query": query, **headers}
    for _ in range(2):
        record = encoder.encode(environ, None, None, body, flags)
        decoded = reference.decode_record(record)
        assert expected == fields_of(record)
        assert (1, flags, 0, body) == tuple(
            decoded[key] for key in ("kind", "flags", "status", "body")
        )


@untimed
@given(REQUEST_HEADERS, st.lists(NAMES, max_size=5))
def test_declared_round_trip(headers: dict[str, str], wanted: list[str]) -> None:
    """With declared headers, a record has these and marks those that were not sent."""
    wanted = [name for name in wanted if name not in ("host", "cookie")] + list(headers)[:3]
    encoder = RequestEncoder((":method",), tuple(wanted))
    expected = {":method": "GET", **{name: headers.get(name) for name in wanted}}
    assert expected == fields_of(encoder.encode(with_headers(headers)))


@untimed
@given(st.lists(st.tuples(NAMES.map(str.title), LATIN), max_size=20), st.binary(max_size=50))
def test_response_round_trip(headers: list[tuple[str, str]], body: bytes) -> None:
    """Every header of a response is in its record, in order, repeated ones too."""
    expected = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    encoder = ResponseEncoder(True, context=True)
    for context in (None, b"", b"\xff\0"):
        decoded = reference.decode_record(encoder.encode(200, headers, context, body, 1))
        assert {
            "kind": 2,
            "fields": [*expected, (b":context", context)],
            "flags": 1,
            "status": 200,
            "body": body,
        } == decoded


@pytest.mark.parametrize("headers", [True, ("x-a",), ()])
def test_every_field(headers: Any) -> None:
    """Every request field can be asked for, with any headers."""
    environ = {**ENVIRON, "HTTP_COOKIE": "a=1"}
    record = RequestEncoder(tuple(sorted(REQUEST_FIELDS)), headers).encode(environ, "e", {"a": 1})
    fields = fields_of(record)
    fields.pop("x-a", None)
    assert fields.pop(":state", None) is None  # nothing was read beforehand
    assert {
        ":args": "a=1",
        ":cookies": "a=1",
        ":endpoint": "e",
        ":host": "a.example",
        ":method": "GET",
        ":path": "/",
        ":protocol": "HTTP/1.1",
        ":query": "",
        ":remote": "127.0.0.1",
        ":scheme": "http",
    } == fields


@pytest.mark.parametrize("field", [":nothing", "method", ":context", ""])
def test_unknown_field(field: str) -> None:
    """A field that does not exist is refused by name."""
    with pytest.raises(ValueError, match=f"unknown request field {field!r}"):
        RequestEncoder((":method", field), True)


@pytest.mark.parametrize("headers", [True, ("x-price", "content-length")])
def test_environ_of_a_broken_server(headers: Any) -> None:
    """Values that WSGI forbids neither fail nor harm the other fields."""
    environ = {
        **ENVIRON, "CONTENT_LENGTH": 5, "HTTP_X_PRICE": "10 €", "PATH_INFO": "/\xfc\udc80",
    }  # fmt: skip
    record = RequestEncoder((":path", ":remote"), headers).encode(environ)
    assert {
        ":path": "/\xfc\udc80".encode("utf-8", "surrogatepass").decode("latin-1"),
        ":remote": "127.0.0.1",
        "content-length": "5",
        "x-price": "10 €".encode().decode("latin-1"),
    } == fields_of(record)


@pytest.mark.parametrize("headers", [True, ("x-a",)])
def test_environ_with_almost_nothing(headers: Any) -> None:
    """What the environ lacks is absent, and the host is made up from what there is."""
    encoder = RequestEncoder((":method", ":host", ":remote", ":query", ":cookies"), headers)
    expected = {":method": "GET", ":host": "unix"}
    fields = fields_of(encoder.encode({"REQUEST_METHOD": "GET", "SERVER_NAME": "unix"}))
    assert expected == {name: value for name, value in fields.items() if value is not None}


@pytest.mark.parametrize(
    ("scheme", "port", "host"),
    [
        ("http", "80", "srv"),
        ("https", "443", "srv"),
        ("http", "443", "srv:443"),
        ("", "1", "srv:1"),
    ],
)
def test_host_without_header(scheme: str, port: str, host: str) -> None:
    """Without a Host header, the host is the server's name, and its port if not the scheme's."""
    environ = {"SERVER_NAME": "srv", "SERVER_PORT": port, "wsgi.url_scheme": scheme}
    for headers in (True, ()):
        record = RequestEncoder((":host",), headers).encode(dict(environ))
        assert {":host": host} == fields_of(record)


def test_second_spelling_of_content_headers() -> None:
    """Content headers under both of CGI's spellings come once, as the server checked them."""
    environ = {"CONTENT_TYPE": "a/b", "HTTP_CONTENT_TYPE": "x", "HTTP_CONTENT_LENGTH": "9"}
    assert {"content-type": "a/b"} == fields_of(RequestEncoder((), True).encode(environ))


def test_cookie_and_host_declared_as_headers() -> None:
    """The Cookie and Host headers, declared as headers, come as the fields that they are."""
    encoder = RequestEncoder((":host",), ("Cookie", "Host", "X-A"))
    record = encoder.encode({**ENVIRON, "HTTP_COOKIE": "a=1"})
    assert {":host": "a.example", ":cookies": "a=1", "x-a": None} == fields_of(record)


def test_arguments_are_form_encoded() -> None:
    """View arguments of any type come form-encoded, as UTF-8."""
    encoder = RequestEncoder((":args",), ())
    record = encoder.encode(ENVIRON, "e", {"n": 7, "s": "a b&ü", "x": "\udc80", "f": 1.5})
    assert {":args": "n=7&s=a+b%26%C3%BC&x=%3F&f=1.5"} == fields_of(record)


def test_routed_and_unrouted_requests_do_not_mix() -> None:
    """A shape that is known with a route serves requests without one, and the other way round."""
    encoder = RequestEncoder((":endpoint", ":args"), True)
    routed, lost = {":endpoint": "e", ":args": ""}, {}
    for endpoint in ("e", None, "e", None):
        expected = lost if endpoint is None else routed
        assert expected == fields_of(encoder.encode(ENVIRON, endpoint, {}))


def test_empty_values_of_a_known_shape() -> None:
    """Content headers that are empty this time are absent, though the shape had them before."""
    encoder = RequestEncoder((), True)
    for kind in ("a/b", "", "a/b"):
        expected = {"content-type": kind} if kind else {}
        assert expected == fields_of(encoder.encode({"CONTENT_TYPE": kind}))


def test_declared_headers_come_and_go() -> None:
    """A declared header is found again after requests that lacked it, and the other way round."""
    encoder = RequestEncoder((":method",), ("x-a",))
    for sent in (True, False, False, True, True, False):
        environ = {**ENVIRON, "HTTP_X_A": "1"} if sent else ENVIRON
        expected = {":method": "GET", "x-a": "1" if sent else None}
        assert expected == fields_of(encoder.encode(environ))


def test_varied_headers_are_right_and_bounded() -> None:
    """A client that varies its headers gets right records, and what is kept is bounded."""
    encoder = RequestEncoder((), True)
    shapes = encoder.encode.__self__._unrouted  # type: ignore[attr-defined]
    sizes = set()
    for number in range(3 * records.MAX_SHAPES):
        environ = {f"HTTP_X_{number}": str(number)}
        assert {f"x-{number}": str(number)} == fields_of(encoder.encode(environ))
        sizes.add(len(shapes))
    assert records.MAX_SHAPES == max(sizes)
    assert request_records._MAX_NAMES >= len(request_records._names)


def test_long_shapes_are_not_kept() -> None:
    """Very long or very many header names make a right record, and are not kept."""
    encoder = RequestEncoder((), True)
    shapes = encoder.encode.__self__._unrouted  # type: ignore[attr-defined]
    name = "x" * records.MAX_SHAPE_PREFIX
    assert {name: "1"} == fields_of(encoder.encode({f"HTTP_{name.upper()}": "1"}))
    assert {} == shapes
    assert f"HTTP_{name.upper()}" not in request_records._names


def test_response_shapes_are_bounded() -> None:
    """However many shapes responses have, what is kept is bounded."""
    encoder = ResponseEncoder()
    for number in range(3 * records.MAX_SHAPES):
        encoder.encode(200, [(f"X-{number}", "1")])
        assert records.MAX_SHAPES >= len(encoder._shapes)


def test_names_beyond_ascii() -> None:
    """Header names that a lax server lets through come as the bytes they stand for."""
    environ = {"HTTP_X_\xc4": "1", "HTTP_X_\u039c": "2"}
    decoded = reference.decode_record(RequestEncoder((), True).encode(environ))
    assert [(b"x-\xe4", b"1"), ("x-\u03bc".encode(), b"2")] == decoded["fields"]
