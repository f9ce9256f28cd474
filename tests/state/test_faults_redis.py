"""Redis servers that are away, die, hang, refuse or forget; connections that must not switch."""

from __future__ import annotations

import logging
import shutil
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from plugin_host.config import StateUrl
from plugin_host.config.stateurl import parse_state
from plugin_host.errors import ConfigError, StateError, StateUnavailable
from plugin_host.state import Namespace, Store, Sum, open_store
from tests.state.world import RedisServer, soon, until

ROOT: Final = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of one test's own, not started, that keeps what it acknowledged."""
    made = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    yield made
    made.kill()


@pytest.fixture
def stores() -> Iterator[list[Store]]:
    """Stores that are closed at the end."""
    made: list[Store] = []
    yield made
    for store in made:
        store.close()


@pytest.fixture
def connect(stores: list[Store]) -> Callable[[StateUrl], Namespace]:
    """Open a namespace at a URL."""

    def connect(url: StateUrl) -> Namespace:
        stores.append(open_store(url))
        return stores[-1].namespace("shop")

    return connect


Connect = Callable[[StateUrl], Namespace]


def works(space: Namespace) -> bool:
    """Whether the store does something."""
    try:
        space.put(b"probe", b"", deadline=soon())
    except StateUnavailable:
        return False
    return True


def refused(call: Callable[[], object]) -> StateUnavailable:
    """The error of an operation that is refused."""
    with pytest.raises(StateUnavailable) as caught:
        call()
    assert caught.value.cause
    assert caught.value.remedy
    return caught.value


def test_a_server_that_is_away_at_start(server: RedisServer, connect: Connect) -> None:
    """The store opens, operations say that the server is away, and work when it is there."""
    space = connect(server.url())
    error = refused(lambda: space.get(b"k", deadline=soon()))
    assert "connection failed" in error.cause
    server.start()
    until(lambda: works(space), "the server that was started")


def test_nothing_acknowledged_is_lost_when_the_server_dies(
    server: RedisServer, connect: Connect
) -> None:
    """Killed in the midst of writes and started again, it has all that it acknowledged."""
    server.start()
    space = connect(server.url())
    acknowledged = 0
    for turn in range(3):
        for number in range(50):
            assert space.add(b"n", 1, deadline=soon()) == Sum(True, acknowledged + 1)
            acknowledged += 1
            if number == 25 + turn:
                server.kill()
                refused(lambda: space.add(b"n", 1, deadline=soon(5)))
                server.start()
                until(lambda: works(space), "the server that came back")
    assert space.get(b"n", deadline=soon()) == b"%d" % acknowledged


def test_a_server_that_hangs(server: RedisServer, connect: Connect) -> None:
    """Operations end by their deadline, and the server's late answers are nobody's."""
    server.start()
    space = connect(server.url())
    space.put(b"k", b"v", deadline=soon())
    server.freeze(True)
    error = refused(lambda: space.get(b"k", deadline=soon(0.05)))
    assert "no answer came" in error.cause
    refused(lambda: space.put(b"other", b"w", deadline=soon(0.05)))
    server.freeze(False)
    until(lambda: works(space), "the server that goes on")
    assert space.get(b"k", deadline=soon()) == b"v"


def test_a_server_that_never_says_hello(connect: Connect) -> None:
    """A connection that does not come to be is not waited for beyond the deadline."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = parse_state(f"redis://:secret@127.0.0.1:{silent.getsockname()[1]}/1")
        assert url is not None
        space = connect(url)
        error = refused(lambda: space.get(b"k", deadline=soon(0.05)))
        assert "no connection before the deadline" in error.cause


def test_scripts_that_the_server_forgot(server: RedisServer, connect: Connect) -> None:
    """A server that lost its scripts gets them again."""
    server.start()
    space = connect(server.url())
    space.put(b"k", b"v", deadline=soon())
    subprocess.run(
        ["redis-cli", "-s", str(server.socket), "SCRIPT", "FLUSH"], check=True, capture_output=True
    )
    assert space.get(b"k", deadline=soon()) == b"v"


@pytest.mark.parametrize("given", ["", ":wrong-horse@", "nobody:wrong-horse@"])
def test_a_wrong_password(
    given: str, tmp_path: Path, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """The server's refusal is told with a remedy; no message, log or repr has the password."""
    caplog.set_level(logging.DEBUG)
    server = RedisServer(tmp_path, "--requirepass", "right-horse")
    server.start()
    try:
        url = parse_state(f"redis://{given}127.0.0.1:{server.port}/0")
        assert url is not None
        store = open_store(url)
        with pytest.raises(StateUnavailable) as caught:
            store.namespace("shop").get(b"k", deadline=soon())
        store.close()
        right = parse_state(f"redis://:right-horse@127.0.0.1:{server.port}/0")
        assert right is not None
        connect(right).put(b"k", b"v", deadline=soon())
    finally:
        server.kill()
    assert "PLUGIN_HOST_STATE" in caught.value.remedy
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(store)
    assert "horse" not in told + repr(url) + str(url) + caplog.text


def test_a_server_without_memory(tmp_path: Path, connect: Connect) -> None:
    """Writes are refused, and what is there is read."""
    server = RedisServer(tmp_path, "--maxmemory", "3mb")
    server.start()
    try:
        space = connect(server.url())
        space.put(b"k", b"v", deadline=soon())
        error = None
        for number in range(100):
            try:
                space.put(b"%d" % number, b"x" * 100_000, deadline=soon())
            except StateError as refusal:
                error = refusal
                break
        assert isinstance(error, StateUnavailable)
        assert "maxmemory" in error.remedy
        assert space.get(b"k", deadline=soon()) == b"v"
    finally:
        server.kill()


def test_a_replica_refuses(server: RedisServer, tmp_path: Path, connect: Connect) -> None:
    """A server that may not be written to says that the primary is wanted."""
    server.start()
    folder = tmp_path / "replica"
    folder.mkdir()
    replica = RedisServer(folder, "--replicaof", f"127.0.0.1 {server.port}")
    replica.start()
    try:
        space = connect(replica.url())
        until(lambda: "primary" in str(refusal(space)), "a replica that has caught up")
    finally:
        replica.kill()


def refusal(space: Namespace) -> StateUnavailable:
    """Why a write is refused."""
    return refused(lambda: space.put(b"k", b"v", deadline=soon()))


def test_keys_expire_by_the_servers_clock(server: RedisServer, connect: Connect) -> None:
    """Without a clock of ours, time passes on the server."""
    server.start()
    space = connect(server.url())
    space.put(b"k", b"v", deadline=soon(), ttl=0.05)
    space.put(b"stays", b"v", deadline=soon(), ttl=600)
    until(lambda: space.get(b"k", deadline=soon()) is None, "the end of a key")
    assert 500 < (space.list(deadline=soon()).entries[0].ttl or 0) <= 600


def test_by_a_socket_of_the_machine(server: RedisServer, connect: Connect) -> None:
    """``unix://`` with a database leads to the same server, and to that database."""
    server.start()
    url = parse_state(f"unix://{server.socket}?db=3")
    assert url is not None
    space = connect(url)
    space.put(b"k", b"v", deadline=soon())
    assert connect(url).get(b"k", deadline=soon()) == b"v"
    assert connect(server.url()).get(b"k", deadline=soon()) is None


def test_apps_may_share_a_server(server: RedisServer, connect: Connect) -> None:
    """With prefixes of their own, also odd ones, they do not see each other."""
    server.start()
    spaces = [connect(server.url(f"?prefix={name}")) for name in ("one", "o*", "[o]")]
    for number, space in enumerate(spaces):
        space.put(b"k", b"%d" % number, deadline=soon())
    assert [space.get(b"k", deadline=soon()) for space in spaces] == [b"0", b"1", b"2"]
    store = open_store(server.url("?prefix=o*"))
    assert store.namespaces(deadline=soon()) == ["shop"]
    store.close()


def test_all_keys_of_a_namespace_have_one_hash_tag(server: RedisServer, connect: Connect) -> None:
    """A cluster keeps them on one node, and nothing is left without its namespace."""
    server.start()
    space = connect(server.url())
    space.put(b"{other}", b"v", deadline=soon(), ttl=60)
    listed = subprocess.run(
        ["redis-cli", "-s", str(server.socket), "KEYS", "*"], check=True, capture_output=True
    ).stdout.splitlines()
    tag = b"{plugin_host:shop}:"
    assert sorted(listed) == [tag + part for part in (b"expiry", b"order", b"size", b"values")]


def test_without_the_client(monkeypatch: pytest.MonkeyPatch, server: RedisServer) -> None:
    """A missing package is an error at start that names the remedy."""
    for name in [name for name in sys.modules if name.startswith("plugin_host.state.redis")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"flask-plugin-host\[redis\]"):
        open_store(server.url())


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key beside it."""
    if not shutil.which("openssl"):
        pytest.skip("not installed: openssl")
    path = tmp_path / "server.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-keyout", str(tmp_path / "server.key"), "-out", str(path), "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return path


@pytest.fixture
def tls_server(tmp_path: Path, certificate: Path) -> Iterator[RedisServer]:
    """A server that also speaks TLS, on the port after its own."""
    server = RedisServer(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server.tls_port = probe.getsockname()[1]
    server.options = (
        "--tls-port", str(server.tls_port), "--tls-cert-file", str(certificate),
        "--tls-key-file", str(certificate.with_suffix(".key")), "--tls-auth-clients", "no",
    )  # fmt: skip
    server.start()
    yield server
    server.kill()


def test_tls(tls_server: RedisServer, certificate: Path, connect: Connect) -> None:
    """A trusted certificate is needed, unless the URL says otherwise; large values pass, too."""
    base = f"rediss://127.0.0.1:{tls_server.tls_port}/0"
    urls = [parse_state(base + more) for more in ("", f"?ca_certs={certificate}", "?verify=no")]
    distrusting, trusting, careless = (connect(url) for url in urls if url is not None)
    error = refused(lambda: distrusting.get(b"k", deadline=soon()))
    assert "certificate" in error.cause.lower()
    value = bytes(range(256)) * 1000
    trusting.put(b"k", value, deadline=soon())
    assert trusting.get(b"k", deadline=soon()) == value
    assert careless.get_many([b"k", b"k"], deadline=soon()) == [value, value]


@pytest.mark.gevent
@pytest.mark.parametrize("scheme", ["redis", "rediss", "unix"])
def test_under_gevent_no_greenlet_is_switched(
    scheme: str, tls_server: RedisServer, certificate: Path
) -> None:
    """While an operation waits for the server, no other greenlet of the thread runs."""
    url = {
        "redis": f"redis://127.0.0.1:{tls_server.port}/0",
        "rediss": f"rediss://127.0.0.1:{tls_server.tls_port}/0?ca_certs={certificate}",
        "unix": f"unix://{tls_server.socket}",
    }[scheme]
    done = subprocess.run(
        [sys.executable, "-m", "tests.state.greenlets", url, str(tls_server.pid)],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (0, ["0", "True", "waited", "1000"]), done
