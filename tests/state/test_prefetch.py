"""Keys that a manifest has read before ``on_request``: templates, the record's field, a site."""

from __future__ import annotations

import logging
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import abi_reference
import guests
import pytest
from flask import Flask
from guests import ANSWER, HEAP, SET_BODY, MakeApp, edit, edits

from plugin_host import ManifestError, PluginHost
from plugin_host.abi.native import RequestEncoder
from plugin_host.config import Settings
from plugin_host.errors import StateUnavailable
from plugin_host.hostfunctions.services import Services
from plugin_host.hostfunctions.stage import LIVE, Stage
from plugin_host.hostfunctions.state_prefetch import check_granted, request_encoder
from plugin_host.manifest import Manifest, parse_manifest
from plugin_host.manifest.prefetch import Part
from plugin_host.state import Namespace, Quota, Store
from tests.state.world import World, soon

PATH = Path("guest.toml")
ENVIRON: dict[str, Any] = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/k\xc3\xa4se",
    "QUERY_STRING": "a=1&sku=red+mug%21&sku=2&empty=",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "192.0.2.7",
    "wsgi.url_scheme": "http",
    "HTTP_COOKIE": 'theme=dark; session="s1"; session=s2',
    "HTTP_X_USER": "ann",
    "CONTENT_TYPE": "",
}


def manifest(*templates: str, more: str = "") -> Manifest:
    text = f"state.prefetch = {list(templates)!r}\n{more}"
    return parse_manifest(PATH, stem="guest", text=text.encode())


def services(store: Store, quota: Quota | None = None) -> Services:
    made = Services.of("guest", Settings.from_mapping({}, PATH))
    return replace(made, store=store, quota=quota or Quota())


def field_of(record: bytes) -> bytes | None:
    fields: dict[bytes, bytes | None] = dict(abi_reference.decode_record(record)["fields"])
    return fields.get(b":state")


def items_of(field: bytes) -> dict[bytes, bytes | None]:
    """What was read, by key."""
    assert field[:4] == bytes(4)
    items: dict[bytes, bytes | None] = {}
    at = 4
    while at < len(field):
        key_len, value_len = struct.unpack_from("<II", field, at)
        at += 8 + key_len
        key = field[at - key_len : at]
        items[key] = None
        if value_len != 0xFFFF_FFFF:
            items[key] = field[at : at + value_len]
            at += value_len
    return items


def test_templates() -> None:
    """Text stands for itself, words in braces for parts of the request, doubled braces for one."""
    read = manifest("plain", "a{{b}}:{path}-{header:X-User}", "{args:sku}", "plain")
    assert read.prefetch == (
        (b"plain",),
        (b"a{b}:", Part("path", ""), b"-", Part("header", "x-user")),
        (Part("args", "sku"),),
    )


@pytest.mark.parametrize(
    ("template", "remedy"),
    [
        ("", "allowed: text of 1 to 512 bytes"),
        ("x" * 513, "allowed: text of 1 to 512 bytes"),
        ("{", "a brace that stands for itself is doubled: '{{'"),
        ("a}b", "a brace that stands for itself is doubled: '}}'"),
        ("{}", "allowed in braces: method, scheme, "),
        ("{pat}", "did you mean 'path'?"),
        ("{body}", "allowed in braces: method, scheme, "),
        ("{args}", "did you mean 'args:NAME'?"),
        ("{header:}", "did you mean 'header:NAME'?"),
        ("{header:a b}", "'a b' is not a header that WSGI passes"),
        ("{header:x_user}", "'x_user' is not a header that WSGI passes"),
        ("{header:Cookie}", "a cookie comes as 'cookies:NAME'"),
        ("{header:host}", "the Host header comes as 'host'"),
        ("{path:x}", "did you mean"),
    ],
)
def test_a_template_that_is_none_is_refused(template: str, remedy: str) -> None:
    """The manifest's error says which one is wrong, and what is allowed."""
    with pytest.raises(ManifestError) as error:
        manifest("fine", template)
    assert error.value.reason.startswith("state.prefetch[1] is ")
    assert remedy in error.value.remedy


def test_there_are_not_too_many() -> None:
    """A request waits for a bounded number of keys."""
    assert len(manifest(*map(str, range(64))).prefetch) == 64
    with pytest.raises(ManifestError, match="at most 64 keys"):
        manifest(*map(str, range(65)))


EXPANDED = {
    "m:{method}": b"m:GET",
    "{scheme}://{host}": b"http://localhost:8000",
    "{path}": "/käse".encode(),
    "{query}": b"a=1&sku=red+mug%21&sku=2&empty=",
    "{remote}|{protocol}": b"192.0.2.7|HTTP/1.1",
    "e:{endpoint}": b"e:shop.buy",
    "{header:x-user}": b"ann",
    "q:{query:sku}": b"q:red mug!",
    "q:{query:empty}": b"q:",
    "c:{cookies:session}": b"c:s1",
    "c:{cookies:theme}": b"c:dark",
    "stock:{args:sku}": "stock:tä".encode(),
}


@pytest.mark.parametrize(("template", "key"), EXPANDED.items())
def test_keys_are_made_of_the_request(world: World, template: str, key: bytes) -> None:
    """Each part of a request is its bytes, decoded where the request encodes it."""
    store = Store(world.backend(), "test:")
    space = store.namespace("plugin:guest")
    space.put(key, b"\0\xff", deadline=soon())
    encode = request_encoder(manifest(template), services(store), LIVE, 60.0)
    field = field_of(encode(dict(ENVIRON), "shop.buy", {"sku": "tä"}))
    assert field is not None
    assert items_of(field) == {key: b"\0\xff"}


@pytest.mark.parametrize(
    "template",
    ["{endpoint}", "x{header:x-other}", "{query:other}", "{cookies:other}", "{args:other}",
     "{header:content-type}", "{query:empty}", "x" * 500 + "{query}"],
)  # fmt: skip
def test_a_key_that_lacks_a_part_is_left_out(template: str) -> None:
    """So is one that is empty or too long; without any there is no field."""
    made = services(Store(World("memory", Path(), None).backend(), "test:"))
    encode = request_encoder(manifest(template), made, LIVE, 60.0)
    assert field_of(encode(dict(ENVIRON), None, {})) is None
    encode = request_encoder(manifest(template, "there"), made, LIVE, 60.0)
    field = field_of(encode(dict(ENVIRON)))
    assert field is not None
    assert items_of(field) == {b"there": None}


@pytest.mark.parametrize("needs", ["", "needs.on_request = ['path', 'header:x-user']"])
def test_the_rest_of_the_record_is_as_it_was(needs: str) -> None:
    """Nothing else of the record changes, nor of the environ."""
    made = services(Store(World("memory", Path(), None).backend(), "test:"))
    environ = dict(ENVIRON)
    plain = manifest(more=needs)
    fields = plain.request_needs
    expected = RequestEncoder(fields.fields, fields.headers).encode(environ, "e", {"a": 1}, b"b", 1)
    assert request_encoder(plain, made, LIVE, 1.0)(environ, "e", {"a": 1}, b"b", 1) == expected
    encode = request_encoder(manifest("k", more=needs), made, LIVE, 60.0)
    for _ in range(2):
        got = abi_reference.decode_record(encode(environ, "e", {"a": 1}, b"b", 1))
        got["fields"] = [pair for pair in got["fields"] if pair[0] != b":state"]
        assert got == abi_reference.decode_record(expected)
    assert environ == ENVIRON


class Away:
    """A backend that does not answer."""

    def __init__(self) -> None:
        self.asked = 0

    def read(self, space: object, keys: object, deadline: float) -> Any:
        self.asked += 1
        raise StateUnavailable("test:", "it is away", "start it")


def test_a_store_that_is_away_is_an_error_in_the_field(caplog: pytest.LogCaptureFixture) -> None:
    """The guest is told, so is the operator, and the next requests do not wait for it again."""
    backend: Any = Away()
    made = services(Store(backend, "test:"))
    encode = request_encoder(manifest("k"), made, LIVE, 60.0)
    fields = [field_of(encode(dict(ENVIRON))) for _ in range(3)]
    with caplog.at_level(logging.WARNING):
        made.log.flush()
    assert fields == [struct.pack("<i", -2)] * 3
    assert (backend.asked, made.state_failures.counts()) == (1, {"unavailable": 1})
    assert "reading beforehand in plugin:guest: unavailable: " in caplog.text


def test_a_rehearsal_reads_its_own() -> None:
    """What is read for a self-test is not the app's."""
    made = services(Store(World("memory", Path(), None).backend(), "test:"))
    made.store.namespace("plugin:guest").put(b"k", b"real", deadline=soon())
    stage = Stage()
    stage.store.namespace("plugin:guest").put(b"k", b"tried", deadline=soon())
    read = [
        items_of(field_of(request_encoder(manifest("k"), made, each, 60.0)(dict(ENVIRON))) or b"")
        for each in (LIVE, stage)
    ]
    assert read == [{b"k": b"real"}, {b"k": b"tried"}]


@pytest.mark.parametrize(
    ("more", "granted", "reason"),
    [
        ("capabilities = []", {"state", "cookies"}, "does not ask for the capability 'state'"),
        ("", {"log", "cookies"}, "does not grant the capability 'state'"),
        ("", {"state"}, "does not grant the capability 'cookies'"),
    ],
)
def test_it_needs_to_be_granted(more: str, granted: set[str], reason: str) -> None:
    """Nothing is read for a plugin that could not read it itself, and no cookie is shown by it."""
    with pytest.raises(ManifestError, match=reason):
        check_granted(PATH, manifest("{cookies:a}", more=more), frozenset(granted))
    check_granted(PATH, manifest(more=more), frozenset())
    check_granted(PATH, manifest("{cookies:a}"), frozenset({"state", "cookies"}))


# A site

BEFORE = edits(edit(ANSWER, b"", 200), edit(SET_BODY, b"", b""))
#: Answers with the record that it was given.
SHOW = f"""(i32.store (i32.const {HEAP - 4}) (local.get $len))
  (i64.or (i64.const {guests.packed(HEAP - len(BEFORE), 0)})
    (i64.extend_i32_u (i32.add (i32.const {len(BEFORE)}) (local.get $len))))"""


def site(folder: Path, make_app: MakeApp, grants: list[str]) -> tuple[Flask, PluginHost]:
    (folder / "guest.wat").write_text(
        guests.module({"on_request": SHOW}, data=[(HEAP - len(BEFORE), BEFORE)])
    )
    (folder / "guest.toml").write_text("state.prefetch = ['seen:{query:who}']")
    return make_app(STATE="memory:", GRANTS=grants)


def test_a_site_reads_beforehand(folder: Path, make_app: MakeApp) -> None:
    """A request's record has what the store has, each time as it is then."""
    app, _ = site(folder, make_app, ["state"])
    space = app.extensions["plugin_host"].services.store.namespace("plugin:guest")
    client, shown = app.test_client(), []
    for value in (None, b"once"):
        if value is not None:
            space.put(b"seen:ann", value, deadline=soon())
        shown.append(items_of(field_of(client.get("/?who=ann").data) or b""))
    assert shown == [{b"seen:ann": None}, {b"seen:ann": b"once"}]
    assert field_of(client.get("/").data) is None


def test_nothing_is_read_for_a_call_that_is_refused(
    folder: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a plugin's breaker is open its keys are left alone; the call that is tried has them."""
    reads: list[object] = []
    get_many = Namespace.get_many

    def reading(space: Namespace, keys: Any, **deadline: Any) -> Any:
        reads.append(keys)
        return get_many(space, keys, **deadline)

    monkeypatch.setattr(Namespace, "get_many", reading)
    (folder / "guest.wat").write_text(guests.module({"on_request": guests.TRAP}))
    (folder / "guest.toml").write_text("state.prefetch = ['seen:{query:who}']")
    app, plugins = make_app(STATE="memory:", GRANTS=["state"], BREAKER_FAILURES=2)
    client = app.test_client()

    def breaker() -> dict[str, Any]:
        with app.app_context():
            found: dict[str, Any] = plugins.status()["plugins"][0]["breaker"]
        return found

    statuses = [client.get("/?who=ann").status_code for _ in range(5)]
    assert (statuses, len(reads)) == ([503] * 5, 2)
    assert (breaker()["state"], breaker()["refused"]) == ("open", 3)
    app.extensions["plugin_host"].snapshot.plugins[0].breaker._until = 0.0
    assert client.get("/?who=ann").status_code == 503
    assert (len(reads), breaker()["opened"], breaker()["refused"]) == (3, 2, 3)


def test_a_plugin_that_is_not_granted_state_does_not_load(folder: Path, make_app: MakeApp) -> None:
    """The reason is in the status."""
    app, plugins = site(folder, make_app, ["log"])
    with app.app_context():
        (status,) = plugins.status()["plugins"]
    assert status["state"] == "failed"
    assert "does not grant the capability 'state'" in status["load_error"]
