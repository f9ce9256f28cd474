"""Outbound HTTP: only what is allowed, to addresses that were checked, within the deadline."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import abi_reference
import guests
import pytest
from guests import ADD_HEADER, SET_BODY, SET_HEADER, SET_METHOD, SET_PATH, MakeApp, edit, edits

from plugin_host import ConfigError
from plugin_host.config import Settings
from plugin_host.config.outbound import Outbound
from plugin_host.errors import GuestTrap
from plugin_host.hostfunctions import http, http_client
from plugin_host.hostfunctions.http_client import DENIED, TIMED_OUT, TOO_LARGE, UNREACHABLE, Request
from plugin_host.hostfunctions.services import Services
from plugin_host.wasm.engine import wat_to_wasm
from plugin_host.wasm.instance import Instance, Limits
from plugin_host.wasm.runtime import choose_engine, link

PATH = Path("guest.wat")
AT, THERE = 1024, 131_072
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: 1\r\nX-A: 2\r\n\r\nhi"


def outbound(*rules: str, private: tuple[str, ...] = ("127.0.0.1",)) -> Outbound:
    config = {"PLUGIN_HOST_HTTP": list(rules), "PLUGIN_HOST_HTTP_PRIVATE": private}
    return Settings.from_mapping(config, PATH).outbound("guest")


# What is allowed


@pytest.mark.parametrize(
    ("rule", "asked", "allowed"),
    [
        ("https://a.example", ("GET", "https", "a.example", 443), True),
        ("https://a.example/", ("HEAD", "https", "a.example", 443), True),
        ("https://a.example", ("POST", "https", "a.example", 443), False),
        ("https://a.example", ("GET", "http", "a.example", 443), False),
        ("https://a.example", ("GET", "https", "a.example", 8443), False),
        ("https://a.example", ("GET", "https", "b.a.example", 443), False),
        ("https://a.example", ("GET", "https", "a.example.evil.test", 443), False),
        ("https://*.example", ("GET", "https", "b.a.example", 443), True),
        ("https://*.example", ("GET", "https", "example", 443), False),
        ("https://*.example", ("GET", "https", "badexample", 443), False),
        ("https://*", ("GET", "https", "anything.test", 443), True),
        ("GET,POST http://a.example:8080", ("POST", "http", "a.example", 8080), True),
        ("GET,POST http://a.example:8080", ("PUT", "http", "a.example", 8080), False),
        ("* http://a.example", ("DELETE", "http", "a.example", 80), True),
        ("* http://a.example", ("CONNECT", "http", "a.example", 80), False),
        ("* http://a.example", ("TRACE", "http", "a.example", 80), False),
        ("http://[::1]:80", ("GET", "http", "::1", 80), True),
    ],
)
def test_a_rule_allows(rule: str, asked: tuple[str, str, str, int], allowed: bool) -> None:
    """Scheme, host and port must be the rule's; methods its own, or GET and HEAD."""
    assert outbound(rule).allows(*asked) is allowed


def test_nothing_is_allowed_by_default() -> None:
    """Without rules there is no outbound HTTP."""
    assert not outbound().allows("GET", "https", "a.example", 443)


def test_rules_are_by_plugin() -> None:
    """Patterns give plugins their rules, as with grants."""
    config = {"PLUGIN_HOST_HTTP": {"Stock-*": "https://a.example", "*": ["https://b.example"]}}
    settings = Settings.from_mapping(config, PATH)
    allowed = {
        name: [
            host
            for host in ("a.example", "b.example")
            if settings.outbound(name).allows("GET", "https", host, 443)
        ]
        for name in ("stock-1", "other")
    }
    assert allowed == {"stock-1": ["a.example", "b.example"], "other": ["b.example"]}


@pytest.mark.parametrize(
    "rule",
    ["a.example", "ftp://a.example", "https://a.example/path", "https://A.example", "https://u@a.b",
     "https://a.example:99999", "get https://a.example", "https://a*.example", "https://", 7,
     "GET  https://a.example", "https://a.example?", "https://*.*.example"],
)  # fmt: skip
def test_a_rule_that_is_none_is_refused(rule: Any) -> None:
    """What is not methods, scheme, host and port is an error, rather than half understood."""
    with pytest.raises(ConfigError, match="PLUGIN_HOST_HTTP is"):
        outbound(rule)


def test_a_network_that_is_none_is_refused() -> None:
    """Private networks are addresses or networks."""
    with pytest.raises(ConfigError, match=r"PLUGIN_HOST_HTTP_PRIVATE is .*10\.1\.2\.3/8"):
        outbound(private=("10.1.2.3/8",))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1",
     "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "::7f00:1",
     "2001:0:7f00:1::", "2001:db8::1", "192.0.2.1", "64:ff9b:1::7f00:1", "::ffff:0:7f00:1",
     "fec0::1", "3fff::1", "5f00::1", "192.88.99.1", "200::1", "4000::1", "fe00::1", "192.0.0.8",
     "192.0.0.9", "64:ff9b::c000:9", "2001:1::1"],
)  # fmt: skip
def test_private_addresses_are_out_of_reach(address: str) -> None:
    """However an address is written, what is not public is not connected to."""
    assert not outbound(private=()).reaches(address)


@pytest.mark.parametrize("address", ["9.9.9.9", "2620:fe::9", "64:ff9b::909:909"])
def test_public_addresses_are_in_reach(address: str) -> None:
    """Public addresses need no listing."""
    assert outbound(private=()).reaches(address)


@pytest.mark.parametrize(
    ("network", "address", "reached"),
    [
        ("10.1.0.0/16", "10.1.2.3", True),
        ("10.1.0.0/16", "10.2.0.1", False),
        ("10.1.0.0/16", "::ffff:10.1.2.3", True),
        ("::1", "::1", True),
        ("127.0.0.1", "::1", False),
    ],
)
def test_listed_private_addresses_are_in_reach(network: str, address: str, reached: bool) -> None:
    """What the app lists is connected to, and nothing beside it."""
    assert outbound(private=(network,)).reaches(address) is reached


# Requests


def test_a_request_is_an_edit_list() -> None:
    """URL, method, headers and body are what the edits say; the rest has defaults."""
    data = edits(
        edit(SET_PATH, b"", b"https://a.example:8443?q=%20"),
        edit(SET_METHOD, b"", b"POST"),
        edit(SET_HEADER, b"X-A", b"0"),
        edit(SET_HEADER, b"x-a", b"1"),
        edit(ADD_HEADER, b"x-a", b"\xe9"),
        edit(SET_BODY, b"", b"body"),
    )
    headers = [("x-a", "1"), ("x-a", "\xe9")]
    expected = ("POST", "https", "a.example", 8443, "/?q=%20", headers, b"body")
    assert http.parse(data) == expected
    plain = http.parse(edits(edit(SET_PATH, b"", b"http://[::1]/a")))
    assert plain == ("GET", "http", "::1", 80, "/a", [], b"")


def to(url: bytes, *more: bytes) -> bytes:
    return edits(edit(SET_PATH, b"", url), *more)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1\1\0\0",
        edits(),
        to(b"a.example"),
        to(b"file:///etc/passwd"),
        to(b"http://A.example/"),
        to(b"http://user@a.example/"),
        to(b"http://a.example#x"),
        to(b"http://a.example\\@b.example/"),
        to(b"http://a.example:99999/"),
        to(b"http://a.example/ HTTP/1.1\r\nX: y"),
        to(b"http://a.example/\r\n"),
        to(b"http://a.example/\xe9"),
        to(b"http:///a"),
        to(b"http://a.example", edit(SET_METHOD, b"", b"GET / HTTP/1.1\r\nX:")),
        to(b"http://a.example", edit(SET_METHOD, b"", b"")),
        to(b"http://a.example", edit(SET_HEADER, b"x\r\ny", b"")),
        to(b"http://a.example", edit(SET_HEADER, b"x", b"a\r\nb: c")),
        to(b"http://a.example", edit(SET_HEADER, b"Host", b"b.example")),
        to(b"http://a.example", edit(SET_HEADER, b"Content-Length", b"9")),
        to(b"http://a.example", edit(SET_HEADER, b"Transfer-Encoding", b"chunked")),
        to(b"http://a.example", edit(3, b"x")),
        to(b"http://a.example", edit(10, b"", 200)),
        to(b"http://a.example", edit(SET_BODY, b"name", b"")),
        to(b"http://a.example")[:-1],
        to(b"http://a.example") + b"\1",
        to(b"http://a.example", *[edit(SET_HEADER, b"x", b"")] * 1000),
    ],
)
def test_a_malformed_request_is_the_guests_fault(data: bytes) -> None:
    """A request that breaks a rule is not sent at all."""
    with pytest.raises(GuestTrap, match="malformed HTTP request at byte"):
        http.parse(data)


# Exchanges

Behave = Callable[[socket.socket, threading.Event], None]


class Server:
    """A server on loopback that does as it is told with each connection.

    Before that it reads a request, unless it is `raw`.
    """

    def __init__(self, behave: Behave, raw: bool = False) -> None:
        self.behave = behave
        self.raw = raw
        self.heads: list[bytes] = []
        self.over = threading.Event()
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while True:
            connection, _ = self.sock.accept()
            with connection:
                if self.over.is_set():
                    return
                connection.settimeout(10)
                try:
                    if not self.raw:
                        self.heads.append(connection.recv(65_536))
                    self.behave(connection, self.over)
                except OSError:
                    pass  # the client has gone

    def close(self) -> None:
        self.over.set()
        socket.create_connection(("127.0.0.1", self.port)).close()
        self.thread.join()
        self.sock.close()


@pytest.fixture
def serve() -> Iterator[Callable[[bytes | Behave], Server]]:
    """Start a server that answers with some bytes, or behaves in some way."""
    servers: list[Server] = []

    def started(answer: bytes | Behave) -> Server:
        behave = (lambda sock, _: sock.sendall(answer)) if isinstance(answer, bytes) else answer
        servers.append(Server(behave))
        return servers[-1]

    yield started
    for server in servers:
        server.close()


Serve = Callable[[bytes | Behave], Server]


class Came:
    """What came of a request: a result, the record that was received, and what was logged."""

    def __init__(self, result: int, instance: Instance, log: list[str]) -> None:
        self.result = result - (1 << 32) if result >> 31 else result
        self.log = log
        self.record = instance.read(THERE, max(0, self.result))


Ask = Callable[..., Came]
IMPORTS = """(import "plugin_host" "http_send" (func $send (param i32 i32) (result i32)))
  (import "plugin_host" "http_receive" (func $receive (param i32 i32 i32)))"""


def guest(size: int) -> str:
    """A guest that sends the request of a size that it finds in its memory."""
    return f"""(module {IMPORTS} (memory (export "memory") 256)
      (func (export "ask") (result i32) (local $n i32)
        (local.set $n (call $send (i32.const {AT}) (i32.const {size})))
        (if (i32.gt_s (local.get $n) (i32.const 0))
          (then (call $receive (i32.const {THERE}) (i32.const 0) (local.get $n))))
        (local.get $n))
      (func (export "again") (call $receive (i32.const {THERE}) (i32.const 0) (i32.const 1)))
      (func (export "beyond")
        (call $receive (i32.const 0)
          (i32.const 1) (call $send (i32.const {AT}) (i32.const {size})))))"""


@pytest.fixture
def instance(fast_call: bool) -> Callable[..., tuple[Instance, list[str]]]:
    """Make an instance that sends one request, with what it logs."""

    def made(
        request: bytes, allowed: Outbound, max_body: int, plugin: str = "guest"
    ) -> tuple[Instance, list[str]]:
        log: list[str] = []
        speak: Any = lambda _, level, line: log.append(line)  # noqa: E731
        (group,) = http.groups(Services(plugin, speak, allowed, max_body))
        chosen = choose_engine(fast_call)
        module = chosen.compile(wat_to_wasm(guest(len(request)).encode(), PATH), PATH)
        linked = link(chosen, module, group.functions, PATH)
        live = linked.instance(Limits(), monotonic(), 5.0)
        live.write(AT, request)
        return live, log

    return made


@pytest.fixture
def ask(instance: Callable[..., tuple[Instance, list[str]]]) -> Ask:
    """Send a request from a guest."""

    def asked(
        request: bytes,
        allowed: Outbound,
        timeout: float = 30.0,
        max_body: int = 65_536,
        plugin: str = "guest",
    ) -> Came:
        live, log = instance(request, allowed, max_body, plugin)
        result = live.function("ask")(0, monotonic(), timeout)
        return Came(result & 0xFFFF_FFFF, live, log)

    return asked


def local(server: Server, path: str = "/", method: str = "GET", *more: bytes) -> tuple[Any, ...]:
    """A request to a server, and rules that allow it."""
    url = f"http://127.0.0.1:{server.port}"
    request = to((url + path).encode(), edit(SET_METHOD, b"", method.encode()), *more)
    return request, outbound(f"* {url}")


def test_a_response_is_a_record(ask: Ask, serve: Serve) -> None:
    """Status, headers in their order and with their repetitions, and the body arrive."""
    came = ask(*local(serve(OK)))
    fields = [(b"content-length", b"2"), (b"x-a", b"1"), (b"x-a", b"2")]
    expected = abi_reference.encode_record(abi_reference.RESPONSE, fields, 1, 200, b"hi")
    assert (came.record, came.log) == (expected, [])


def test_a_request_arrives_as_it_was_asked_for(ask: Ask, serve: Serve) -> None:
    """The server sees method, target, headers and body; Host and framing are the host's."""
    server = serve(OK)
    more = edit(SET_HEADER, b"X-A", b"caf\xe9"), edit(SET_BODY, b"", b"body")
    ask(*local(server, "/a%20b?c", "PATCH", *more))
    assert server.heads == [
        f"PATCH /a%20b?c HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n"
        "Content-Length: 4\r\nX-A: caf\xe9\r\n\r\nbody".encode("latin-1")
    ]


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 200, b"hi"),
        (b"HTTP/1.0 404 No\r\n\r\nto the end", 404, b"to the end"),
        (b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 204 No\r\n\r\n", 204, b""),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            302,
            b"",
        ),
    ],
    ids=["chunked", "to the end", "informational", "redirect"],
)
def test_all_ways_of_ending_a_body_are_understood(
    ask: Ask, serve: Serve, answer: bytes, status: int, body: bytes
) -> None:
    """A response ends where HTTP says, and a redirect is one like any other."""
    server = serve(answer)
    record = abi_reference.decode_record(ask(*local(server)).record)
    assert (record["status"], record["body"], len(server.heads)) == (status, body, 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nx y: z\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 70_000,
    ],
)
def test_what_is_not_http_is_an_error(ask: Ask, serve: Serve, answer: bytes) -> None:
    """A broken answer is an error, and never half a response."""
    came = ask(*local(serve(answer)))
    assert (came.result, came.record, len(came.log)) == (UNREACHABLE, b"", 1)


def flood(sock: socket.socket, over: threading.Event) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not over.is_set():
        sock.sendall(b"1000\r\n" + b"a" * 4096 + b"\r\n")


@pytest.mark.parametrize(
    "behave",
    [flood, b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b"a" * 99_999],
    ids=["endless", "long"],
)
def test_a_body_that_is_too_large_is_given_up(ask: Ask, serve: Serve, behave: Any) -> None:
    """No more is read than the app allows."""
    came = ask(*local(serve(behave)))
    assert came.result == TOO_LARGE
    assert came.log[0].endswith("failed: its response has more than 65536 bytes")


def silence(_sock: socket.socket, over: threading.Event) -> None:
    over.wait(30)


def drip(sock: socket.socket, over: threading.Event) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not over.wait(0.01):
        sock.sendall(b"a")


@pytest.mark.parametrize("behave", [silence, drip])
def test_a_slow_server_is_given_up_before_the_deadline(
    ask: Ask, serve: Serve, behave: Behave
) -> None:
    """However a server delays, the guest learns of it while there is time to answer."""
    came = ask(*local(serve(behave)), timeout=1.0)
    assert came.result == TIMED_OUT
    assert came.log[0].endswith(" ms")


class Late:
    """A connection on which a whole response comes at once, when the time is over."""

    deadline = 0.0

    def sendall(self, data: bytes) -> None:
        pass

    def recv(self, size: int) -> bytes:
        chunks = b"1\r\na\r\n" * 100 + b"0\r\n\r\n"
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks


def test_what_has_come_at_once_is_not_read_beyond_the_deadline() -> None:
    """A response of thousands of chunks costs no more time than there is."""
    late: Any = Late()
    with pytest.raises(TimeoutError):
        http_client._exchange(late, Request("GET", "http", "a.example", 80, "/", [], b""), 1000)


@pytest.mark.parametrize(
    "more", [b"a:\r\n" * 8000, b"a: b\r\n" + b" c\r\n" * 8000], ids=["fields", "lines"]
)
def test_a_large_head_is_an_error(ask: Ask, serve: Serve, more: bytes) -> None:
    """Nothing ends the reading of a head, so it has at most 16 KiB."""
    assert ask(*local(serve(b"HTTP/1.1 200 OK\r\n" + more + b"\r\n"))).result == UNREACHABLE


def test_a_server_that_does_not_read_is_given_up(ask: Ask, serve: Serve) -> None:
    """Sending ends with the deadline, too."""
    body = edit(SET_BODY, b"", bytes(4 << 20))
    came = ask(*local(serve(silence), "/", "POST", body), timeout=1.0, max_body=8 << 20)
    assert came.result == TIMED_OUT


def test_a_request_that_no_rule_allows_is_not_sent(ask: Ask, serve: Serve) -> None:
    """The guest is told, and so is the operator."""
    server = serve(OK)
    request, _ = local(server, "/", "DELETE")
    came = ask(request, outbound(f"GET http://127.0.0.1:{server.port}"))
    what = f"DELETE http://127.0.0.1:{server.port}"
    assert (came.result, server.heads) == (DENIED, [])
    assert came.log == [f"{what} is not allowed by PLUGIN_HOST_HTTP"]


def test_a_name_for_a_private_address_is_not_connected_to(
    ask: Ask, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rule for a name does not open what the name stands for."""
    server = serve(OK)
    monkeypatch.setattr(socket, "getaddrinfo", resolving("127.0.0.1"))
    rule = f"http://stock.example:{server.port}"
    came = ask(to(rule.encode()), outbound(rule, private=()))
    assert (came.result, server.heads) == (DENIED, [])
    assert "its address 127.0.0.1 is private; see PLUGIN_HOST_HTTP_PRIVATE" in came.log[0]


def resolving(*addresses: str, asked: list[str] | None = None) -> Callable[..., Any]:
    """A resolver that gives some addresses for every name."""

    def resolve(host: str, port: int, *_: object, **__: object) -> list[Any]:
        if asked is not None:
            asked.append(host)
        kinds = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        stream = socket.SOCK_STREAM, 0, ""
        return [(kind, *stream, (a, port)) for kind, a in zip(kinds, addresses, strict=True)]

    return resolve


def test_a_name_is_looked_up_once(ask: Ask, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the addresses of a name, those that are allowed are tried, without asking again."""
    server, asked = serve(OK), []
    addresses = "10.0.0.1", "127.0.0.2", "127.0.0.1"
    monkeypatch.setattr(socket, "getaddrinfo", resolving(*addresses, asked=asked))
    rule = f"http://stock.example:{server.port}"
    came = ask(to(rule.encode()), outbound(rule, private=("127.0.0.0/8",)))
    assert (came.result > 0, asked) == (True, ["stock.example"])
    assert f"Host: stock.example:{server.port}".encode() in server.heads[0]


def test_an_unknown_name_is_an_error(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address cannot be reached."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(8, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    came = ask(to(b"http://nowhere.example"), outbound("http://*"))
    assert (came.result, came.log) == (
        UNREACHABLE,
        ["GET http://nowhere.example:80 failed: its name is unknown"],
    )


def test_look_ups_that_hang_are_given_up_and_bounded(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that hangs costs a request its time, and a plugin a bounded number of threads."""
    over, number = threading.Event(), []

    def hanging(*_: object, **__: object) -> list[Any]:
        number.append(1)
        over.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    monkeypatch.setattr(http_client, "MAX_LOOKUPS", 2)
    request, allowed = to(b"http://slow.example"), outbound("http://*")
    try:
        came = [ask(request, allowed, timeout=0.3).result for _ in range(2)]
        came.append(ask(request, allowed).result)
        came.append(ask(request, allowed, timeout=0.3, plugin="neighbour").result)
    finally:
        over.set()
    assert (came, len(number)) == ([TIMED_OUT, TIMED_OUT, UNREACHABLE, TIMED_OUT], 3)


def test_nobody_there_is_an_error(ask: Ask) -> None:
    """A port that nobody listens on cannot be reached."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    came = ask(to(url.encode()), outbound(url))
    assert (came.result, came.log[0].endswith("refused")) == (UNREACHABLE, True)


# Guests that break the rules


def test_a_request_that_is_too_large_traps(ask: Ask) -> None:
    """A request is as large as the app allows, at most; it is not even read."""
    with pytest.raises(GuestTrap, match="an HTTP request has at most 20 bytes"):
        ask(to(b"http://a.example"), outbound("http://*"), max_body=20)


def test_a_response_is_read_within_its_length(
    instance: Callable[..., tuple[Instance, list[str]]], serve: Serve
) -> None:
    """What lies beyond the record does not exist."""
    live, _ = instance(*local(serve(OK)), 65_536)
    with pytest.raises(GuestTrap, match=r"there are no \d+ bytes of an HTTP response at 1"):
        live.function("beyond")(0, monotonic(), 30.0)


def test_a_response_ends_with_its_call(
    instance: Callable[..., tuple[Instance, list[str]]], serve: Serve
) -> None:
    """A later call, which may be another request's, does not see an earlier one's response."""
    live, _ = instance(*local(serve(OK)), 65_536)
    assert live.function("ask")(0, monotonic(), 30.0) > 0
    with pytest.raises(GuestTrap, match="there are no 1 bytes of an HTTP response at 0"):
        live.function("again")(0, monotonic(), 30.0)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for stock.example that nobody else trusts."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stock.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("stock.example")]), False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(
    ("trusted", "host", "reason"),
    [
        (True, "stock.example", ""),
        (True, "other.example", "certificate is not valid for 'other.example'"),
        (False, "stock.example", "certificate verify failed"),
    ],
    ids=["good", "another name", "not trusted"],
)
def test_certificates_are_checked(
    ask: Ask,
    serve: Serve,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    trusted: bool,
    host: str,
    reason: str,
) -> None:
    """A server's certificate must be trusted, and be for the name in the URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def behave(sock: socket.socket, _: threading.Event) -> None:
        with context.wrap_socket(sock.dup(), server_side=True) as tls:
            tls.recv(65_536)
            tls.sendall(OK)

    server = Server(behave, raw=True)
    monkeypatch.setattr(socket, "getaddrinfo", resolving("127.0.0.1"))
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    http_client.tls_context.cache_clear()
    try:
        rule = f"https://{host}:{server.port}"
        came = ask(to(rule.encode()), outbound(rule))
    finally:
        http_client.tls_context.cache_clear()
        server.close()
    assert (came.result > 0, reason in "".join(came.log)) == (not reason, True)


# As plugins


HOOK = {"on_request": guests.UNCHANGED}


def test_http_is_not_granted_by_default(folder: Path, make_app: MakeApp) -> None:
    """A plugin that imports it loads only if the app grants it."""
    (folder / "asker.wat").write_text(guests.module(HOOK, imports=IMPORTS))
    app, plugins = make_app()
    with app.app_context():
        (plugin,) = plugins.status()["plugins"]
    assert "does not grant it the capability 'http'" in plugin["load_error"]


def test_http_that_is_granted_loads(folder: Path, make_app: MakeApp) -> None:
    """With the grant it loads, even if no rule allows anything."""
    (folder / "asker.wat").write_text(guests.module(HOOK, imports=IMPORTS))
    app, plugins = make_app(GRANTS=["http"])
    with app.app_context():
        assert [p["state"] for p in plugins.status()["plugins"]] == ["serving"]


@pytest.mark.parametrize("how", ["ph_selftest", "a recorded call"])
def test_a_plugins_own_tests_send_nothing(
    folder: Path, make_app: MakeApp, serve: Serve, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each worker runs them at each load, and so does the command line; a hook that serves asks."""
    server = serve(OK)
    url = f"http://127.0.0.1:{server.port}"
    request = to(url.encode(), edit(SET_METHOD, b"", b"POST"))
    send = f"(drop (call $send (i32.const {AT}) (i32.const {len(request)}))) (i64.const 0)"
    hooks = {"on_request": send}
    if how == "ph_selftest":
        hooks["ph_selftest"] = send
    else:
        (folder / "asker.toml").write_text(
            '[[selftest]]\nhook = "on_request"\nexpect.unchanged = true\n'
        )
    (folder / "asker.wat").write_text(guests.module(hooks, imports=IMPORTS, data=[(AT, request)]))
    rules = {"HTTP": [f"POST {url}"], "HTTP_PRIVATE": ["127.0.0.1"]}
    app, _ = make_app(GRANTS=["http"], TIMEOUT=10.0, **rules)
    assert (caplog.messages[0], server.heads) == (
        f"POST {url} is not sent by a plugin's own tests",
        [],
    )
    app.test_client().get("/")
    assert len(server.heads) == 1


def test_a_missing_extra_is_named(
    folder: Path, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what it needs, the error says what to install."""
    monkeypatch.setattr(http, "available", lambda: False)
    (folder / "asker.wat").write_text(guests.module(HOOK, imports=IMPORTS))
    app, plugins = make_app(GRANTS=["http"])
    with app.app_context():
        (plugin,) = plugins.status()["plugins"]
    assert plugin["load_error"].endswith("pip install 'flask-plugin-host[http]'")


@pytest.mark.gevent
def test_no_greenlet_runs_while_a_guest_waits() -> None:
    """Under gevent the wait blocks its thread: switching below a guest would kill the worker."""
    code = """
from gevent import monkey; monkey.patch_all()
import gevent, socket
from plugin_host import osthread
from plugin_host.hostfunctions.http_client import Request, fetch

server = osthread.original("socket", "socket")()
server.bind(("127.0.0.1", 0)); server.listen()

def serve():
    connection, _ = server._accept() if hasattr(server, "_accept") else server.accept()
    connection = osthread.original("socket", "socket")(fileno=connection)
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
    connection.close()

ran = []
gevent.spawn(ran.append, 1)
thread = osthread.start(serve, "server")
port = server.getsockname()[1]
request = Request("GET", "http", "127.0.0.1", port, "/", [], b"")
response = fetch(request, lambda address: True, 20.0, 100)
assert (response.body, ran) == (b"hi", []), (response, ran)
gevent.sleep(0)
assert ran == [1]
thread.join(5)
server.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
