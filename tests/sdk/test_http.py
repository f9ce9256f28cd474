"""Outbound HTTP through the AssemblyScript SDK, in a site, to a server on loopback."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g

from plugin_host import GuestTrap, PluginHost

from .conftest import GUEST, MakeApp

pytestmark = pytest.mark.node

HOOKS = ("get", "post_json", "put_two", "why_not")
LIMIT = 65_536


class Echo(BaseHTTPRequestHandler):
    """Answers GET with its path, larger by `?N`, and what has a body with what was asked."""

    def do_GET(self) -> None:  # http.server calls it so
        path, _, size = self.path.partition("?")
        self.answer(404 if path == "/none" else 200, "text/plain", path + "x" * int(size or 0))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        said = {"type": self.headers["Content-Type"], "body": json.loads(body)}
        self.answer(200, "application/vnd.test+json; charset=utf-8", json.dumps(said))

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        values = self.headers.get_all("X-B")
        self.answer(200, "application/json", json.dumps([self.path, body, values]))

    def answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-A", "1")
        self.send_header("X-A", "2")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """The address of the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = False  # so that closing waits for them
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def module(build: Any) -> bytes:
    """The guest, compiled once."""
    return b"" if build.missing_tool() else bytes(build.compile_source(GUEST / "http.ts"))


@pytest.fixture
def site(
    module: bytes, url: str, folder: Path, make_app: MakeApp
) -> Iterator[tuple[Flask, PluginHost]]:
    """A site whose guest may ask the server, in an app's context."""
    (folder / "guest.wasm").write_bytes(module)
    (folder / "guest.toml").write_text('on_failure = "fail"')
    app, plugins = make_app(
        GRANTS=["http"],
        HTTP=[f"* {url}", "http://127.0.0.1:1"],
        HTTP_PRIVATE=["127.0.0.1"],
        TIMEOUT=30,
        MAX_BODY=LIMIT,
    )
    for name in HOOKS:
        plugins.hookspec(name, input=bytes, output=bytes)
    with app.app_context():
        yield app, plugins


def ask(site: tuple[Flask, PluginHost], hook: str, payload: str) -> Any:
    return json.loads(site[1].call(hook, payload.encode()))


@pytest.mark.parametrize("size", [0, 1, 2000, 50_000])
def test_responses(site: tuple[Flask, PluginHost], url: str, size: int) -> None:
    """Status, headers and body of a response of any length are what the server sent."""
    text = "/a" + "x" * size
    assert ask(site, "get", f"{url}/a?{size}") == {
        "code": 0,
        "status": 200,
        "x-a": ["1", "2"],
        "is json": False,
        "has body": True,
        "length": len(text),
        "text": text,
    }


def test_a_response_is_one_whatever_its_status(site: tuple[Flask, PluginHost], url: str) -> None:
    """An error of the server is a response, and no error of the request."""
    found = ask(site, "get", f"{url}/none")
    assert (found["code"], found["status"], found["text"]) == (0, 404, "/none")


def test_json(site: tuple[Flask, PluginHost], url: str) -> None:
    """JSON goes and comes, with the content type that the guest sets."""
    body = {"sku": "wörld", "pieces": [1, 2.5, None]}
    asked = json.dumps({"url": f"{url}/json", "body": body})
    assert ask(site, "post_json", asked) == {"type": "application/json", "body": body}


def test_requests_do_not_mix(site: tuple[Flask, PluginHost], url: str) -> None:
    """Each request has its own URL, method, headers and body, in whichever order they are made."""
    second, first = ask(site, "put_two", url)
    assert json.loads(first["text"]) == ["/1", "wörld", ["1", "2"]]
    assert json.loads(second["text"]) == ["/2", "bytes", ["3"]]
    assert first["is json"] is True


def test_beside_edits(site: tuple[Flask, PluginHost], url: str) -> None:
    """A request between two edits of the hook's own is none of them."""
    seen: dict[str, str] = {}
    app = site[0]
    app.add_url_rule("/here", view_func=lambda: seen.update(vars(g)) or "", endpoint="here")
    client = app.test_client()
    assert client.get("/here", headers={"X-Url": f"{url}/a"}).status_code == 200
    assert {"before": "/here", "answer": "/a", "after": "GET"}.items() <= seen.items()


def test_errors(site: tuple[Flask, PluginHost], url: str) -> None:
    """Without a response there is null, and a code that says why."""
    call = site[1].call
    assert call("why_not", b"http://127.0.0.1:2/") == b"denied"
    assert call("why_not", b"http://127.0.0.1:1/") == b"unreachable"
    assert call("why_not", f"{url}/a?{LIMIT}".encode()) == b"too large"
    assert call("why_not", f"{url}/a".encode()) == b"answered"
    with pytest.raises(GuestTrap, match="malformed HTTP request"):
        call("why_not", b"ftp://127.0.0.1/")


def test_a_request_ends_before_the_hook_must(
    module: bytes, folder: Path, make_app: MakeApp
) -> None:
    """Of a server that never answers the hook hears in time to act on it."""
    (folder / "guest.wasm").write_bytes(module)
    (folder / "guest.toml").write_text('on_failure = "fail"')
    with socket.create_server(("127.0.0.1", 0)) as silent:
        rule = f"http://127.0.0.1:{silent.getsockname()[1]}"
        app, plugins = make_app(GRANTS=["http"], HTTP=[rule], HTTP_PRIVATE=["127.0.0.1"], TIMEOUT=2)
        plugins.hookspec("why_not", input=bytes, output=bytes)
        with app.app_context():
            assert plugins.call("why_not", rule.encode()) == b"timed out"
