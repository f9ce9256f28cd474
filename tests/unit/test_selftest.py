"""Self-tests: `ph_selftest`, and calls that a manifest records."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import abi_reference
import guests
import pytest
from guests import MakeApp, edit, edits
from werkzeug.test import EnvironBuilder

from plugin_host import ManifestError, SelfTestFailed
from plugin_host.abi.guest import Guest
from plugin_host.abi.native import BODY, BODY_OMITTED, RequestEncoder
from plugin_host.config import Settings
from plugin_host.folder.scan import Candidate
from plugin_host.hostfunctions.services import Services
from plugin_host.loading.loader import load
from plugin_host.loading.selftest import SelfTests
from plugin_host.manifest import parse_manifest

ON = guests.UNCHANGED


@pytest.fixture
def check(tmp_path: Path, fast_call: bool) -> Callable[..., None]:
    """Load a guest with a manifest, and drop it."""

    def run(text: str, manifest: str = "", **config: Any) -> None:
        values = {"PLUGIN_HOST_FAST_CALL": fast_call, "PLUGIN_HOST_INIT_TIMEOUT": 10} | {
            f"PLUGIN_HOST_{key}": value for key, value in config.items()
        }
        settings = Settings.from_mapping(values, tmp_path)
        paths = [tmp_path / "p.wat", tmp_path / "p.toml"]
        load(Candidate.of("p", paths, [text.encode(), manifest.encode()]), settings)

    return run


Check = Callable[..., None]


def refused(check: Check, text: str, manifest: str = "", **config: Any) -> SelfTestFailed:
    """The refusal of a guest; without its traceback, which would keep instances alive."""
    with pytest.raises(SelfTestFailed) as caught:
        check(text, manifest, **config)
    error = caught.value
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def selftest(body: str, **more: Any) -> str:
    return guests.module({"ask": ON, "ph_selftest": body}, **more)


def failing(message: bytes) -> str:
    result = guests.packed(guests.RESULT, len(message), error=True)
    return selftest(f"(i64.const {result})", data=[(guests.RESULT, message)])


# ph_selftest


def test_an_exported_selftest_that_passes(check: Check) -> None:
    """A `ph_selftest` that returns 0 lets the version load; it is called with length 0."""
    check(selftest("(if (local.get $len) (then (unreachable))) (i64.const 0)"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (failing(b"3 is not 4"), "p.wat: ph_selftest declared an error: 3 is not 4; correct the"),
        (selftest(guests.TRAP), "p.wat: ph_selftest failed: unreachable (in ph_selftest); correct"),
        (
            selftest(f"(i64.const {guests.packed(8, 8)})"),
            "p.wat: ph_selftest failed: malformed result at byte 0: ph_selftest returns 0 or an",
        ),
        (
            selftest("(i64.const 7)"),
            "p.wat: ph_selftest failed: malformed result at byte 0: a result's pointer is not 0",
        ),
    ],
    ids=["error", "trap", "a result", "no pointer"],
)
def test_an_exported_selftest_that_fails(check: Check, text: str, message: str) -> None:
    """Whatever else `ph_selftest` does keeps the version from loading, and the message says it."""
    assert str(refused(check, text)).startswith(message)


def test_an_exported_selftest_that_loops(check: Check) -> None:
    """`ph_selftest` has the deadline of loading."""
    error = refused(check, selftest(guests.SPIN), INIT_TIMEOUT=0.05)
    assert str(error) == (
        "p.wat: ph_selftest missed its deadline of 50 ms (in ph_selftest); make it quicker, or"
        " raise PLUGIN_HOST_INIT_TIMEOUT"
    )


#: Counts its calls in memory; `ask` answers with the count, as one digit.
COUNTING = guests.module(
    {
        "ph_init": "(i32.store8 (i32.const 1024) (i32.const 48)) (i64.const 0)",
        "ask": f"(call $count) (i64.const {guests.packed(1024, 1)})",
        "ph_selftest": "(call $count) (call $count) (i64.const 0)",
    },
    extra="""(func $count (i32.store8 (i32.const 1024)
        (i32.add (i32.load8_u (i32.const 1024)) (i32.const 1))))""",
)


def test_a_selftest_leaves_nothing_behind(make_app: MakeApp, folder: Path) -> None:
    """What tests did to their instances is not there when the plugin serves."""
    (folder / "p.wat").write_text(COUNTING)
    (folder / "p.toml").write_text('[[selftest]]\nhook = "ask"\nexpect = { answer = 1 }')
    app, plugins = make_app(MAX_INSTANCES=1)
    plugins.hookspec("ask")
    with app.app_context():
        assert [plugins.call("ask"), plugins.call("ask")] == [1, 2]
        assert plugins.status()["plugins"][0]["calls"] == 2


def test_recorded_calls_share_an_instance_with_their_config_only(check: Check) -> None:
    """Calls of one config follow each other on one instance; another config has its own."""
    check(
        COUNTING,
        """
        selftest = [
            { hook = "ask", expect = { answer = 1 } },
            { hook = "ask", expect = { answer = 1 }, config = { a = 1 } },
            { hook = "ask", expect = { answer = 2 } },
            { hook = "ask", expect = { answer = 2 }, config = { a = 1 } },
        ]
        """,
    )


def test_a_recorded_call_has_its_own_config(check: Check) -> None:
    """`ph_init` gets the test's config whole, in place of the plugin's."""
    check(
        guests.answering_config("ask"),
        """
        config = { a = 1, b = 2 }
        [[selftest]]
        hook = "ask"
        expect.answer = { a = 1, b = 2 }
        [[selftest]]
        hook = "ask"
        config = { a = 3 }
        expect.answer = { a = 3 }
        """,
    )


# What a hook is given


class Recorder(Guest):
    """Takes what hooks would get, and returns nothing."""

    def __init__(self) -> None:
        self.given: list[bytes] = []
        self.calls = 0

    def call(self, hook: str, data: bytes, start: float, timeout: float) -> bytes | None:
        self.given.append(data)
        return None

    def is_worn(self) -> bool:
        return False


def given(tmp_path: Path, manifest: str) -> list[bytes]:
    """What the hooks of recorded calls get."""
    recorder = Recorder()
    path = tmp_path / "p.toml"
    read = parse_manifest(path, stem="p", text=manifest.encode())
    candidate = Candidate.of("p", [tmp_path / "p.wat", path], [b"", manifest.encode()])
    hooks = ("on_request", "on_response", "ask")
    settings = Settings.from_mapping({}, tmp_path)
    services = Services.of("p", settings)
    tests = SelfTests(candidate, read, hooks, lambda *_: recorder, settings, services)
    tests.run(exported=False)
    return recorder.given


def test_a_recorded_request_is_what_a_server_would_pass(tmp_path: Path) -> None:
    """The record is that of the same request made by a client, by way of WSGI."""
    (data,) = given(
        tmp_path,
        """
        [[selftest]]
        hook = "on_request"
        [selftest.request]
        method = "post"
        scheme = "https"
        host = "shop.example"
        path = "/käse/1"
        query = "a=b&c"
        remote = "192.0.2.1"
        headers = { x-user = "ännа", accept = ["a", "b"], cookie = "c=d", content-type = "text/x" }
        body = "grün"
        endpoint = "shop.cheese"
        args = { kind = "käse", number = 1 }
        """,
    )
    builder = EnvironBuilder(
        path="/käse/1",
        base_url="https://shop.example",
        query_string="a=b&c",
        method="POST",
        headers=[("Accept", "a, b"), ("Cookie", "c=d")],
        content_type="text/x",
        data="grün".encode(),
        environ_base={"REMOTE_ADDR": "192.0.2.1"},
    )
    environ = builder.get_environ() | {"HTTP_X_USER": "ännа".encode().decode("latin-1")}
    builder.close()
    needs = parse_manifest(tmp_path, stem="p", text=None).request_needs
    encode = RequestEncoder(needs.fields, needs.headers).encode
    args = {"kind": "käse", "number": 1}
    record = encode(environ, "shop.cheese", args, "grün".encode(), BODY)
    assert _comparable(data) == _comparable(record)


def _comparable(record: bytes) -> dict[str, Any]:
    decoded = abi_reference.decode_record(record)
    return decoded | {"fields": sorted(decoded["fields"])}


def test_the_default_request(tmp_path: Path) -> None:
    """A recorded request without a word is a GET of / from the machine itself, routed nowhere."""
    (data,) = given(tmp_path, 'selftest.hook = "on_request"')
    decoded = abi_reference.decode_record(data)
    assert {name: value for name, value in decoded["fields"] if value is not None} == {
        b":method": b"GET",
        b":scheme": b"http",
        b":host": b"localhost",
        b":path": b"/",
        b":query": b"",
        b":remote": b"127.0.0.1",
        b":protocol": b"HTTP/1.1",
    }
    assert (decoded["body"], decoded["flags"]) == (b"", BODY)


def test_needs_apply_to_recorded_calls(tmp_path: Path) -> None:
    """What the plugin does not need is not passed."""
    request, response = given(
        tmp_path,
        """
        needs = { on_request = ["path"], on_response = ["header:b"] }
        [[selftest]]
        hook = "on_request"
        request = { path = "/a", body = "text" }
        [[selftest]]
        hook = "on_response"
        response = { headers = { a = "1", b = ["2", "3"] }, body = "text", context = "mine" }
        """,
    )
    for data, fields in (
        (request, [(b":path", b"/a")]),
        (response, [(b"b", b"2"), (b"b", b"3")]),
    ):
        decoded = abi_reference.decode_record(data)
        assert (decoded["fields"], decoded["body"], decoded["flags"]) == (fields, b"", 0)


@pytest.mark.parametrize(
    ("status", "body", "flags"), [(404, "käse".encode(), BODY), (304, b"", BODY_OMITTED)]
)
def test_a_recorded_response(tmp_path: Path, status: int, body: bytes, flags: int) -> None:
    """The record has what was recorded, but no body where a response shows none."""
    (data,) = given(
        tmp_path,
        f"""
        [[selftest]]
        hook = "on_response"
        [selftest.response]
        status = {status}
        headers = {{ Set-Cookie = ["a=1", "b=2"] }}
        body = "käse"
        context = "ü"
        """,
    )
    assert abi_reference.decode_record(data) == {
        "kind": 2,
        "fields": [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b":context", "ü".encode())],
        "flags": flags,
        "status": status,
        "body": body,
    }


def test_recorded_payloads(tmp_path: Path) -> None:
    """A business hook gets the payload as JSON, and null without one."""
    data = given(
        tmp_path,
        """
        [[selftest]]
        hook = "ask"
        payload = { a = [1, 2.5, "ü", true] }
        [[selftest]]
        hook = "ask"
        """,
    )
    assert [json.loads(payload) for payload in data] == [{"a": [1, 2.5, "ü", True]}, None]
    assert data[1] == b"null"


# What must come of it

#: A hook, what it returns, what is expected, and the refusal's text; none if it is as expected.
EXPECTED: dict[str, tuple[str, bytes | None, str, str]] = {
    "nothing is expected": ("on_request", None, "", ""),
    "unchanged": ("on_request", None, "unchanged = true", ""),
    "unchanged by an empty list": ("on_response", edits(), "unchanged = true", ""),
    "not unchanged": (
        "on_request",
        edits(edit(guests.SET_PATH, b"", b"/b"), edit(guests.SET_HEADER, b"a", b"1")),
        "unchanged = true",
        "unchanged: expected true, got 'edits of headers, path'",
    ),
    "changed": ("on_response", edits(edit(guests.SET_BODY)), "unchanged = false", ""),
    "not changed": (
        "on_response",
        None,
        "unchanged = false",
        "unchanged: expected false, got true",
    ),
    "an answer": (
        "on_request",
        edits(edit(guests.ANSWER, b"", 403), edit(guests.SET_BODY, b"", "né".encode())),
        'status = 403, body = "né", no_answer = false',
        "",
    ),
    "another answer": (
        "on_request",
        edits(edit(guests.ANSWER, b"", 409)),
        "status = 403",
        "status: expected 403, got 409",
    ),
    "no answer where one is expected": (
        "on_request",
        None,
        "status = 403",
        "status: expected 403, got nothing",
    ),
    "an answer where none is expected": (
        "on_request",
        edits(edit(guests.ANSWER, b"", 409)),
        "no_answer = true",
        "no_answer: expected true, got false",
    ),
    "headers of the answer": (
        "on_request",
        edits(
            edit(guests.SET_HEADER, b"x-in", b"1"),
            edit(guests.ANSWER, b"", 200),
            edit(guests.SET_HEADER, b"X-Out", b"2"),
        ),
        'headers = { x-out = "2" }',
        "",
    ),
    "headers of the request beside an answer": (
        "on_request",
        edits(edit(guests.SET_HEADER, b"x-in", b"1"), edit(guests.ANSWER, b"", 200)),
        'headers = { x-in = "1" }',
        "headers.x-in: expected '1', got nothing",
    ),
    "headers": (
        "on_request",
        edits(
            edit(guests.SET_HEADER, b"X-A", b"0"),
            edit(guests.SET_HEADER, b"x-a", "ü".encode()),
            edit(guests.ADD_HEADER, b"x-b", b"1"),
            edit(guests.ADD_HEADER, b"x-b", b"2"),
        ),
        'headers = { x-A = "ü", x-b = ["1", "2"] }',
        "",
    ),
    "another header": (
        "on_response",
        edits(edit(guests.ADD_HEADER, b"x-a", b"1")),
        'headers = { x-a = "2" }',
        "headers.x-a: expected '2', got '1'",
    ),
    "one header too many": (
        "on_response",
        edits(edit(guests.ADD_HEADER, b"x-a", b"1"), edit(guests.ADD_HEADER, b"x-a", b"2")),
        'headers = { x-a = "1" }',
        "headers.x-a: expected '1', got ['1', '2']",
    ),
    "one header too few": (
        "on_response",
        edits(edit(guests.ADD_HEADER, b"x-a", b"1")),
        'headers = { x-a = ["1", "2"] }',
        "headers.x-a: expected ['1', '2'], got ['1']",
    ),
    "removed": (
        "on_response",
        edits(edit(guests.REMOVE_HEADER, b"Server"), edit(guests.REMOVE_HEADER, b"a")),
        'removed = ["server"]',
        "",
    ),
    "not removed": (
        "on_response",
        edits(edit(guests.REMOVE_HEADER, b"a"), edit(guests.SET_HEADER, b"a", b"1")),
        'removed = ["a"]',
        "removed: expected ['a'], got []",
    ),
    "path, query, method and body": (
        "on_request",
        edits(
            edit(guests.SET_PATH, b"", "/ü".encode()),
            edit(guests.SET_QUERY, b"", b"a=b"),
            edit(guests.SET_METHOD, b"", b"PUT"),
            edit(guests.SET_BODY, b"", b"text"),
        ),
        'path = "/ü", query = "a=b", method = "PUT", body = "text"',
        "",
    ),
    "another path": (
        "on_request",
        edits(edit(guests.SET_PATH, b"", b"/a")),
        'path = "/b"',
        "path: expected '/b', got '/a'",
    ),
    "another query": (
        "on_request",
        edits(edit(guests.SET_QUERY)),
        'query = "a"',
        "query: expected 'a', got ''",
    ),
    "another method": ("on_request", None, 'method = "PUT"', "method: expected 'PUT', got nothing"),
    "g and context": (
        "on_request",
        edits(
            edit(guests.SET_G, b"a", b"1"),
            edit(guests.SET_G, b"b", "ü".encode()),
            edit(guests.SET_CONTEXT, b"", b"kept"),
        ),
        'g = { b = "ü" }, context = "kept"',
        "",
    ),
    "another g": (
        "on_request",
        edits(edit(guests.SET_G, b"a", b"1")),
        'g = { a = "2" }',
        "g.a: expected '2', got '1'",
    ),
    "no g": ("on_request", None, 'g = { a = "2" }', "g.a: expected '2', got nothing"),
    "another context": (
        "on_request",
        edits(edit(guests.SET_CONTEXT, b"", b"a")),
        'context = "b"',
        "context: expected 'b', got 'a'",
    ),
    "a status": ("on_response", edits(edit(guests.SET_STATUS, b"", 201)), "status = 201", ""),
    "no status": ("on_response", None, "status = 200", "status: expected 200, got nothing"),
    "another body": (
        "on_response",
        edits(edit(guests.SET_BODY, b"", b"\xff")),
        'body = "�"',
        r"body: expected '�', got '\udcff'",
    ),
    "bodies that differ late": (
        "on_response",
        edits(edit(guests.SET_BODY, b"", b"x" * 300 + b"y" * 300)),
        f'body = "{"x" * 301}{"y" * 300}"',
        f"body: expected …'{'x' * 21}{'y' * 49}'…, got …'{'x' * 20}{'y' * 50}'…",
    ),
    "a body that ends early": (
        "on_response",
        edits(edit(guests.SET_BODY, b"", b"x" * 100)),
        f'body = "{"x" * 102}"',
        f"body: expected …'{'x' * 22}', got …'{'x' * 20}'",
    ),
    "a business answer": (
        "ask",
        b'{"a": [1.0, true, {"b": null}], "c": null}',
        "answer = { a = [1, true, {}] }, no_answer = false",
        "",
    ),
    "no business answer": ("ask", None, "no_answer = true", ""),
    "a business answer that is missing": (
        "ask",
        None,
        "answer = 1",
        "answer: expected 1, got noth",
    ),
    "a business answer that is too much": (
        "ask",
        b"0",
        "no_answer = true",
        "no_answer: expected true, got false",
    ),
    "another value": (
        "ask",
        b'{"items": [{"n": 1}, {"n": 2}]}',
        "answer = { items = [{ n = 1 }, { n = 3 }] }",
        "answer.items[1].n: expected 3, got 2",
    ),
    "another kind": ("ask", b"1", "answer = true", "answer: expected true, got 1"),
    "a value too many": ("ask", b'{"a": 1}', "answer = {}", "answer.a: expected nothing, got 1"),
    "a value too few": ("ask", b"{}", "answer = { a = 1 }", "answer.a: expected 1, got nothing"),
    "an item too many": ("ask", b"[1, 2]", "answer = [1]", "length of answer: expected 1, got 2"),
    "an answer that is no JSON": (
        "ask",
        b"",
        "answer = 1",
        "the answer does not fit 'ask': Input data was truncated",
    ),
    "an answer that need not be JSON": ("ask", b"\xff", "no_answer = false", ""),
    "a malformed list": (
        "on_response",
        b"x",
        "",
        "malformed result at byte 0: an edit list starts",
    ),
    "an edit at the wrong place": (
        "on_response",
        edits(edit(guests.SET_PATH, b"", b"/a")),
        "",
        "malformed result at byte 4: the op is allowed at this place",
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_expected_must_come(check: Check, name: str) -> None:
    """Each expectation holds, or keeps the version from loading with a message that says why."""
    hook, result, expect, message = EXPECTED[name]
    text = guests.module({hook: ON}) if result is None else guests.returning(hook, result)
    manifest = f'[[selftest]]\nname = "it is so"\nhook = "{hook}"\nexpect = {{ {expect} }}'
    if not message:
        check(text, manifest)
        return
    error = refused(check, text, manifest)
    assert error.path.name == "p.toml"
    failed = "" if "expected" in message and "got" in message else " failed"
    assert error.reason.startswith(f"selftest[0] 'it is so' of {hook}{failed}: {message}")
    assert error.remedy


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (guests.TRAP, "selftest[1] of ask failed: unreachable (in ask); correct the plugin"),
        (
            f"(i64.const {guests.packed(1024, 2, error=True)})",
            "selftest[1] of ask declared an error: no; correct the plugin",
        ),
    ],
)
def test_a_recorded_call_that_fails(check: Check, body: str, message: str) -> None:
    """A hook that fails its recorded call fails the test, whatever is expected."""
    text = guests.module({"ask": body, "on_request": ON}, data=[(1024, b"no")])
    manifest = '[[selftest]]\nhook = "on_request"\n[[selftest]]\nhook = "ask"'
    assert str(refused(check, text, manifest)) == f"p.toml: {message}"


def test_a_recorded_call_that_loops(check: Check) -> None:
    """Recorded calls have the deadline of loading, not the hook's."""
    error = refused(
        check, guests.module({"ask": guests.SPIN}), 'selftest.hook = "ask"', INIT_TIMEOUT=0.05
    )
    assert error.reason == "selftest[0] of ask missed its deadline of 50 ms (in ask)"


def test_many_configs_share_a_bound(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that are each quick enough cannot hold up a start for ever."""
    monkeypatch.setattr("plugin_host.loading.selftest.TOTAL", 0)
    tests = "".join(
        f'[[selftest]]\nhook = "ask"\nconfig = {{ number = {number} }}\n' for number in range(3)
    )
    error = refused(check, guests.module({"ask": ON}), tests)
    assert "its self-tests have taken more than 0 s before selftest[0] of ask" in str(error)


def test_a_config_that_the_plugin_refuses(check: Check) -> None:
    """A test whose config `ph_init` refuses fails, and the message names the test."""
    refusing = f"""(if (result i64) (i32.eq (local.get $len) (i32.const 2))
      (then (i64.const 0)) (else (i64.const {guests.packed(1024, 2, error=True)})))"""
    text = guests.module({"ask": ON, "ph_init": refusing}, data=[(1024, b"no")])
    error = refused(check, text, 'selftest = { hook = "ask", config = { a = 1 } }')
    assert error.reason == "selftest[0] of ask declared an error: no"


def test_a_recorded_call_of_a_hook_that_is_not_there(check: Check) -> None:
    """The manifest is wrong if it records a call of what the module does not export."""
    with pytest.raises(
        ManifestError, match=r"selftest\[0\]\.hook is 'asc', .*hooks are ask"
    ) as error:
        check(guests.module({"ask": ON}), 'selftest.hook = "asc"')
    error.value.with_traceback(None)


def test_a_plugin_fails_loudly_and_the_others_serve(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed self-test is one log line and a state; the site starts without the plugin."""
    (folder / "bad.wat").write_text(guests.module({"on_response": ON}))
    (folder / "bad.toml").write_text('selftest = { hook = "on_response", expect.status = 201 }')
    (folder / "good.wat").write_text(guests.adding("x-good", "1"))
    app, plugins = make_app()
    assert app.test_client().get("/").headers["x-good"] == "1"
    (line,) = (r.getMessage() for r in caplog.records if r.levelno == logging.ERROR)
    reason = "bad.toml: selftest[0] of on_response: status: expected 201, got nothing"
    assert line.startswith(f"plugin not loaded: {reason}")
    with app.app_context():
        states = {p["name"]: p["state"] for p in plugins.status()["plugins"]}
    assert states == {"good": "serving", "bad": "failed"}


def test_guests_that_are_made_for_each_call_do_not_take_for_ever(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The making of guests counts for what all recorded calls may take, also within one config."""
    monkeypatch.setattr("plugin_host.loading.selftest.TOTAL", 0.01)
    init = """(func (export "ph_init") (param i32) (result i64) (local $end i64)
        (local.set $end (i64.add (call $now (i32.const 1)) (i64.const 10000000)))
        (loop $l (br_if $l (i64.lt_s (call $now (i32.const 1)) (local.get $end))))
        (i64.const 0)) (table $t 1 funcref)"""
    text = guests.module(
        {"ask": f"(table.set $t (i32.const 0) (ref.null func)) {guests.UNCHANGED}"},
        extra=init,
        imports='(import "plugin_host" "now" (func $now (param i32) (result i64)))',
    )
    recorded = 'isolation = "request"\n' + '[[selftest]]\nhook = "ask"\n' * 40
    error = refused(check, text, recorded)
    assert "its self-tests have taken more than 0.1 s before selftest[" in str(error)


def test_recorded_calls_meet_the_recycling_of_service(check: Check) -> None:
    """After RECYCLE_CALLS a recorded call finds a new guest, as one in service would."""
    adding = "(i32.store8 (i32.const 1024) (i32.add (i32.load8_u (i32.const 1024)) (i32.const 1)))"
    body = f"{adding} (i64.const {guests.packed(1024, 1)})"
    text = guests.module({"ask": body}, data=[(1024, b"0")])
    recorded = "".join(
        f'[[selftest]]\nhook = "ask"\nexpect.answer = {answer}\n' for answer in (1, 2, 1, 2, 1)
    )
    check(text, recorded, RECYCLE_CALLS=2)
