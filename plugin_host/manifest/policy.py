"""``on_failure``: what happens when a hook fails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import msgspec

from ..config import show
from ..hookspec import HOOK_ALLOWED, HOOK_NAME, HTTP_HOOKS
from .schema import check_json
from .selftest import AnyJson, Headers, Status, Text
from .table import BadKey, read_table

_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"


class RespondTable(msgspec.Struct, frozen=True):
    """The keys of a fixed response; ``body`` is text, ``json`` a body that is written as JSON."""

    status: Status = 503
    headers: Headers = msgspec.field(default_factory=dict)
    body: Text | None = None
    json: AnyJson = None


class HttpPolicy(msgspec.Struct, frozen=True):
    """The keys of the policy of an HTTP hook."""

    respond: RespondTable


class BusinessPolicy(msgspec.Struct, frozen=True):
    """The keys of the policy of a business hook."""

    answer: AnyJson


@dataclass(frozen=True, slots=True)
class Respond:
    """The fixed response of a manifest; by the rules of a guest's answer it is not checked yet.

    :param headers: in order, repeated ones kept.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Policy:
    """What happens when a hook fails.

    :param word: ``skip``: as if the plugin were not there; ``fail``: the request is answered with
        503; ``respond``: with `response`; ``answer``: the plugin counts as having answered.
    :param answer: the JSON text of a business hook's answer.
    """

    word: Literal["skip", "fail", "respond", "answer"]
    response: Respond | None = None
    answer: bytes | None = None


OnFailure: TypeAlias = Policy | Mapping[str, Policy]
"""One policy for all hooks, or those of some hooks."""

SKIP, FAIL = Policy("skip"), Policy("fail")
_WORDS: Final = {"skip": SKIP, "fail": FAIL}


def policy_of(on_failure: OnFailure, hook: str) -> Policy:
    """Return the policy of one hook."""
    if isinstance(on_failure, Policy):
        return on_failure
    return on_failure.get(hook, FAIL if hook == "on_request" else SKIP)


def read_on_failure(value: str | dict[str, Any], hooks: tuple[str, ...] | None) -> OnFailure:
    """Return what a manifest says.

    :param hooks: the hooks that the manifest lists, if it does.
    :raises BadKey: for whatever is wrong with it.
    """
    if isinstance(value, str):
        return _word(value, "on_failure", "a table for each hook")
    for hook in value:
        if hooks is not None and hook not in hooks:
            raise BadKey.unknown(hook, "on_failure.", list(hooks))
        if not re.match(HOOK_NAME, hook):
            raise BadKey(f"unknown key {show('on_failure.' + hook)}", f"allowed: {HOOK_ALLOWED}")
    return {hook: _policy(hook, policy, f"on_failure.{hook}") for hook, policy in value.items()}


def _policy(hook: str, value: Any, key: str) -> Policy:
    if hook not in HTTP_HOOKS:
        if not isinstance(value, dict):
            return _word(value, key, "a table with 'answer'")
        answer = read_table(BusinessPolicy, value, f"{key}.").answer
        check_json(answer, f"{key}.answer")
        return Policy("answer", answer=msgspec.json.encode(answer))
    if not isinstance(value, dict):
        return _word(value, key, "a table with 'respond'")
    table = read_table(HttpPolicy, value, f"{key}.").respond
    return Policy("respond", response=_respond(table, f"{key}.respond."))


def _word(value: Any, key: str, table: str) -> Policy:
    if not isinstance(value, str) or value not in _WORDS:
        raise BadKey.value(key, value, f"'skip' or 'fail', or {table}")
    return _WORDS[value]


def _respond(table: RespondTable, prefix: str) -> Respond:
    if table.body is not None and table.json is not None:
        raise BadKey(f"{prefix}body stands beside {prefix}json", "keep one of the two")
    headers = [
        (name, item)
        for name, value in table.headers.items()
        for item in ([value] if isinstance(value, str) else value)
    ]
    body, kind = (table.body or "").encode(), _TEXT
    if table.json is not None:
        check_json(table.json, f"{prefix}json")
        body, kind = msgspec.json.encode(table.json), _JSON
    if body and "content-type" not in {name.lower() for name, _ in headers}:
        headers.insert(0, ("Content-Type", kind))
    return Respond(table.status, tuple(headers), body)
