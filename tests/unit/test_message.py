"""Applying edits to a WSGI environ and to a list of response headers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugin_host.message import (
    ADD_HEADER,
    REMOVE_HEADER,
    SET_HEADER,
    HeaderEdit,
    RequestEdits,
    ResponseEdits,
    apply_to_environ,
    apply_to_headers,
    environ_key,
)

# A busy machine is no failure.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def on_request(op: int, name: str, value: str = "") -> HeaderEdit:
    return op, name, value, environ_key(name)


def on_response(op: int, name: str, value: str = "") -> HeaderEdit:
    return op, name, value, name.lower()


def environ(**more: Any) -> dict[str, Any]:
    return {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": "a.example", **more}


def applied(before: dict[str, Any], edits: RequestEdits) -> dict[str, Any]:
    apply_to_environ(before, edits)
    return before


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("x-a-b", "HTTP_X_A_B"),
        ("X-A-B", "HTTP_X_A_B"),
        ("Content-Type", "CONTENT_TYPE"),
        ("content-length", "CONTENT_LENGTH"),
        ("cookie", "HTTP_COOKIE"),
        ("HOST", "HTTP_HOST"),
        ("content-type-x", "HTTP_CONTENT_TYPE_X"),
    ],
)
def test_environ_key(name: str, key: str) -> None:
    """A header's key is the one that a WSGI server would use."""
    assert key == environ_key(name)


@pytest.mark.parametrize(
    ("before", "edits", "after"),
    [
        ({}, [(SET_HEADER, "x-a", "1")], {"HTTP_X_A": "1"}),
        ({"HTTP_X_A": "0"}, [(SET_HEADER, "X-A", "1")], {"HTTP_X_A": "1"}),
        ({}, [(ADD_HEADER, "x-a", "1")], {"HTTP_X_A": "1"}),
        ({"HTTP_X_A": "0"}, [(ADD_HEADER, "x-a", "1")], {"HTTP_X_A": "0, 1"}),
        ({"HTTP_X_A": ""}, [(ADD_HEADER, "x-a", "1")], {"HTTP_X_A": "1"}),
        ({"HTTP_COOKIE": "a=1"}, [(ADD_HEADER, "Cookie", "b=2")], {"HTTP_COOKIE": "a=1; b=2"}),
        ({"HTTP_X_A": "0"}, [(REMOVE_HEADER, "x-a")], {}),
        ({}, [(REMOVE_HEADER, "x-a")], {}),
        ({"CONTENT_TYPE": "a/b"}, [(REMOVE_HEADER, "content-type")], {}),
        ({}, [(SET_HEADER, "content-type", "a/b")], {"CONTENT_TYPE": "a/b"}),
        ({}, [(SET_HEADER, "host", "b.example")], {"HTTP_HOST": "b.example"}),
        (
            {"HTTP_X_A": "0"},
            [(REMOVE_HEADER, "x-a"), (ADD_HEADER, "x-a", "1"), (ADD_HEADER, "x-a", "2")],
            {"HTTP_X_A": "1, 2"},
        ),
    ],
)
def test_header_edits(before: Any, edits: Any, after: Any) -> None:
    """Header edits apply in order, to the environ's keys."""
    headers = tuple(on_request(*edit) for edit in edits)
    assert environ(**after) == applied(environ(**before), RequestEdits(headers))


def test_empty_edits_change_nothing() -> None:
    """No edits leave the environ as it is, its order included."""
    before = environ(RAW_URI="//odd?")
    assert list(before.items()) == list(applied(dict(before), RequestEdits()).items())


def test_method() -> None:
    """A method edit sets the request's method."""
    assert "POST" == applied(environ(), RequestEdits(method="POST"))["REQUEST_METHOD"]


def test_body() -> None:
    """A new body sets the length and ends chunked framing; the input is left to the caller."""
    source = object()
    before = environ(HTTP_TRANSFER_ENCODING="chunked", **{"wsgi.input": source})
    expected = environ(CONTENT_LENGTH="3", **{"wsgi.input": source})
    assert expected == applied(before, RequestEdits(body=b"abc"))


@pytest.mark.parametrize(
    ("edits", "path", "query", "uri"),
    [
        (RequestEdits(path="/b c"), "/b c", "q=1", "/app/b%20c?q=1"),
        (RequestEdits(path="/gr\xc3\xbc\xc3\x9fe"), "/gr\xc3\xbc\xc3\x9fe", "q=1",
         "/app/gr%C3%BC%C3%9Fe?q=1"),
        (RequestEdits(path="/%3F?#"), "/%3F?#", "q=1", "/app/%253F%3F%23?q=1"),
        (RequestEdits(query="x=%20"), "/a", "x=%20", "/app/a?x=%20"),
        (RequestEdits(query=""), "/a", "", "/app/a"),
        (RequestEdits(path="/", query="y"), "/", "y", "/app/?y"),
    ],
)  # fmt: skip
def test_target(edits: RequestEdits, path: str, query: str, uri: str) -> None:
    """A new path or query leaves no stale request URI where the server gives one."""
    old = {"PATH_INFO": "/a", "QUERY_STRING": "q=1", "SCRIPT_NAME": "/app"}
    new = {**old, "PATH_INFO": path, "QUERY_STRING": query}
    assert environ(**new) == applied(environ(**old), edits)
    uris = {"RAW_URI": "/app/a?q=1", "REQUEST_URI": "/app/a?q=1&old"}
    expected = environ(**new, RAW_URI=uri, REQUEST_URI=uri)
    assert expected == applied(environ(**old, **uris), edits)


@pytest.mark.parametrize(
    ("came", "left"),
    [
        ("/app/a%2Fb/%63?q=1", "/app/a%2Fb/%63?x"),
        ("/app/a%2Fb", "/app/a%2Fb?x"),
        ("/app/a#q?1", "/app/a?x"),
        ("http://a.example/app/a?q=1?2", "http://a.example/app/a?x"),
    ],
)
def test_a_new_query_leaves_the_path_as_it_came(came: str, left: str) -> None:
    """Apps tell an encoded slash from a slash by the request URI alone."""
    edited = applied(environ(RAW_URI=came), RequestEdits(query="x"))
    assert edited == environ(RAW_URI=left, QUERY_STRING="x")


def test_target_without_query_string() -> None:
    """A path edit works where the server gives neither query nor script name."""
    expected = environ(PATH_INFO="/b", RAW_URI="/b")
    assert expected == applied(environ(RAW_URI="/a"), RequestEdits(path="/b"))


COOKIES = [("Set-Cookie", "a=1"), ("X-Between", "-"), ("set-cookie", "b=2")]


@pytest.mark.parametrize(
    ("edits", "after"),
    [
        ([], COOKIES),
        ([(ADD_HEADER, "Set-Cookie", "c=3")], [*COOKIES, ("Set-Cookie", "c=3")]),
        ([(SET_HEADER, "SET-COOKIE", "c=3")], [("SET-COOKIE", "c=3"), ("X-Between", "-")]),
        ([(SET_HEADER, "x-between", "+")], [COOKIES[0], ("x-between", "+"), COOKIES[2]]),
        ([(SET_HEADER, "X-New", "1")], [*COOKIES, ("X-New", "1")]),
        ([(REMOVE_HEADER, "set-cookie")], [("X-Between", "-")]),
        ([(REMOVE_HEADER, "x-none")], COOKIES),
        (
            [(ADD_HEADER, "x-n", "1"), (ADD_HEADER, "X-N", "2"), (SET_HEADER, "x-n", "3")],
            [*COOKIES, ("x-n", "3")],
        ),
        ([(ADD_HEADER, "x-n", "1"), (REMOVE_HEADER, "X-N")], COOKIES),
    ],
)
def test_apply_to_headers(edits: Any, after: list[tuple[str, str]]) -> None:
    """Header edits ignore case, keep the order, and touch no other header."""
    before = list(COOKIES)
    headers = tuple(on_response(*edit) for edit in edits)
    assert after == apply_to_headers(before, ResponseEdits(headers))
    assert before == COOKIES


NAMES = st.sampled_from(["a", "A", "b", "B", "c"])
EDITS = st.one_of(
    st.builds(on_response, st.sampled_from([SET_HEADER, ADD_HEADER]), NAMES, st.text("123")),
    st.builds(on_response, st.just(REMOVE_HEADER), NAMES),
)


@untimed
@given(st.lists(st.tuples(NAMES, st.text("xyz"))), st.lists(EDITS))
def test_apply_to_headers_like_multidict(
    before: list[tuple[str, str]], edits: list[HeaderEdit]
) -> None:
    """The result is what the same operations on werkzeug's headers give."""
    werkzeug = pytest.importorskip("werkzeug.datastructures")
    headers = werkzeug.Headers(before)
    for op, name, value, _ in edits:
        if op == SET_HEADER:
            headers.set(name, value)
        elif op == ADD_HEADER:
            headers.add(name, value)
        else:
            headers.remove(name)
    assert list(headers) == apply_to_headers(before, ResponseEdits(tuple(edits)))
