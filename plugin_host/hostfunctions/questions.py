"""The capability ``call``: questions to the app (docs/abi.md, "Questions to the app")."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from ..config import is_open
from ..errors import GuestTrap, PayloadError
from ..hookspec import Question
from ..throttle import Throttle
from ..wasm.instance import HostFunction, Instance
from .calling import depth
from .kept import Kept
from .results import check_room, give
from .services import Group, Services, time_left
from .stage import LIVE, too_early

logger = logging.getLogger("plugin_host")

#: Results that are no length.
UNKNOWN, UNFIT, FAILED, TOO_LARGE, TOO_DEEP = -1, -2, -3, -4, -5
#: How deep questions may nest: the app's answer calls a plugin, which asks in turn.
MAX_DEPTH: Final = 4
MAX_NAME: Final = 128
#: Log lines about answers that failed: per second, and at once.
LINES, LINES_AT_ONCE = 1.0, 20.0


def groups(services: Services) -> Iterator[Group]:
    """Provide ``plugin_host.call`` and ``plugin_host.call_receive``."""
    kept = Kept("an answer of the app")
    failures, limit = Throttle(LINES, LINES_AT_ONCE), services.max_body

    def call(
        instance: Instance,
        name: int, name_len: int, data: int, data_len: int, out: int, cap: int,
    ) -> int:  # fmt: skip
        if instance.stage is None:
            raise too_early("the app was asked")
        kept.drop(instance)
        check_room(instance, out, cap)
        if data_len > limit:
            raise GuestTrap(f"a question has at most {limit} bytes", "host")
        sent = instance.read(data, data_len)
        text = instance.read(name, min(name_len, MAX_NAME + 1)).decode("utf-8", "replace")
        question = _find(services, instance, text)
        if question is None:
            return UNKNOWN
        answer = _ask(services, failures, question, sent)
        time_left(instance)  # an answer that comes too late ends the call
        if isinstance(answer, int):
            return answer
        if len(answer) > limit:
            _warn(services, instance, text, f"an answer of {len(answer)} bytes")
            return TOO_LARGE
        if len(answer) > cap:
            kept.put(instance, answer)
        return give(instance, answer, out, cap)

    i32 = "i32"
    yield Group(
        "call",
        (
            HostFunction("plugin_host", "call", (i32,) * 6, (i32,), call, switches=True),
            HostFunction("plugin_host", "call_receive", (i32,) * 3, (), kept.receive),
        ),
    )


def _find(services: Services, instance: Instance, name: str) -> Question | None:
    if instance.stage is not LIVE:
        return None
    if not is_open("call", name, services.granted):
        why = f"'call:{name}' is not asked for, or not granted by PLUGIN_HOST_GRANTS"
    elif (question := services.app.questions.get(name)) is not None:
        return question
    else:
        why = "the app does not answer it"
    _warn(services, instance, name, why)
    return None


def _warn(services: Services, instance: Instance, name: str, what: str) -> None:
    services.log(instance, logging.WARNING, f"question {name!r}: {what}")


def _ask(services: Services, failures: Throttle, question: Question, sent: bytes) -> bytes | int:
    level = depth.get()
    if level >= MAX_DEPTH:
        return TOO_DEEP
    token = depth.set(level + 1)
    try:
        return _answer(question, sent)
    except Exception as exc:  # whatever the app raises
        if failures.admits():
            _tell(services, question, exc)
        return UNFIT if isinstance(exc, _Unfit) else FAILED
    finally:
        depth.reset(token)


def _tell(services: Services, question: Question, exc: Exception) -> None:
    unfit = isinstance(exc, _Unfit)
    logger.error(
        "plugin %s: question %s: %s",
        services.plugin,
        question.name,
        exc if unfit else "the app's answer failed",
        exc_info=None if unfit else exc,
        extra={"plugin": services.plugin, "request_id": services.app.request_id()},
    )


class _Unfit(Exception):
    """What a guest sent does not fit the question."""


def _answer(question: Question, sent: bytes) -> bytes:
    """Have the app answer.

    :raises Exception: whatever the app's function raises; it has changed what it has changed.
    """
    try:
        value = question.decode(sent)
    except PayloadError as exc:
        raise _Unfit(exc.message) from exc
    return question.encode(question.answer(value))
