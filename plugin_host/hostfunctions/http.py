"""The capability ``http``: requests to servers that the app allows (docs/abi.md, section 8).

A request is an edit list and a response is a response record, so that a guest needs no format
beyond those that it has.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from struct import Struct
from typing import Final

from ..abi.edit_values import SET_BODY, SET_METHOD, SET_PATH, VALUES, header_name, header_value
from ..abi.records import BODY, ResponseEncoder
from ..config.outbound import DEFAULT_PORTS
from ..errors import BadResult, GuestTrap
from ..message import ADD_HEADER, SET_HEADER, HeaderEdit, edited_headers
from ..wasm.instance import HostFunction, Instance
from .http_client import DENIED, UNREACHABLE, Request, available, fetch, tls_context
from .kept import Kept
from .services import Group, Services, time_left
from .stage import LIVE

#: The part of the time left to the hook that a request may take: the rest is for its answer.
SHARE: Final = 0.9
MAX_EDITS: Final = 1000

_HEAD = b"\x01\x03\x00\x00"
_edit_head = Struct("<BBHI").unpack_from
_url = re.compile(
    r"(?P<scheme>https?)://(?:(?P<name>[a-z0-9_.-]+)|\[(?P<v6>[0-9a-f:.]+)\])(?::(?P<port>\d{1,5}))?"
    r"(?P<target>(?:[/?][!-\"$-~]*)?)",
).fullmatch


def groups(services: Services) -> Iterator[Group]:
    """Provide ``plugin_host.http_send`` and ``plugin_host.http_receive``."""
    received = Kept("an HTTP response")
    encode = ResponseEncoder().encode
    if any(rule.scheme == "https" for rule in services.outbound.rules):
        tls_context()  # made now, while no request waits for it

    def send(instance: Instance, pointer: int, length: int) -> int:
        received.drop(instance)
        if length > services.max_body:
            raise GuestTrap(f"an HTTP request has at most {services.max_body} bytes", "host")
        request = parse(instance.read(pointer, length))
        what = f"{request.method} {request.scheme}://{request.host}:{request.port}"
        if not services.outbound.allows(*request[:4]):
            services.log(instance, logging.WARNING, f"{what} is not allowed by PLUGIN_HOST_HTTP")
            return DENIED
        if instance.stage not in (None, LIVE):
            services.log(instance, logging.WARNING, f"{what} is not sent by a plugin's own tests")
            return UNREACHABLE
        seconds = time_left(instance) * SHARE
        reaches, most = services.outbound.reaches, services.max_body
        response = fetch(request, reaches, seconds, most, services.plugin)
        if response.error:
            services.log(instance, logging.WARNING, f"{what} failed: {response.reason}")
            return response.error
        record = encode(response.status, response.headers, None, response.body, BODY)
        received.put(instance, record)
        return len(record)

    i32 = "i32"
    yield Group(
        "http",
        (
            HostFunction("plugin_host", "http_send", (i32, i32), (i32,), send),
            HostFunction("plugin_host", "http_receive", (i32, i32, i32), (), received.receive),
        ),
        extra="" if available() else "http",
    )


def parse(data: bytes) -> Request:
    """Check a guest's request.

    :raises GuestTrap: it is malformed; with the byte and the rule.
    """
    try:
        return _parse(data)
    except BadResult as exc:
        reason = f"malformed HTTP request at byte {exc.offset}: {exc.rule}"
        raise GuestTrap(reason, "host") from exc


def _parse(data: bytes) -> Request:
    if data[:4] != _HEAD:
        raise BadResult(0, "an edit list starts with version 1, kind 3 and two zero bytes")
    headers: list[HeaderEdit] = []
    values: dict[int, bytes] = {}
    for count, (at, op, name, value) in enumerate(_edits(data)):
        if count == MAX_EDITS:
            raise BadResult(at, f"a list has at most {MAX_EDITS} edits")
        value_at = at + 8 + len(name)
        if op in (SET_HEADER, ADD_HEADER):
            spelled, lower, _ = header_name(name, at + 8)
            if lower == "host":
                raise BadResult(at + 8, "the header Host is made of the URL")
            headers.append((op, spelled, header_value(op, value, at, value_at), lower))
        elif op in (SET_PATH, SET_METHOD, SET_BODY) and not name:
            values[op] = value
            if op == SET_METHOD:
                VALUES[op](value, at)
        else:
            raise BadResult(at, "a request has headers, URL (as path), method and body")
    method = values.get(SET_METHOD, b"GET").decode("ascii")
    url = _split(values.get(SET_PATH, b""))
    return Request(method, *url, edited_headers([], headers), values.get(SET_BODY, b""))


def _edits(data: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    at = 4
    while at < len(data):
        if len(data) - at < 8:
            raise BadResult(at, "an edit lies wholly inside the list")
        op, reserved, name_len, value_len = _edit_head(data, at)
        value_at = at + 8 + name_len
        end = value_at + value_len
        if reserved or end > len(data):
            raise BadResult(at, "an edit lies wholly inside the list, and reserved bytes are 0")
        yield at, op, data[at + 8 : value_at], data[value_at:end]
        at = end


def _split(url: bytes) -> tuple[str, str, int, str]:
    """Return scheme, host, port and target. Nothing else ever reads the URL."""
    found = _url(url.decode("latin-1"))
    port = int((found and found["port"]) or 0)
    if found is None or port > 65_535:
        rule = "a URL is http or https, a host in lower case, and printable ASCII without # and @"
        raise BadResult(0, rule)
    target = found["target"]
    if not target.startswith("/"):
        target = "/" + target
    return (
        found["scheme"],
        found["name"] or found["v6"],
        port or DEFAULT_PORTS[found["scheme"]],
        target,
    )
