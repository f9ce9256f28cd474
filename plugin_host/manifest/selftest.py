"""Recorded calls in a manifest: what a hook is given before it serves, and what must come of it.

Text is text: what goes over the wire is its UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from ..config import did_you_mean
from ..hookspec import HOOK_NAME
from .schema import check_config, check_json
from .table import BadKey, read_table

MAX_SELFTESTS: Final = 100

_TOKEN: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z"  # noqa: S105 - RFC 9110's word
_LINE: Final = r"^[^\x00-\x08\x0a-\x1f\x7f]*\Z"
_is_line: Final = re.compile(_LINE).match
_SERVERS_FIELDS: Final = {"host": "host", "content-length": "body"}

Hook = Annotated[str, Meta(pattern=HOOK_NAME, description="the name of one of the plugin's hooks")]
Label = Annotated[str, Meta(max_length=200, description="text of at most 200 characters")]
Config = Annotated[dict[str, Any], Meta(description="a table that JSON can carry")]
Method = Annotated[str, Meta(pattern=_TOKEN, description="an HTTP method")]
Scheme = Annotated[Literal["http", "https"], Meta(description="'http' or 'https'")]
Line = Annotated[str, Meta(pattern=_LINE, description="text without control characters")]
Path = Annotated[str, Meta(pattern=r"^/[^\x00]*\Z", description="text that starts with '/'")]
Query = Annotated[
    str, Meta(pattern=r'^[!"$-~]*\Z', description="printable ASCII without space or '#'")
]
Text = Annotated[str, Meta(description="text")]
# The values have no pattern: msgspec 0.22 crashes on a type that unites such text with a list.
Headers = Annotated[
    dict[Annotated[str, Meta(pattern=_TOKEN)], str | list[str]],
    Meta(description="a table from names of headers to text, or to lists of texts"),
]
Args = Annotated[dict[str, str | int], Meta(description="a table of texts and integers")]
Status = Annotated[int, Meta(ge=200, le=599, description="an integer from 200 to 599")]
AnyJson = Annotated[Any, Meta(description="what JSON can carry")]
Flag = Annotated[bool, Meta(description="true or false")]
Names = Annotated[list[str], Meta(description="a list of names of headers")]
Texts = Annotated[dict[str, str], Meta(description="a table of texts")]


class RecordedRequest(msgspec.Struct, frozen=True):
    """A request as an ``on_request`` hook is given it; the manifest's ``needs`` apply."""

    method: Method = "GET"
    scheme: Scheme = "http"
    host: Line = "localhost"
    path: Path = "/"
    query: Query = ""
    remote: Line = "127.0.0.1"
    headers: Headers = msgspec.field(default_factory=dict)
    body: Text = ""
    endpoint: Text | None = None
    args: Args = msgspec.field(default_factory=dict)


class RecordedResponse(msgspec.Struct, frozen=True):
    """A response as an ``on_response`` hook is given it; the manifest's ``needs`` apply."""

    status: Status = 200
    headers: Headers = msgspec.field(default_factory=dict)
    body: Text = ""
    context: Text | None = None


class RequestExpected(msgspec.Struct, frozen=True):
    """What must come of an ``on_request`` hook; None where anything may."""

    unchanged: Flag | None = None
    no_answer: Flag | None = None
    status: Status | None = None
    headers: Headers | None = None
    removed: Names | None = None
    body: Text | None = None
    method: Text | None = None
    path: Text | None = None
    query: Text | None = None
    g: Texts | None = None
    context: Text | None = None


class ResponseExpected(msgspec.Struct, frozen=True):
    """What must come of an ``on_response`` hook; None where anything may."""

    unchanged: Flag | None = None
    status: Status | None = None
    headers: Headers | None = None
    removed: Names | None = None
    body: Text | None = None


class AnswerExpected(msgspec.Struct, frozen=True):
    """What must come of a business hook; None where anything may."""

    no_answer: Flag | None = None
    answer: AnyJson = None


Expected: TypeAlias = RequestExpected | ResponseExpected | AnswerExpected


class RequestTest(msgspec.Struct, frozen=True):
    """A recorded call of ``on_request``; ``config`` is the plugin's own where it is None."""

    hook: Hook
    name: Label = ""
    config: Config | None = None
    request: RecordedRequest = RecordedRequest()
    expect: RequestExpected = RequestExpected()


class ResponseTest(msgspec.Struct, frozen=True):
    """A recorded call of ``on_response``."""

    hook: Hook
    name: Label = ""
    config: Config | None = None
    response: RecordedResponse = RecordedResponse()
    expect: ResponseExpected = ResponseExpected()


class BusinessTest(msgspec.Struct, frozen=True):
    """A recorded call of a business hook; without a payload it gets ``null``."""

    hook: Hook
    name: Label = ""
    config: Config | None = None
    payload: AnyJson = None
    expect: AnswerExpected = AnswerExpected()


SelfTest: TypeAlias = RequestTest | ResponseTest | BusinessTest

#: By hook, which keys its self-tests have; those of all other hooks are a `BusinessTest`'s.
_KINDS: Final[dict[str, type[SelfTest]]] = {
    "on_request": RequestTest,
    "on_response": ResponseTest,
}
STRUCTS: Final = (RequestTest, ResponseTest, BusinessTest)


def read_selftests(
    tables: dict[str, Any] | list[Any],
    hooks: tuple[str, ...] | None,
    schema: Mapping[str, Any] | None,
) -> tuple[SelfTest, ...]:
    """Return the recorded calls of a manifest, in its order.

    :param hooks: the hooks that the manifest lists, if it does.
    :param schema: what a self-test's own config must fit.
    :raises BadKey: for whatever is wrong with one.
    """
    if isinstance(tables, dict):
        named = [("selftest.", tables)]
    else:
        named = [(f"selftest[{index}].", table) for index, table in enumerate(tables)]
    if len(named) > MAX_SELFTESTS:
        raise BadKey(f"selftest has {len(named)} tables", f"allowed: at most {MAX_SELFTESTS}")
    return tuple(_read(prefix, table, hooks, schema) for prefix, table in named)


def _read(
    prefix: str, table: Any, hooks: tuple[str, ...] | None, schema: Mapping[str, Any] | None
) -> SelfTest:
    hook = table.get("hook") if isinstance(table, dict) else ""
    if hook is None:
        raise BadKey(f"{prefix}hook is missing", "name the hook that is called")
    test = read_table(_KINDS.get(str(hook), BusinessTest), table, prefix)
    _check_hook(test.hook, f"{prefix}hook", hooks)
    if test.config is not None:
        check_json(test.config, f"{prefix}config")
        if schema is not None:
            check_config(test.config, schema, f"{prefix}config")
    if isinstance(test, RequestTest):
        _check_headers(test.request.headers, f"{prefix}request.headers")
        _check_request(test.request, f"{prefix}request.")
    elif isinstance(test, ResponseTest):
        _check_headers(test.response.headers, f"{prefix}response.headers")
    else:
        for key, value in (("payload", test.payload), ("expect.answer", test.expect.answer)):
            if value is not None:
                check_json(value, prefix + key)
    _check_expected(test.expect, f"{prefix}expect.")
    return test


def _check_hook(hook: str, key: str, hooks: tuple[str, ...] | None) -> None:
    if hooks is not None and hook not in hooks:
        hint = did_you_mean(hook, hooks) or "the plugin's hooks are " + ", ".join(hooks)
        raise BadKey(f"{key} is {hook!r}, which is not among the plugin's hooks", hint)


def _check_headers(headers: Mapping[str, str | list[str]], key: str) -> None:
    for name, value in headers.items():
        if not all(_is_line(item) for item in ([value] if isinstance(value, str) else value)):
            raise BadKey.value(f"{key}.{name}", value, "text without control characters")


def _check_request(request: RecordedRequest, prefix: str) -> None:
    for name in request.headers:
        field = _SERVERS_FIELDS.get(name.lower())
        if field is not None:
            raise BadKey(f"{prefix}headers has {name!r}", f"it follows from {prefix}{field}")
        if "_" in name:
            hint = f"WSGI passes no such header; did you mean {name.replace('_', '-')!r}?"
            raise BadKey(f"{prefix}headers has {name!r}", hint)
    if request.args and request.endpoint is None:
        raise BadKey(f"{prefix}args has no endpoint beside it", f"give {prefix}endpoint, too")


def _check_expected(expected: Expected, prefix: str) -> None:
    """Refuse what contradicts itself."""
    given = {name for name in expected.__struct_fields__ if getattr(expected, name) is not None}
    for flag, others in (
        ("unchanged", given - {"unchanged", "no_answer"}),
        ("no_answer", given & {"status", "answer"}),
    ):
        if getattr(expected, flag, None) and others:
            beside = ", ".join(sorted(others))
            raise BadKey(f"{prefix}{flag} stands beside {beside}", "keep one of the two")
