"""``flask plugins data``: what plugins keep, listed, read, changed, and noted."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask.cli import ScriptInfo
from guests import MakeApp

from plugin_host.cli import cli, datawatch
from plugin_host.host.host import Host
from plugin_host.state import Namespace

FAR = 1e12  # a deadline that never comes


class Shop:
    """An app with a store, and a shell beside it."""

    def __init__(self, make_app: MakeApp, state: str) -> None:
        self._make, self._state = make_app, state
        app, _ = make_app(STATE=state)
        self.host: Host = app.extensions["plugin_host"]

    def namespace(self, name: str = "plugin:sale") -> Namespace:
        """What the plugin sees."""
        return self.host.services.store.namespace(name)

    def run(self, *args: str, stdin: str | bytes | None = None) -> Result:
        """Run a command, in another process's stead: with an app of its own."""
        info = ScriptInfo(create_app=lambda: self._make(STATE=self._state)[0])
        return CliRunner().invoke(cli, ("data", *args), stdin, obj=info, prog_name="plugins")

    def say(self, *args: str, stdin: str | bytes | None = None) -> str:
        """Run a command that succeeds; return what it writes."""
        result = self.run(*args, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *args: str) -> Any:
        """Run a command with --json that succeeds."""
        return json.loads(self.say(*args, "--json"))


@pytest.fixture
def shop(make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """An app whose store is a file."""
    monkeypatch.chdir(tmp_path)
    return Shop(make_app, f"sqlite:///{tmp_path / 'state.sqlite3'}")


SALE = ("--plugin", "sale")


def test_what_is_put_the_plugin_finds(shop: Shop) -> None:
    """put stores the text as it is; get shows it, list the key, and the plugin sees both."""
    shop.say("put", *SALE, "max_buyers", "100")
    assert shop.namespace().get(b"max_buyers", deadline=FAR) == b"100"
    assert shop.say("get", *SALE, "max_buyers") == "100\n"
    assert shop.json("get", *SALE, "max_buyers") == {"key": "max_buyers", "value": "100"}
    assert shop.json("list", *SALE) == {
        "namespace": "plugin:sale",
        "keys": [{"key": "max_buyers", "size": 3, "ttl": None}],
        "cursor": None,
    }
    assert shop.json("list") == {"namespaces": [{"name": "plugin:sale", "keys": 1}]}
    assert shop.namespace("shared:sale").count(deadline=FAR) == 0


def test_a_shared_namespace_is_named_apart(shop: Shop) -> None:
    """What plugins share does not collide with a plugin of that name."""
    shop.say("put", "--namespace", "sale", "key", "shared")
    assert shop.namespace("shared:sale").get(b"key", deadline=FAR) == b"shared"
    assert shop.run("get", *SALE, "key").exit_code == 1


def test_a_ttl_ends_a_key(shop: Shop) -> None:
    """put --ttl stores for so many seconds, and list says how many are left."""
    shop.say("put", *SALE, "key", "value", "--ttl", "60")
    (entry,) = shop.json("list", *SALE)["keys"]
    assert 0 < entry["ttl"] <= 60
    result = shop.run("put", *SALE, "key", "value", "--ttl", "-1")
    assert result.exit_code == 1
    assert "a TTL of -1.0 seconds is not above 0" in result.stderr


def test_a_list_goes_on_where_it_ended(shop: Shop) -> None:
    """Pages follow each other by cursor; a wrong one is refused."""
    for number in range(5):
        shop.namespace().put(b"k%d" % number, b"", deadline=FAR)
    first = shop.json("list", *SALE, "--limit", "3")
    rest = shop.json("list", *SALE, "--limit", "3", "--cursor", first["cursor"])
    assert [e["key"] for p in (first, rest) for e in p["keys"]] == [f"k{n}" for n in range(5)]
    assert rest["cursor"] is None
    assert "there are more: --cursor" in shop.run("list", *SALE, "--limit", "3").stderr
    wrong = shop.run("list", *SALE, "--cursor", "nonsense")
    assert (wrong.exit_code, "cursor" in wrong.stderr) == (1, True)


@pytest.mark.parametrize("value", [b"\xff\x00", b""])
def test_bytes_that_are_no_text_are_shown_as_base64(shop: Shop, value: bytes) -> None:
    """Whatever a plugin stored can be looked at, and nothing reaches the terminal raw."""
    shop.namespace().put(b"\x1b[2J\xfe", value, deadline=FAR)
    (entry,) = shop.json("list", *SALE)["keys"]
    assert entry["key_base64"] == "G1sySv4="
    assert "\x1b" not in shop.say("list", *SALE)
    shop.namespace().put(b"key", value, deadline=FAR)
    shown = shop.say("get", *SALE, "key")
    assert shown == ("base64:/wA=\n" if value else "\n")


YAML = """
max_buyers: 100
start: "2026-11-27T10:00:00Z"
rules: {vip: [alice, bob]}
lucky:alice: {text: "yes", ttl: 60}
picture: {base64: /wA=}
number: {json: "7"}
old: null
"""


@pytest.mark.parametrize("form", ["yaml", "json", "stdin"])
def test_a_file_is_applied(shop: Shop, tmp_path: Path, form: str) -> None:
    """Texts, numbers, tables, bytes, lifetimes and deletions, in YAML or JSON."""
    yaml = pytest.importorskip("yaml")
    shop.namespace().put(b"old", b"1", deadline=FAR)
    file = tmp_path / "sale"
    file.write_text(YAML if form != "json" else json.dumps(yaml.safe_load(YAML)))
    if form == "stdin":
        said = shop.say("apply", *SALE, "-", stdin=YAML)
    else:
        said = shop.say("apply", *SALE, str(file))
    assert said == "6 put, 1 deleted\n"
    space = shop.namespace()
    keys = [b"max_buyers", b"start", b"rules", b"lucky:alice", b"picture", b"number", b"old"]
    assert space.get_many(keys, deadline=FAR) == [
        b"100", b"2026-11-27T10:00:00Z", b'{"vip":["alice","bob"]}', b"yes", b"\xff\x00", b'"7"',
        None,
    ]  # fmt: skip
    lives = {e.key: e.ttl is not None for e in space.list(deadline=FAR).entries}
    assert [key for key, ends in lives.items() if ends] == [b"lucky:alice"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1, 2]", "not a mapping"),
        ("7", "not a mapping"),
        ("{a: b: c", "neither JSON nor YAML"),
        ('{"k": {"base64": "%"}}', "k: it is not base64"),
        ('{"k": {"ttl": 5}}', "k: give one of text, json and base64"),
        ('{"k": {"text": "a", "json": 1}}', "k: give one of text, json and base64"),
        ('{"k": {"text": 7}}', "k: text is 7"),
        ('{"k": {"text": "a", "ttl": "soon"}}', "k: the ttl is 'soon'"),
        ('{"": "value"}', "the key is empty"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_applied_changes_nothing(shop: Shop, text: str, why: str) -> None:
    """The message says what is wrong with it."""
    pytest.importorskip("yaml")
    result = shop.run("apply", *SALE, "-", stdin=text)
    assert result.exit_code == 1
    assert why in result.stderr
    assert shop.namespace().count(deadline=FAR) == 0


def test_yaml_is_an_extra(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it JSON is applied, and YAML is refused with the remedy."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    shop.say("apply", *SALE, "-", stdin='{"key": "value"}')
    result = shop.run("apply", *SALE, "-", stdin="key: value")
    assert result.exit_code == 1
    assert "pip install 'flask-plugin-host[yaml]'" in result.stderr


def test_keys_are_deleted(shop: Shop) -> None:
    """By name, without a question; how many there were is said."""
    shop.namespace().put_many([(b"a", b""), (b"b", b"")], deadline=FAR)
    assert shop.say("delete", *SALE, "a", "c") == "1 deleted\n"
    assert shop.namespace().count(deadline=FAR) == 1


def test_a_wide_delete_asks_first(shop: Shop) -> None:
    """No is no; yes, or --yes, deletes all with the prefix, over many pages, and no others."""
    names = [b"buyer:%05d" % number for number in range(2500)]
    for start in range(0, len(names), 1000):
        some = [(name, b"") for name in names[start : start + 1000]]
        shop.namespace().put_many(some, deadline=FAR)
    shop.namespace().put(b"max_buyers", b"1", deadline=FAR)
    refused = shop.run("delete", *SALE, "--prefix", "buyer:", stdin="n\n")
    assert refused.exit_code == 1
    assert "Delete all 2500 keys that begin with buyer:, of plugin:sale?" in refused.stderr
    assert shop.namespace().count(b"buyer:", deadline=FAR) == 2500
    assert shop.say("delete", *SALE, "--prefix", "buyer:", stdin="y\n") == "2500 deleted\n"
    assert shop.say("delete", *SALE, "--prefix", "", "--yes") == "1 deleted\n"
    assert shop.say("list", *SALE) == "no keys\n"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("list", "--plugin", "a", "--namespace", "b"), "either a plugin"),
        (("get", "key"), "either a plugin"),
        (("delete", "--plugin", "sale"), "either keys or a --prefix"),
        (("delete", "--plugin", "sale", "key", "--prefix", "p"), "either keys or a --prefix"),
    ],
)
def test_what_is_meant_must_be_clear(shop: Shop, args: tuple[str, ...], why: str) -> None:
    """A command that could mean two things does neither."""
    result = shop.run(*args)
    assert result.exit_code == 2
    assert why in result.stderr


def test_changes_are_noted(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The audit log and the data directory's file say who changed what; reading is not noted."""
    with caplog.at_level(logging.INFO, "plugin_host.audit"):
        shop.say("put", *SALE, "key", "secret value")
        shop.say("get", *SALE, "key")
        shop.say("apply", *SALE, "-", stdin='{"a": "1", "b": null}')
        shop.say("delete", *SALE, "a")
        shop.say("delete", *SALE, "--prefix", "k", "--yes")
    lines = [r.getMessage() for r in caplog.records if r.name == "plugin_host.audit"]
    assert [line.split(", flask plugins data: ", 1)[1] for line in lines] == [
        "data of plugin:sale: put key",
        "data of plugin:sale: applied <stdin>: 1 put, 1 to be deleted",
        "data of plugin:sale: deleted a",
        "data of plugin:sale: deleted 1 keys that begin with 'k'",
    ]
    assert shop.host.depot is not None
    kept = (shop.host.depot.datadir.path / "audit.log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in kept] == lines


def test_watching_shows_what_changes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put, changed and gone, with its value; as text, or a line of JSON each."""
    space = shop.namespace()
    space.put_many([(b"a", b"1"), (b"b", b"1")], deadline=FAR)

    def sell(_: float) -> None:
        space.put_many([(b"b", b"2"), (b"c", b"3"), (b"x", b"")], deadline=FAR)
        space.delete(b"a", deadline=FAR)

    monkeypatch.setattr(datawatch, "nap", sell)
    assert shop.say("watch", *SALE, "--times", "2").splitlines() == [
        "- a", "~ b = 2", "+ c = 3", "+ x = ",
    ]  # fmt: skip
    space.put_many([(b"a", b"1"), (b"b", b"\xff")], deadline=FAR)
    said = shop.say("watch", *SALE, "--times", "1", "--json").splitlines()
    assert [json.loads(line) for line in said] == [
        {"event": "gone", "key": "a", "value": None},
        {"event": "changed", "key": "b", "value": "2"},
    ]


def test_memory_cannot_be_looked_into(make_app: MakeApp, tmp_path: Path) -> None:
    """A store in each worker's memory is none that a command could see; the message says so."""
    result = Shop(make_app, "memory:").run("list")
    assert result.exit_code == 1
    assert "PLUGIN_HOST_STATE is memory" in result.stderr


def test_a_store_that_is_away_is_said(make_app: MakeApp, tmp_path: Path) -> None:
    """With the file, the cause and the remedy, and without a traceback."""
    file = tmp_path / "state.sqlite3"
    file.write_bytes(b"this is no database, and long enough not to be taken for an empty one" * 99)
    result = Shop(make_app, f"sqlite:///{file}").run("list")
    assert result.exit_code == 1
    assert str(file) in result.stderr
    assert "Traceback" not in result.stderr
