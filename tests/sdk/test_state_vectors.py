"""The AssemblyScript SDK against the golden vectors of the store."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from plugin_host.abi.guest import Guest
from plugin_host.config import Settings
from plugin_host.hostfunctions.services import Services
from plugin_host.wasm.instance import HostFunction, Instance, Limits
from plugin_host.wasm.runtime import choose_engine, link
from tests.state.trampoline import groups

from .conftest import GUEST
from .test_vectors import load, record, unhex

pytestmark = pytest.mark.node

PATH = Path("state.wasm")
HOOKS = ("get_many", "put_many", "list", "on_request")
VECTORS = load("state.json")


class FakeHost:
    """A guest with a host that gives what it is told to give, and notes what it is passed."""

    def __init__(self, module: bytes, answer: bytes) -> None:
        self.passed = passed = []  # type: list[bytes]
        engine = choose_engine(True)
        offered = groups(Services.of("guest", Settings.from_mapping({}, PATH)))
        functions = [fake(item, answer, passed) for item in offered]
        instance = link(engine, engine.compile(module, PATH), functions, PATH).instance(
            Limits(), monotonic(), 60.0
        )
        self.guest = Guest(instance, HOOKS, b"{}", 1 << 20, monotonic(), 60.0)

    def ask(self, hook: str, **arguments: Any) -> Any:
        result = self.guest.call(hook, json.dumps(arguments).encode(), monotonic(), 60.0)
        assert result is not None
        return json.loads(result)[0]


def fake(item: HostFunction, answer: bytes, passed: list[bytes]) -> HostFunction:
    """A host function that notes its run of bytes and gives the answer, where it gives one."""

    def call(instance: Instance, *arguments: int) -> int:
        passed.append(instance.read(*arguments[1:3]))
        if item.name not in ("state_get", "state_get_many", "state_list"):
            return 0
        out, room = arguments[-2:]
        if len(answer) <= room:
            instance.write(out, answer)
        return len(answer)

    return replace(item, function=call)


@pytest.fixture(scope="module")
def module(build: Any) -> bytes:
    """The guest of the tests of state."""
    return b"" if build.missing_tool() else bytes(build.compile_source(GUEST / "state.ts"))


def text(value: Any) -> str | None:
    return None if value is None else unhex(value).decode()


def is_text(vector: dict[str, Any]) -> bool:
    """Whether the SDK, whose keys and values of several at once are text, can express it."""
    try:
        for pair in vector.get("items", [[key, None] for key in vector.get("keys", [])]):
            [text(value) for value in pair]
    except UnicodeDecodeError:
        return False
    return True


def of(what: str) -> Any:
    vectors = [vector for vector in VECTORS if vector["what"] == what and is_text(vector)]
    assert vectors
    return pytest.mark.parametrize("vector", vectors, ids=lambda vector: vector["name"])


@of("keys")
def test_keys(module: bytes, vector: dict[str, Any]) -> None:
    """The SDK passes keys as the vector's bytes."""
    host = FakeHost(module, b"")
    host.ask("get_many", keys=[text(key) for key in vector["keys"]])
    assert host.passed == [unhex(vector["bytes"])]


@of("items")
def test_items(module: bytes, vector: dict[str, Any]) -> None:
    """The SDK passes keys and values as the vector's bytes."""
    host = FakeHost(module, b"")
    keys, values = ([text(pair[at]) for pair in vector["items"]] for at in (0, 1))
    assert host.ask("put_many", keys=keys, values=values)
    assert host.passed == [unhex(vector["bytes"])]


@of("values")
def test_values(module: bytes, vector: dict[str, Any]) -> None:
    """The SDK reads the vector's values, of which null is no such key."""
    host = FakeHost(module, unhex(vector["bytes"]))
    assert host.ask("get_many", keys=["k"]) == [text(value) for value in vector["values"]]


@of("page")
def test_pages(module: bytes, vector: dict[str, Any]) -> None:
    """The SDK reads a page's keys, sizes and times, and passes its cursor on."""
    host = FakeHost(module, unhex(vector["bytes"]))
    entries = [[text(key), size, left] for key, size, left in vector["entries"]]
    if not vector["cursor"]:
        assert host.ask("list") == entries
        return
    ask = partial(host.guest.call, "list", b'{"pages": 1}', monotonic(), 60.0)
    result = ask()
    assert result is not None
    assert json.loads(result)[0] == entries


@of("field")
def test_fields(module: bytes, vector: dict[str, Any]) -> None:
    """The SDK finds each key in the field, and asks the host for others, and after an error."""
    host = FakeHost(module, b"asked")
    wanted = {text(key): text(value) for key, value in vector["items"]} | {"other": "asked"}
    found = {}
    for key in wanted:
        assert key is not None
        data = record("request", b"", _state=unhex(vector["bytes"]), x_key=key.encode())
        answer = host.guest.call("on_request", data, monotonic(), 60.0)
        assert answer is not None
        found[key] = json.loads(answer[answer.index(b"[") :])[0]
    assert found == wanted
    assert host.passed.count(b"other") == 1
    assert len(set(host.passed)) == 1
