"""State through the AssemblyScript SDK, in a site, against the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from plugin_host import PluginHost

from .conftest import GUEST, MakeApp

pytestmark = pytest.mark.node

HOOKS = (  # noqa: SIM905
    "get get_all put put_bytes put_json remove put_if_absent compare_and_set admit add add_number"
    " count list get_many put_many delete_many"
).split()

#: Calls a hook of the guest with the arguments given: [what came of it, code, error if any].
Ask = Callable[..., list[Any]]


@pytest.fixture(scope="session")
def module(build: Any) -> bytes:
    """The guest, compiled once."""
    return b"" if build.missing_tool() else bytes(build.compile_source(GUEST / "state.ts"))


@pytest.fixture
def site(module: bytes, folder: Path, make_app: MakeApp) -> tuple[Flask, PluginHost]:
    """A site with the guest, whose store is in memory."""
    (folder / "guest.wasm").write_bytes(module)
    (folder / "guest.toml").write_text(
        """needs.on_request = ["header:x-key"]
        state.prefetch = ["first", "seen/{header:x-user}", "third"]"""
    )
    grants = ["log", "state", "state:till"]
    app, plugins = make_app(STATE="memory:", GRANTS=grants, TIMEOUT=5)
    for name in HOOKS:
        plugins.hookspec(name, timeout=5.0)
    return app, plugins


@pytest.fixture
def ask(site: tuple[Flask, PluginHost]) -> Ask:
    """Call a hook."""
    app, plugins = site

    def asked(hook: str, **arguments: Any) -> list[Any]:
        with app.app_context():
            answer: list[Any] = plugins.call(hook, arguments)
            return answer

    return asked


def test_values(ask: Ask) -> None:
    """What is put is got, as text, bytes, numbers and JSON."""
    assert ask("get", key="k") == [None, 0]
    assert ask("put", key="k", value="wörld") == [True, 0]
    assert ask("get", key="k") == ["wörld", 0]
    assert ask("put", key="k", value="") == [True, 0]
    assert ask("get", key="k") == ["", 0]
    assert ask("put_json", key="ö", value={"a": [1]}) == [True, 0]
    assert ask("get_all", key="ö") == [[9, -1, -1.0, {"a": [1]}], 0]
    assert ask("put", key="n", value="-7") == [True, 0]
    assert ask("get_all", key="n") == [[2, -7, -7.0, -7], 0]
    assert ask("get_all", key="none") == [[None, -1, -1.0, None], 0]


def test_large_values(ask: Ask) -> None:
    """Values that are larger than the room for them are read all the same."""
    value = "x" * 50_000
    assert ask("put", key="k", value=value) == [True, 0]
    assert ask("get", key="k") == [value, 0]
    assert ask("put_if_absent", key="k", value="y") == [[False, value], 0]


def test_deleting(ask: Ask) -> None:
    """Deleting says whether there was anything, and how many."""
    ask("put_many", keys=["a", "b", "c"], values=["1", "2", "3"])
    assert ask("remove", key="a") == [True, 0]
    assert ask("remove", key="a") == [False, 0]
    assert ask("delete_many", keys=["a", "b", "c"]) == [2, 0]


def test_conditions(ask: Ask) -> None:
    """Conditional writes say whether they were done, and else what there is."""
    assert ask("put_if_absent", key="k", value="a") == [[True, None], 0]
    assert ask("put_if_absent", key="k", value="b") == [[False, "a"], 0]
    assert ask("compare_and_set", key="k", expected="x", value="b") == [[False, "a"], 0]
    assert ask("compare_and_set", key="k", expected="a", value="b") == [[True, None], 0]
    assert ask("compare_and_set", key="k", expected="b", value=None) == [[True, None], 0]
    assert ask("compare_and_set", key="k", expected="b", value="c") == [[False, None], 0]


def test_admission(ask: Ask) -> None:
    """At most so many get in, and who is in stays in."""

    def admit(user: str) -> Any:
        return ask("admit", key=f"id/{user}", prefix="id/", limit=2, value=user)

    assert [admit("ann"), admit("bob"), admit("cy"), admit("ann")] == [
        [["added", None], 0],
        [["added", None], 0],
        [["full", None], 0],
        [["present", "ann"], 0],
    ]
    assert ask("count", prefix="id/") == [2, 0]


def test_adding(ask: Ask) -> None:
    """Sums stay within bounds; the number that is there is told either way."""
    assert ask("add", key="n") == [[1, True], 0]
    assert ask("add", key="n", delta=-3, floor=-1) == [[1, False], 0]
    assert ask("add", key="n", delta=4, ceiling=5) == [[5, True], 0]
    assert ask("add_number", key="f", delta=0.5) == [[0.5, True], 0]
    assert ask("add_number", key="f", delta=9.5, ceiling=9) == [[0.5, False], 0]


def test_lists(ask: Ask) -> None:
    """A list goes on where it ended, however large its pages are."""
    keys = [f"k/{number:03}" + "x" * 200 for number in range(23)]
    ask("put_many", keys=keys, values=["v" * 3] * 23)
    ask("put", key="k/999", value="", ttl=60_000)
    (entries, code) = ask("list", prefix="k/", limit=7)
    assert code == 0
    assert [entry[0] for entry in entries] == [*keys, "k/999"]
    assert entries[0][1:] == [3, None]
    assert entries[23][1] == 0
    assert 0 < entries[23][2] <= 60_000
    assert ask("list", prefix="nothing") == [[], 0]


def test_many(ask: Ask) -> None:
    """Several keys are put and read at once."""
    assert ask("put_many", keys=["a", "b"], values=["1", ""]) == [True, 0]
    assert ask("get_many", keys=["b", "x", "a"]) == [["", None, "1"], 0]
    assert ask("get_many", keys=[]) == [[], 0]
    assert ask("put_many", keys=[], values=[]) == [True, 0]


def test_shared_namespaces(ask: Ask) -> None:
    """A shared namespace is another one, and may be declared before any hook runs."""
    assert ask("put", shared="till", key="k", value="shared") == [True, 0]
    assert ask("get", key="k") == [None, 0]
    assert ask("get", shared="till", key="k") == ["shared", 0]


FAILURES: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("get", {"shared": "vault", "key": "k"}, [None, -16, "the shared namespace is not granted"]),
    ("put", {"shared": "vault", "key": "k", "value": "v"}, [False, -16]),
    ("add", {"shared": "vault", "key": "k"}, [[0, False], -16]),
    ("admit", {"shared": "vault", "key": "k"}, [["failed", None], -16]),
    ("list", {"shared": "vault"}, [None, -16]),
    ("get_many", {"shared": "vault", "keys": ["k"]}, [[], -16]),
    ("put_many", {"shared": "vault", "keys": ["k"], "values": ["v"]}, [False, -16]),
    ("delete_many", {"shared": "vault", "keys": ["k"]}, [0, -16]),
    ("count", {"shared": "vault"}, [0, -16]),
    ("remove", {"shared": "vault", "key": "k"}, [False, -16]),
    ("compare_and_set", {"shared": "vault", "key": "k", "value": "v"}, [[False, None], -16]),
    ("put", {"key": "", "value": "v"}, [False, -9, "the key is empty"]),
    ("put", {"key": "k" * 600, "value": "v"}, [False, -5]),
    ("put_bytes", {"key": "k", "size": 300_000}, [False, -6]),
    ("put", {"key": "k", "value": "v", "ttl": -1}, [False, -11]),
    ("add", {"key": "text"}, [[0, False], -7]),
    ("add", {"key": "most"}, [[0, False], -8]),
    ("add", {"key": "k", "floor": 2, "ceiling": 1}, [[0, False], -12]),
    ("admit", {"key": "k", "prefix": "x", "limit": 1}, [["failed", None], -10]),
    ("admit", {"key": "k", "prefix": "k", "limit": -1}, [["failed", None], -13]),
    ("list", {"limit": 0}, [None, -13]),
    ("get_many", {"keys": ["k"] * 1001}, [[], -15]),
]


@pytest.mark.parametrize(("hook", "arguments", "expected"), FAILURES)
def test_failures(ask: Ask, hook: str, arguments: dict[str, Any], expected: list[Any]) -> None:
    """What fails returns what stands for nothing, with a code and a message, and the next works."""
    ask("put_many", keys=["text", "most"], values=["one", str((1 << 63) - 1)])
    got = ask(hook, **arguments)
    assert got[: len(expected)] == expected
    assert len(got) == 3
    assert got[2]
    assert ask("get", key="text") == ["one", 0]


def test_prefetched(site: tuple[Flask, PluginHost], ask: Ask) -> None:
    """What came with the request is taken from there, the rest is read, and both are the same."""
    client = site[0].test_client()
    ask("put_many", keys=["first", "seen/änn", "other"], values=["1", "", "else"])
    user = "änn".encode().decode("latin-1")

    def prefetched(key: str) -> Any:
        name = key.encode().decode("latin-1")
        return client.get("/", headers={"x-key": name, "x-user": user}).json

    assert [prefetched(key) for key in ("first", "seen/änn", "third", "other", "none")] == [
        ["1", True, 0],
        ["", True, 0],
        [None, True, 0],
        ["else", True, 0],
        [None, True, 0],
    ]
