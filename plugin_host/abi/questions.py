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
    questions, i32 = _Questions(services), "i32"
    yield Group(
        "call",
        (
            HostFunction("plugin_host", "call", (i32,) * 6, (i32,), questions.call, switches=True),
            HostFunction("plugin_host", "call_receive", (i32,) * 3, (), questions.kept.receive),
        ),
    )


class _Questions:
    """What the guests of one plugin ask the app, and the answers that wait to be fetched."""

    __slots__ = ("_failures", "_services", "kept")

    def __init__(self, services: Services) -> None:
        self._services = services
        self._failures = Throttle(LINES, LINES_AT_ONCE)
        self.kept = Kept("an answer of the app")

    def call(
        self, instance: Instance,
        name: int, name_len: int, data: int, data_len: int, out: int, cap: int,
    ) -> int:  # fmt: skip
        """Do ``call``."""
        if instance.stage is None:
            raise too_early("the app was asked")
        self.kept.drop(instance)
        check_room(instance, out, cap)
        limit = self._services.max_body
        if data_len > limit:
            raise GuestTrap(f"a question has at most {limit} bytes", "host")
        sent = instance.read(data, data_len)
        text = instance.read(name, min(name_len, MAX_NAME + 1)).decode("utf-8", "replace")
        question = self._find(instance, text)
        if question is None:
            return UNKNOWN
        answer = self._ask(question, sent)
        time_left(instance)  # an answer that comes too late ends the call
        if isinstance(answer, int):
            return answer
        if len(answer) > limit:
            self._warn(instance, text, f"an answer of {len(answer)} bytes")
            return TOO_LARGE
        if len(answer) > cap:
            self.kept.put(instance, answer)
        return give(instance, answer, out, cap)

    def _find(self, instance: Instance, name: str) -> Question | None:
        services = self._services
        if instance.stage is not LIVE:
            return None
        if not is_open("call", name, services.granted):
            why = f"'call:{name}' is not asked for, or not granted by PLUGIN_HOST_GRANTS"
        elif (question := services.app.questions.get(name)) is not None:
            return question
        else:
            why = "the app does not answer it"
        self._warn(instance, name, why)
        return None

    def _ask(self, question: Question, sent: bytes) -> bytes | int:
        level = depth.get()
        if level >= MAX_DEPTH:
            return TOO_DEEP
        token = depth.set(level + 1)
        try:
            return _answer(question, sent)
        except _Unfit as exc:
            self._tell(question, str(exc))
            return UNFIT
        except Exception as exc:  # whatever the app raises
            self._tell(question, "the app's answer failed", exc)
            return FAILED
        finally:
            depth.reset(token)

    def _warn(self, instance: Instance, name: str, what: str) -> None:
        self._services.log(instance, logging.WARNING, f"question {name!r}: {what}")

    def _tell(self, question: Question, what: str, exc: Exception | None = None) -> None:
        if self._failures.admits():
            plugin, request_id = self._services.plugin, self._services.app.request_id()
            logger.error(
                "plugin %s: question %s: %s", plugin, question.name, what,
                exc_info=exc, extra={"plugin": plugin, "request_id": request_id},
            )  # fmt: skip


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
