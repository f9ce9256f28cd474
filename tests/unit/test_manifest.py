from __future__ import annotations

import cProfile
import re
import socket
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_host.config import MIB, Settings
from plugin_host.errors import ManifestError
from plugin_host.manifest import (
    MANIFEST_KEYS,
    Limits,
    Manifest,
    Match,
    Policy,
    RequestNeeds,
    ResponseNeeds,
    Rule,
    effective_limits,
    parse_manifest,
)
from plugin_host.manifest.bounded import TooLong, bounded
from plugin_host.manifest.parse import MAX_MANIFEST

TOML = Path("/srv/plugins/shop.toml")
ALL_FIELDS = (
    ":method",
    ":scheme",
    ":host",
    ":path",
    ":query",
    ":remote",
    ":protocol",
    ":endpoint",
    ":args",
    ":cookies",
)


def parse(text: str | bytes | None, stem: str = "shop") -> Manifest:
    return parse_manifest(TOML, stem=stem, text=text.encode() if isinstance(text, str) else text)


def refusal(text: str | bytes | None, stem: str = "shop") -> tuple[str, str]:
    with pytest.raises(ManifestError) as error:
        parse(text, stem)
    assert error.value.path == TOML
    return error.value.reason, error.value.remedy


@pytest.mark.parametrize("text", [None, b"", b"\xef\xbb\xbf# only a comment\r\n"])
def test_defaults(text: bytes | None) -> None:
    """A plugin without a manifest, or with an empty one, gets the documented defaults."""
    assert parse(text) == Manifest(
        name="shop",
        version="0",
        description="",
        abi=None,
        order=100,
        hooks=None,
        match=Match(()),
        request_needs=RequestNeeds(fields=ALL_FIELDS, headers=True, body=True),
        response_needs=ResponseNeeds(headers=True, body=True, stream=False, context=True),
        timeout=None,
        memory=None,
        config={},
        config_schema=None,
        capabilities=None,
        on_failure={},
        oversize_body="omit",
    )


def test_every_key() -> None:
    """Every key of a manifest reaches its field."""
    actual = parse("""
        name = "Flash-Sale"
        version = "1.2.0"
        description = "Lets some in."
        abi = 1
        order = -5
        hooks = ["on_request", "on_response", "price_quote", "on_request"]
        capabilities = ["log", "clock"]
        on_failure = { on_request = "skip", price_quote = "fail" }
        oversize_body = "reject"
        [[match]]
        paths = ["/sale/**"]
        methods = ["get", "POST"]
        [[match]]
        endpoints = ["shop.*"]
        [needs]
        on_request = ["body", "path", "header:X-User", "method", "header:accept", "header:ACCEPT"]
        on_response = ["context", "header:Content-Type", "stream"]
        [limits]
        timeout_ms = 2.5
        memory_mb = 8
        [config]
        ratio = 0.25
        users = ["a", "ü"]
        [config_schema]
        required = ["ratio"]
        """)
    assert actual == Manifest(
        name="flash-sale",
        version="1.2.0",
        description="Lets some in.",
        abi=1,
        order=-5,
        hooks=("on_request", "on_response", "price_quote"),
        match=Match(
            (
                Rule(paths=("/sale/**",), methods=frozenset({"GET", "POST"})),
                Rule(endpoints=("shop.*",)),
            )
        ),
        request_needs=RequestNeeds(
            fields=(":method", ":path"), headers=("x-user", "accept"), body=True
        ),
        response_needs=ResponseNeeds(
            headers=("content-type",), body=True, stream=True, context=True
        ),
        timeout=0.0025,
        memory=8 * MIB,
        config={"ratio": 0.25, "users": ["a", "ü"]},
        config_schema={"required": ["ratio"]},
        capabilities=frozenset({"log", "clock"}),
        on_failure={"on_request": Policy("skip"), "price_quote": Policy("fail")},
        oversize_body="reject",
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"match.paths = {['/' + 'a' * 499] * 17}", "8500 characters with 0 wildcards"),
        (
            f"match = [{{ paths = {['/' + '*a' * 129]} }}, {{ endpoints = {['?' * 128]} }}]",
            "387 characters with 257 wildcards",
        ),
    ],
)
def test_patterns_have_a_bound_together(text: str, found: str) -> None:
    """Every request may be held against all of them."""
    allowed = "allowed: 8192 and 256 in all"
    assert refusal(text) == (f"match has patterns of {found}", allowed)


def test_one_match_table() -> None:
    """A single table under match need not be a list."""
    assert parse('match.paths = ["/a"]').match == Match((Rule(paths=("/a",)),))


def test_a_manifest_is_frozen() -> None:
    """A manifest cannot change after it was parsed."""
    with pytest.raises(FrozenInstanceError):
        parse(None).order = 1  # type: ignore[misc]


def test_keys_are_documented() -> None:
    """Every key says what it allows, and the keys of nested tables are listed with a dot."""
    keys = dict(MANIFEST_KEYS)
    assert {"name", "match", "match.paths", "needs.on_request", "limits.memory_mb"} < set(keys)
    assert all(keys.values())
    assert len(keys) == len(MANIFEST_KEYS)


@pytest.mark.parametrize(
    ("key", "value", "shown", "allowed"),
    [
        ("name", '"-a"', "'-a'", "1 to 64 ASCII letters, digits, '_', '.' and '-', of which"),
        ("name", '"a\\n"', r"'a\n'", "1 to 64 ASCII"),
        ("name", '"ü"', "'ü'", "1 to 64 ASCII"),
        ("name", f'"{"a" * 65}"', "'aaa", "1 to 64 ASCII"),
        ("name", "7", "7", "1 to 64 ASCII"),
        ("version", "1.2", "1.2", "text of 1 to 64 visible ASCII characters"),
        ("version", '""', "''", "text of 1 to 64 visible"),
        ("version", '"1 2"', "'1 2'", "text of 1 to 64 visible"),
        ("description", "[]", "[]", "text of at most 1000 characters"),
        ("description", f'"{"x" * 1001}"', "'xxx", "text of at most 1000 characters"),
        ("abi", "0", "0", "an integer from 1 to 65535"),
        ("abi", "65536", "65536", "an integer from 1 to 65535"),
        ("abi", "true", "True", "an integer from 1 to 65535"),
        ("abi", '"1"', "'1'", "an integer from 1 to 65535"),
        ("order", "10001", "10001", "an integer from -10000 to 10000"),
        ("order", "-10001", "-10001", "an integer from -10000 to 10000"),
        ("order", "1.5", "1.5", "an integer from -10000 to 10000"),
        ("hooks", "[]", "[]", "a list of exports that are identifiers and start neither with"),
        ("hooks", '"on_request"', "'on_request'", "a list of exports"),
        ("match", "1", "1", "a table or a list of tables"),
        ("match.paths", "[]", "[]", "a list of path patterns that start with '/'"),
        ("match.paths", '"/a"', "'/a'", "a list of path patterns"),
        ("match.methods", "[]", "[]", "a list of HTTP methods"),
        ("match.endpoints", "[]", "[]", "a list of patterns of Flask endpoints"),
        ("needs", '["body"]', "['body']", "a table"),
        ("needs.on_request", '"body"', "'body'", "a list of fields, such as 'path'"),
        ("needs.on_response", "true", "True", "a list of fields, such as 'headers'"),
        ("limits", "3", "3", "a table"),
        ("limits.timeout_ms", "0.5", "0.5", "a number of milliseconds from 1 to 60000"),
        ("limits.timeout_ms", "60001", "60001", "a number of milliseconds"),
        ("limits.timeout_ms", "nan", "nan", "a number of milliseconds"),
        ("limits.timeout_ms", '"5"', "'5'", "a number of milliseconds"),
        ("limits.memory_mb", "0.05", "0.05", "a number of MiB from 0.0625 to 4095.9375"),
        ("limits.memory_mb", "4096", "4096", "a number of MiB"),
        ("config", "[]", "[]", "a table"),
        ("config.a", "1979-05-27", "datetime.date(1979, 5, 27)", "what JSON can hold; write dates"),
        ("config.a.b", "inf", "inf", "a finite number"),
        ("config.a", "9223372036854775808", "9223372036854775808", "an integer of 64 bits"),
        ("config_schema", "true", "True", "a table that is a JSON Schema"),
        ("config_schema.default", "nan", "nan", "a finite number"),
        ("capabilities", '"log"', "'log'", "a list out of log, clock, random"),
        ("on_failure", '"stop"', "'stop'", "'skip' or 'fail'"),
        ("on_failure", "1", "1", "'skip' or 'fail', or a table that says for each hook"),
        ("on_failure.on_request", "true", "True", "'skip' or 'fail'"),
        ("oversize_body", '"drop"', "'drop'", "'omit' or 'reject'"),
    ],
)
def test_wrong_values(key: str, value: str, shown: str, allowed: str) -> None:
    """A wrong value is refused with its dotted key, the value, and what is allowed."""
    reason, remedy = refusal(f"{key} = {value}")
    assert reason.startswith(f"{key} is {shown}")
    assert remedy.startswith(f"allowed: {allowed}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('hooks = ["on_request", "ph_init"]', "hooks[1] is 'ph_init'"),
        ('hooks = ["_start"]', "hooks[0] is '_start'"),
        ('hooks = ["a-b"]', "hooks[0] is 'a-b'"),
        ('hooks = ["a\\n"]', r"hooks[0] is 'a\n'"),
        ('match.paths = ["/a", "b"]', "match.paths[1] is 'b'"),
        ('match.paths = ["/\\u0000"]', r"match.paths[0] is '/\x00'"),
        ('[[match]]\n[[match]]\nmethods = ["GE T"]', "match[1].methods[0] is 'GE T'"),
        ('match = [{endpoints = [""]}]', "match[0].endpoints[0] is ''"),
        ('match = ["/a"]', "match[0] is '/a'"),
        ("needs.on_request = [1]", "needs.on_request[0] is 1"),
        ("config.a = [1, [nan]]", "config.a[1][0] is nan"),
    ],
)
def test_wrong_items(text: str, reason: str) -> None:
    """A wrong item of a list is named with its place in the list."""
    assert refusal(text)[0] == reason


@pytest.mark.parametrize(
    ("text", "reason", "remedy"),
    [
        ("ordr = 1", "unknown key 'ordr'", "did you mean 'order'?"),
        ("Hooks = []", "unknown key 'Hooks'", "did you mean 'hooks'?"),
        ("limits.timeout = 1", "unknown key 'limits.timeout'", "did you mean 'timeout_ms'?"),
        ("match.path = 1", "unknown key 'match.path'", "did you mean 'paths'?"),
        ("[[match]]\nx = 1", "unknown key 'match[0].x'", "the known keys are paths, methods,"),
        ("needs.q = []", "unknown key 'needs.q'", "the known keys are on_request, on_response"),
        ('"" = 1', "unknown key ''", "the known keys are name, version, "),
        (
            'hooks = ["price_quote"]\non_failure.price_quot = "fail"',
            "unknown key 'on_failure.price_quot'",
            "did you mean 'price_quote'?",
        ),
        (
            "on_failure._start = 'skip'",
            "unknown key 'on_failure._start'",
            "allowed: an ASCII ident",
        ),
        ('capabilities = ["log", "clok"]', "capabilities[1] is 'clok'", "did you mean 'clock'?"),
        ('capabilities = ["x"]', "capabilities[0] is 'x'", "the known are log, clock, random"),
    ],
)
def test_unknown_keys(text: str, reason: str, remedy: str) -> None:
    """An unknown key or name is refused with the one that was meant, or with all there are."""
    actual = refusal(text)
    assert actual[0] == reason
    assert actual[1].startswith(remedy)


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("header:Cookie", "the Cookie header comes as 'cookies'"),
        ("header:host", "the Host header comes as 'host'"),
        ("header:x_user", "WSGI passes no such header; did you mean 'header:x-user'?"),
        ("header:", "allowed: 'header:' and a header's name, such as 'header:accept'"),
        ("header:a b", "allowed: 'header:' and a header's name, such as 'header:accept'"),
        ("header:a\\n", "allowed: 'header:' and a header's name, such as 'header:accept'"),
        ("cookie", "did you mean 'cookies'?"),
        ("stream", "allowed: method, scheme, host, path, query, remote, protocol, endpoint, args,"),
        ("", "allowed: method, "),
    ],
)
def test_wrong_request_needs(word: str, remedy: str) -> None:
    """A word that is no need of on_request is refused with what to write instead."""
    reason, actual = refusal(f'needs.on_request = ["body", "{word}"]')
    assert reason.startswith("needs.on_request[1] is '")
    assert actual.startswith(remedy)


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("path", "allowed: headers, header:NAME, body, stream, context"),
        ("streams", "did you mean 'stream'?"),
        ("header:é", "allowed: 'header:' and a header's name, such as 'header:accept'"),
    ],
)
def test_wrong_response_needs(word: str, remedy: str) -> None:
    """A word that is no need of on_response is refused with what to write instead."""
    assert refusal(f'needs.on_response = ["{word}"]') == (
        f"needs.on_response[0] is '{word}'",
        remedy,
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], RequestNeeds((), (), False)),
        (["body"], RequestNeeds((), (), True)),
        (["headers", "header:accept"], RequestNeeds((), True, False)),
        (["cookies", "method"], RequestNeeds((":method", ":cookies"), (), False)),
        (["header:B", "header:a"], RequestNeeds((), ("b", "a"), False)),
    ],
)
def test_request_needs(words: list[str], expected: RequestNeeds) -> None:
    """Declared needs replace the default; all headers win over some."""
    manifest = parse(f"needs.on_request = {words}")
    assert (manifest.request_needs, manifest.response_needs) == (expected, ResponseNeeds())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ResponseNeeds((), False, False, False)),
        (["headers"], ResponseNeeds(True, False, False, False)),
        (["header:Set_Cookie"], ResponseNeeds(("set_cookie",), False, False, False)),
        (["body"], ResponseNeeds((), True, False, False)),
        (["stream"], ResponseNeeds((), True, True, False)),
        (["context"], ResponseNeeds((), False, False, True)),
    ],
)
def test_response_needs(words: list[str], expected: ResponseNeeds) -> None:
    """Declared needs replace the default; a streamed body is a body."""
    manifest = parse(f"needs.on_response = {words}")
    assert (manifest.request_needs, manifest.response_needs) == (RequestNeeds(), expected)


def test_capabilities() -> None:
    """Asking for no capability is not the same as not saying."""
    assert [parse(text).capabilities for text in ("", "capabilities = []")] == [None, frozenset()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["fail", "skip", "skip"]),
        ('on_failure = "skip"', ["skip", "skip", "skip"]),
        ('on_failure = "fail"', ["fail", "fail", "fail"]),
        ('on_failure.price_quote = "fail"', ["fail", "skip", "fail"]),
        ('on_failure.on_request = "skip"', ["skip", "skip", "skip"]),
    ],
)
def test_failure_policy(text: str, expected: list[str]) -> None:
    """A failure of on_request fails the request unless the manifest says otherwise."""
    policy = parse(text).failure_policy
    assert [policy(hook).word for hook in ("on_request", "on_response", "price_quote")] == expected


def test_config_json() -> None:
    """The guest gets its config as compact JSON in UTF-8, the same whatever the order of keys."""
    one, other = (
        parse(f"[config]\n{text}").config_json()
        for text in ('b = "ü"\na = [1, 2.0, true]', 'a = [1, 2.0, true]\nb = "ü"')
    )
    assert one == other == '{"a":[1,2.0,true],"b":"ü"}'.encode()


def test_config_json_without_config() -> None:
    """A plugin without config gets an empty object."""
    assert parse(None).config_json() == b"{}"


def test_config_integers() -> None:
    """Every integer that TOML requires is allowed in a config."""
    assert parse(f"config.a = [{-(2**63)}, {2**63 - 1}]").config == {"a": [-(2**63), 2**63 - 1]}


@pytest.mark.parametrize(
    ("config", "schema", "reason", "remedy"),
    [
        (
            "tiers = [{percent = 5}, {percent = 150}]",
            "properties.tiers.items.properties.percent.maximum = 100",
            "config.tiers[1].percent is 150",
            "config_schema.properties.tiers.items.properties.percent.maximum does not allow it:"
            " 150 is greater than the maximum of 100",
        ),
        (
            "",
            'required = ["percent"]',
            "config is {}",
            "config_schema.required does not allow it: 'percent' is a required property",
        ),
        (
            "percnt = 1",
            "additionalProperties = false",
            "config is {'percnt': 1}",
            "config_schema.additionalProperties does not allow it: Additional properties are not"
            " allowed ('percnt' was unexpected)",
        ),
    ],
)
def test_config_that_does_not_fit(config: str, schema: str, reason: str, remedy: str) -> None:
    """A config that fails the plugin's own schema is refused with key, value and the rule."""
    text = f"[config]\n{config}\n[config_schema]\n{schema}"
    assert refusal(text) == (reason, remedy)


def test_config_that_fits() -> None:
    """A config that its schema allows is taken as it is."""
    text = "config.a = 5\nconfig_schema.properties.a = {type = 'integer', minimum = 5}"
    assert parse(text).config == {"a": 5}


def test_long_complaints_are_shortened() -> None:
    """What a schema says about a huge value stays readable."""
    text = f"config.a = \"{'x' * 5000}\"\nconfig_schema.properties.a.type = 'integer'"
    reason, remedy = refusal(text)
    assert len(reason) + len(remedy) < 500


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("type = 'text'", "config_schema.type is 'text'"),
        ("minProperties = -1", "config_schema.minProperties is -1"),
        ("properties.a.enum = 3", "config_schema.properties.a.enum is 3"),
    ],
)
def test_schema_that_is_none(schema: str, reason: str) -> None:
    """A schema that is not a JSON Schema is refused with the key that is wrong."""
    actual = refusal(f"[config_schema]\n{schema}")
    assert actual[0] == reason
    assert actual[1].startswith("a JSON Schema (draft 2020-12) does not allow it: ")


@pytest.mark.parametrize(
    ("reference", "why"), [("#/$defs/nowhere", "PointerToNowhere"), ("#", "RecursionError")]
)
def test_schema_that_cannot_be_used(reference: str, why: str) -> None:
    """A schema with a reference that leads nowhere or in a circle is refused."""
    reason, remedy = refusal(f"config_schema.'$ref' = '{reference}'")
    assert reason.startswith("config_schema cannot be used: ")
    assert why in reason
    assert remedy == "allowed: a JSON Schema (draft 2020-12) that needs no other"


#: Patterns that backtrack without end on some text, and ones that do not.
ENDLESS = [
    "^(a+)+$", "(a|a)*$", "(a|aa)+$", "(.*a){20}", "(x+x+)+y", "a*a*a*a*a*a*b", "(a?){30}a{30}",
    "^[a-z]+(-[a-z]+)*$", "(?:(?:a|b)+c?)*d", "(?=(a+)+$)b", "(?>(a+)+$)", "(a*)*\\1$",
    "(a|a|a|a)(a|a|a|a)" * 10,
]  # fmt: skip
QUICK = [
    "", "^[a-z]+$", "^(red|green|blue)$", "^#[0-9a-f]{6}$", "^\\d{4}-\\d\\d-\\d\\d$", "[^@]+@[^@]+",
    "^https://[^/]+/.*$", "(?:ab)*c", "^[a-z]+(?:-[a-z]+)*+$", "(?>a+)b", "^.{1,60}$", "(\\d+)-\\1",
    "^(?:\\d{3}-)*\\d$", "(?i)a|b", "(?:a|b)?c", "^(a)?(?(1)b|c)$",
]  # fmt: skip


@pytest.mark.parametrize("key", ["pattern", "patternProperties"])
@pytest.mark.parametrize("pattern", ENDLESS)
def test_pattern_that_could_take_for_ever(pattern: str, key: str) -> None:
    """A pattern that backtracks without end on some text is refused, before it is tried."""
    value = f"'{pattern}'" if key == "pattern" else f"{{ '{pattern}' = {{}} }}"
    text = f"config.a = '{'a' * 60}!'\n[config_schema.properties.a]\n{key} = {value}"
    reason, remedy = refusal(text)
    assert reason.startswith(f"config_schema.properties.a.{key} is ")
    assert remedy.startswith("allowed: a pattern that ends soon on every text")


@pytest.mark.parametrize("pattern", QUICK)
def test_pattern_that_is_quick(pattern: str) -> None:
    """Usual patterns are taken, and mean what they mean."""
    text = "config.a = '{}'\n[config_schema.properties.a]\npattern = '{}'"
    fits = next(word for word in WORDS if re.search(pattern, word))
    assert parse(text.format(fits, pattern)).config == {"a": fits}
    for word in WORDS:
        if not re.search(pattern, word):
            assert refusal(text.format(word, pattern))[0] == f"config.a is {word!r}"


WORDS = [
    "red",
    "a-b",
    "2024-01-02",
    "#00ff7f",
    "x@y",
    "https://a/b",
    "abc",
    "12-12",
    "7",
    "?",
    "ab",
]


def test_pattern_that_is_none() -> None:
    """What is no regular expression is refused with the key."""
    reason, remedy = refusal("config_schema.patternProperties.'a(' = {}")
    assert reason == "config_schema.patternProperties is 'a('"
    assert remedy.startswith("allowed: a regular expression: missing )")


def test_schema_that_doubles_its_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """References to references, whose checks grow with the power of two, come to an end."""
    monkeypatch.setattr("plugin_host.manifest.parse.MOST_TIME", 0.05)
    steps = "".join(
        f"d{i}.allOf = [{{ '$ref' = '#/$defs/d{i + 1}' }}, {{ '$ref' = '#/$defs/d{i + 1}' }}]\n"
        for i in range(40)
    )
    text = f"[config_schema]\n'$ref' = '#/$defs/d0'\n[config_schema.'$defs']\n{steps}d40 = {{}}\n"
    before = sys.getprofile()
    assert refusal(text) == (
        "the manifest takes more than 0.05 s to check",
        "make it, or its config_schema, simpler",
    )
    assert sys.getprofile() is before


def test_time_that_is_over_ends_no_finalizer() -> None:
    """What the garbage collector and dropped generators call runs to its end, and hides nothing."""
    ended = []

    class Foreign:
        def __del__(self) -> None:
            ended.append(str(self))

        def __str__(self) -> str:
            return "ended"

    reader: dict[str, Any] = {"__name__": "jsonschema._made_up"}
    exec("def numbers():\n  yield 1\n  yield 2\ndef check(): pass", reader)

    def read() -> None:
        for _ in range(100):
            Foreign()
            any(reader["numbers"]())
        reader["check"]()

    with pytest.raises(TooLong), bounded(-1):
        read()
    assert ended == ["ended"] * 100


def test_a_profiler_that_runs_while_a_manifest_is_read_goes_on() -> None:
    """An app that is profiled from its start reads manifests, and keeps its profiler."""
    profile = cProfile.Profile()
    profile.enable()
    before = sys.getprofile()
    try:
        manifest = parse_manifest(TOML, stem="shop", text=b'version = "3.0"')
        after = sys.getprofile()
    finally:
        profile.disable()
    assert manifest.version == "3.0"
    assert after is before


def test_schema_fetches_nothing() -> None:
    """A reference to another server is refused, and nobody connects to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        reason, _ = refusal(f"config_schema.'$ref' = '{url}'")
        with pytest.raises(BlockingIOError):
            server.accept()
    assert reason.endswith(f"Unresolvable: {url}")


@pytest.mark.parametrize(
    ("text", "reason", "remedy"),
    [
        (b"a = ", "the manifest is not TOML: Invalid value (at ", "see https://toml.io"),
        (b"order = 1\norder = 2", "the manifest is not TOML: ", "see https://toml.io"),
        (b"order = " + b"1" * 5000, "the manifest is not TOML: ", "see https://toml.io"),
        (b'name = "\xff"', "the manifest is not UTF-8 at byte 8", "save it as UTF-8"),
        (b"config.a = " + b"[" * 9000, "the manifest is nested too deeply", "flatten it"),
        (b"a." * 9000 + b"a = 1", "the manifest has a key of more than 64 parts", "flatten it"),
        (
            b"[" + b"'a' . \"a\"." * 50 + b"a]",
            "the manifest has a key of more than 64 parts",
            "flatten it",
        ),
        (b"#" * (MAX_MANIFEST + 1), "the manifest has 262145 bytes", "allowed: at most 262144"),
    ],
)
def test_text_that_is_no_manifest(text: bytes, reason: str, remedy: str) -> None:
    """Text that is not TOML, not UTF-8, too long or too deep is refused for that reason."""
    actual = refusal(text)
    assert actual[0].startswith(reason)
    assert actual[1].startswith(remedy)


def test_longest_manifest() -> None:
    """A manifest of exactly the longest size is read."""
    assert parse(b"#" * MAX_MANIFEST) == parse(None)


def test_the_error_names_the_file() -> None:
    """The message starts with the name of the file that is wrong."""
    with pytest.raises(ManifestError) as error:
        parse("order = 0.5")
    assert str(error.value) == ("shop.toml: order is 0.5; allowed: an integer from -10000 to 10000")


def test_a_file_name_that_is_no_plugin_name() -> None:
    """A file whose name cannot be the plugin's needs to be renamed or to have a manifest."""
    reason, remedy = refusal(None, stem="my plugin")
    assert reason == "the file's name 'my plugin' cannot be the plugin's name"
    assert remedy.startswith('rename the file, or say name = "…" in a manifest; allowed: 1 to 64')
    assert parse('name = "mine"', stem="my plugin").name == "mine"


def test_a_file_name_in_upper_case() -> None:
    """Names are in lower case, whatever the file's case."""
    assert parse(None, stem="Shop.V2").name == "shop.v2"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Limits(timeout=0.05, memory=64 * MIB)),
        ({"timeout": 0.01, "memory": MIB}, Limits(timeout=0.01, memory=MIB)),
        ({"timeout": 5.0, "memory": 999 * MIB}, Limits(timeout=0.05, memory=64 * MIB)),
    ],
)
def test_effective_limits(values: dict[str, Any], expected: Limits) -> None:
    """A plugin can lower the app's limits, never raise them."""
    manifest = replace(Manifest(name="shop"), **values)
    assert effective_limits(manifest, Settings.from_mapping({}, "/")) == expected


@given(st.binary(max_size=60))
def test_any_bytes(text: bytes) -> None:
    """Any bytes whatever give a manifest or a ManifestError."""
    try:
        assert isinstance(parse(text), Manifest)
    except ManifestError as error:
        assert error.reason  # noqa: PT017 - both outcomes are right


_VALUES = st.recursive(
    st.sampled_from(['"x"', "1", "-1.5", "true", "nan", "[]", "{}", "2020-01-01", '"/**"']),
    lambda inner: st.lists(inner, max_size=2).map(lambda items: f"[{', '.join(items)}]"),
)


@given(st.dictionaries(st.sampled_from([key for key, _ in MANIFEST_KEYS]), _VALUES, max_size=4))
def test_any_values(values: dict[str, str]) -> None:
    """Any value under any key gives a manifest or a ManifestError."""
    text = "\n".join(f"{key} = {value}" for key, value in values.items())
    try:
        assert parse(text).name
    except ManifestError as error:
        assert error.remedy  # noqa: PT017 - both outcomes are right
