"""Recorded calls, as a manifest says them."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin_host.errors import ManifestError
from plugin_host.manifest import BusinessTest, Manifest, RequestTest, ResponseTest, parse_manifest
from plugin_host.manifest.selftest import (
    AnswerExpected,
    RecordedRequest,
    RecordedResponse,
    RequestExpected,
    ResponseExpected,
)

TOML = Path("/srv/plugins/shop.toml")


def parse(text: str) -> Manifest:
    return parse_manifest(TOML, stem="shop", text=text.encode())


def test_every_key() -> None:
    """Every key of a recorded call reaches its field, in the manifest's order."""
    actual = parse("""
        [[selftest]]
        name = "one"
        hook = "on_request"
        config = { a = 1 }
        [selftest.request]
        method = "PUT"
        scheme = "https"
        host = "shop.example"
        path = "/a"
        query = "b=c"
        remote = "::1"
        headers = { x-a = "1", x-b = ["2", "3"] }
        body = "text"
        endpoint = "shop.buy"
        args = { sku = "mug", page = 2 }
        [selftest.expect]
        no_answer = false
        status = 403
        headers = { x-c = "4" }
        removed = ["x-d"]
        body = "no"
        method = "GET"
        path = "/b"
        query = ""
        g = { e = "5" }
        context = "f"
        [[selftest]]
        hook = "on_response"
        response = { status = 404, headers = { x-a = "1" }, body = "text", context = "f" }
        [selftest.expect]
        status = 200
        headers = { x-c = ["4"] }
        removed = []
        body = ""
        unchanged = false
        [[selftest]]
        hook = "price"
        payload = [1, "a"]
        expect = { answer = { b = 2 } }
        """).selftest
    assert actual == (
        RequestTest(
            name="one",
            hook="on_request",
            config={"a": 1},
            request=RecordedRequest(
                method="PUT",
                scheme="https",
                host="shop.example",
                path="/a",
                query="b=c",
                remote="::1",
                headers={"x-a": "1", "x-b": ["2", "3"]},
                body="text",
                endpoint="shop.buy",
                args={"sku": "mug", "page": 2},
            ),
            expect=RequestExpected(
                no_answer=False,
                status=403,
                headers={"x-c": "4"},
                removed=["x-d"],
                body="no",
                method="GET",
                path="/b",
                query="",
                g={"e": "5"},
                context="f",
            ),
        ),
        ResponseTest(
            hook="on_response",
            response=RecordedResponse(status=404, headers={"x-a": "1"}, body="text", context="f"),
            expect=ResponseExpected(
                status=200, headers={"x-c": ["4"]}, removed=[], body="", unchanged=False
            ),
        ),
        BusinessTest(hook="price", payload=[1, "a"], expect=AnswerExpected(answer={"b": 2})),
    )


def test_one_table() -> None:
    """A single table need not be a list."""
    assert parse('selftest.hook = "ask"').selftest == (BusinessTest(hook="ask"),)


def test_none() -> None:
    """Without recorded calls there are none."""
    assert (parse("").selftest, parse("selftest = []").selftest) == ((), ())


@pytest.mark.parametrize(
    ("table", "reason", "remedy"),
    [
        ("1", "selftest[0] is 1", "allowed: a table"),
        ("{}", "selftest[0].hook is missing", "name the hook that is called"),
        ("{ hook = 1 }", "selftest[0].hook is 1", "allowed: the name of one of the plugin's hooks"),
        ('{ hook = "ph_init" }', "selftest[0].hook is 'ph_init'", "allowed: the name of one"),
        (
            '{ hook = "on_requst" }',
            "selftest[0].hook is 'on_requst', which is not among the plugin's hooks",
            "did you mean 'on_request'?",
        ),
        (
            '{ hook = "zzz" }',
            "selftest[0].hook is 'zzz', which is not among the plugin's hooks",
            "the plugin's hooks are on_request, on_response, ask",
        ),
        (
            '{ hook = "ask", request = {} }',
            "unknown key 'selftest[0].request'",
            "the known keys are hook, name, config, payload, expect",
        ),
        (
            '{ hook = "on_request", response = {} }',
            "unknown key 'selftest[0].response'",
            "the known keys are hook, name, config, request, expect",
        ),
        (
            '{ hook = "on_response", expect.g = {} }',
            "unknown key 'selftest[0].expect.g'",
            "the known keys are unchanged, status, headers, removed, body",
        ),
        (
            '{ hook = "ask", expect.status = 200 }',
            "unknown key 'selftest[0].expect.status'",
            "the known keys are no_answer, answer",
        ),
        ('{ hook = "ask", name = 1 }', "selftest[0].name is 1", "allowed: text of at most 200"),
        ('{ hook = "ask", config = 1 }', "selftest[0].config is 1", "allowed: a table"),
        (
            '{ hook = "ask", config.rate = 2020-01-01 }',
            "selftest[0].config.rate is datetime.date(2020, 1, 1)",
            "allowed: what JSON can hold",
        ),
        (
            '{ hook = "ask", config.rate = 0 }',
            "selftest[0].config.rate is 0",
            "config_schema.properties.rate.minimum does not allow it",
        ),
        (
            '{ hook = "ask", payload.a = inf }',
            "selftest[0].payload.a is inf",
            "allowed: a finite number",
        ),
        (
            '{ hook = "ask", expect.answer = [2020-01-01] }',
            "selftest[0].expect.answer[0] is datetime.date(2020, 1, 1)",
            "allowed: what JSON can hold",
        ),
        (
            '{ hook = "ask", expect = { no_answer = true, answer = 1 } }',
            "selftest[0].expect.no_answer stands beside answer",
            "keep one of the two",
        ),
        (
            '{ hook = "on_request", expect = { unchanged = true, path = "/", g = {} } }',
            "selftest[0].expect.unchanged stands beside g, path",
            "keep one of the two",
        ),
        (
            '{ hook = "on_request", expect = { no_answer = true, status = 200 } }',
            "selftest[0].expect.no_answer stands beside status",
            "keep one of the two",
        ),
        ('{ hook = "ask", expect = 1 }', "selftest[0].expect is 1", "allowed: a table"),
        (
            '{ hook = "on_request", expect.unchanged = 1 }',
            "selftest[0].expect.unchanged is 1",
            "allowed: true or false",
        ),
        (
            '{ hook = "on_response", expect.removed = [1] }',
            "selftest[0].expect.removed[0] is 1",
            "allowed: a list of names of headers",
        ),
        (
            '{ hook = "on_request", request.method = "A B" }',
            "selftest[0].request.method is 'A B'",
            "allowed: an HTTP method",
        ),
        (
            '{ hook = "on_request", request.scheme = "ftp" }',
            "selftest[0].request.scheme is 'ftp'",
            "allowed: 'http' or 'https'",
        ),
        (
            '{ hook = "on_request", request.path = "a" }',
            "selftest[0].request.path is 'a'",
            "allowed: text that starts with '/'",
        ),
        (
            '{ hook = "on_request", request.query = "a b" }',
            "selftest[0].request.query is 'a b'",
            "allowed: printable ASCII without space or '#'",
        ),
        (
            '{ hook = "on_request", request.headers."a b" = "1" }',
            "selftest[0].request.headers is {'a b': '1'}",
            "allowed: a table from names of headers to text, or to lists of texts",
        ),
        (
            '{ hook = "on_request", request.headers.a = ["1", "2\\n"] }',
            r"selftest[0].request.headers.a is ['1', '2\n']",
            "allowed: text without control characters",
        ),
        (
            '{ hook = "on_response", response.headers.a = "\\r" }',
            r"selftest[0].response.headers.a is '\r'",
            "allowed: text without control characters",
        ),
        (
            '{ hook = "on_request", request.headers.Host = "a" }',
            "selftest[0].request.headers has 'Host'",
            "it follows from selftest[0].request.host",
        ),
        (
            '{ hook = "on_request", request.headers.content-length = "1" }',
            "selftest[0].request.headers has 'content-length'",
            "it follows from selftest[0].request.body",
        ),
        (
            '{ hook = "on_request", request.headers.x_user = "ann" }',
            "selftest[0].request.headers has 'x_user'",
            "WSGI passes no such header; did you mean 'x-user'?",
        ),
        (
            '{ hook = "on_request", request.args.a = "1" }',
            "selftest[0].request.args has no endpoint beside it",
            "give selftest[0].request.endpoint, too",
        ),
        (
            '{ hook = "on_request", request.args.a = 1.5 }',
            "selftest[0].request.args is {'a': 1.5}",
            "allowed: a table of texts and integers",
        ),
        (
            '{ hook = "on_response", response.status = 101 }',
            "selftest[0].response.status is 101",
            "allowed: an integer from 200 to 599",
        ),
    ],
)
def test_wrong_tables(table: str, reason: str, remedy: str) -> None:
    """What is wrong with a recorded call is refused with its dotted key and what is allowed."""
    text = f"""
        hooks = ["on_request", "on_response", "ask"]
        config_schema.properties.rate.minimum = 1
        selftest = [{table}]
        """
    with pytest.raises(ManifestError) as error:
        parse(text)
    assert error.value.reason == reason
    assert error.value.remedy.startswith(remedy)


def test_too_many() -> None:
    """A load is not held up by thousands of calls."""
    tables = ", ".join(['{ hook = "ask" }'] * 101)
    with pytest.raises(ManifestError, match="selftest has 101 tables; allowed: at most 100"):
        parse(f"selftest = [{tables}]")
