"""State in a Redis server, which many machines share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar, cast

from plugin_host.config import StateUrl
from plugin_host.errors import StateError

from . import redis_scripts as scripts
from .backend import Admission, Clock, Entry, Outcome, Sum, Swap, after
from .numbers import Addition, not_a_number, overflow
from .quota import Quota, Space, too_many_bytes, too_many_keys
from .redis_scripts import Script
from .redis_wire import Wire

N = TypeVar("N", int, float)

_PARTS: Final = ("values", "order", "expiry", "size")
_SCANNED: Final = 1000  # keys that the server looks at in one go


class RedisBackend:
    """A `Backend` for the workers of many machines.

    :param clock: the time of day in place of the server's, for tests.
    """

    def __init__(self, url: StateUrl, clock: Clock | None = None) -> None:
        self._wire = Wire(url)
        self._clock = clock
        self._prefix = url.options.get("prefix", "plugin_host")
        self._keys: dict[str, tuple[str, ...]] = {}

    def _run(self, script: Script, space: Space, deadline: float, *arguments: Any) -> Any:
        keys = self._keys.get(space.name)
        if keys is None:
            tag = f"{{{self._prefix}:{space.name}}}"
            keys = self._keys[space.name] = tuple(f"{tag}:{part}" for part in _PARTS)
        now = "" if self._clock is None else self._clock()
        quota = space.quota
        return self._wire.run(
            script, deadline, 4, *keys, now, quota.max_keys, quota.max_bytes, *arguments
        )

    def read(self, space: Space, keys: Sequence[bytes], deadline: float) -> list[bytes | None]:
        return cast("list[bytes | None]", self._run(scripts.READ, space, deadline, *keys))

    def write(
        self, space: Space, items: dict[bytes, bytes], ttl: int | None, deadline: float
    ) -> None:
        flat = [part for item in items.items() for part in item]
        _checked(space, self._run(scripts.WRITE, space, deadline, _life(ttl), *flat))

    def remove(self, space: Space, keys: Sequence[bytes], deadline: float) -> int:
        return cast("int", self._run(scripts.REMOVE, space, deadline, *keys))

    def swap(
        self,
        space: Space,
        key: bytes,
        expected: bytes | None,
        value: bytes | None,
        ttl: int | None,
        deadline: float,
    ) -> Swap:
        reply = _checked(
            space,
            self._run(
                scripts.SWAP, space, deadline, key, _life(ttl), *_given(expected), *_given(value)
            ),
        )
        if reply[0] == b"done":
            return Swap(True, value)
        return Swap(False, reply[1] if len(reply) > 1 else None)

    def add(
        self, space: Space, key: bytes, addition: Addition[N], ttl: int | None, deadline: float
    ) -> Sum[N]:
        script = scripts.ADD_INTEGER if addition.is_integer else scripts.ADD_FLOAT
        numbers = [
            "" if number is None else repr(number)
            for number in (addition.delta, addition.floor, addition.ceiling)
        ]
        reply = self._run(script, space, deadline, key, _life(ttl), *numbers)
        state, *rest = _checked(space, reply, "i64" if addition.is_integer else "f64")
        kind: type[N] = type(addition.delta)
        return Sum(state == b"done", kind(rest[0]))

    def admit(
        self,
        space: Space,
        prefix: bytes,
        limit: int,
        key: bytes,
        value: bytes,
        ttl: int | None,
        deadline: float,
    ) -> Admission:
        reply = self._run(
            scripts.ADMIT, space, deadline, prefix, after(prefix), limit, key, value, _life(ttl)
        )
        outcome = Outcome(_checked(space, reply)[0].decode())
        if outcome is Outcome.ADDED:
            return Admission(outcome, value)
        return Admission(outcome, reply[1] if outcome is Outcome.PRESENT else None)

    def count(self, space: Space, prefix: bytes, deadline: float) -> int:
        return cast("int", self._run(scripts.COUNT, space, deadline, prefix, after(prefix)))

    def scan(
        self, space: Space, prefix: bytes, start: bytes, limit: int, deadline: float
    ) -> list[Entry]:
        flat = self._run(scripts.SCAN, space, deadline, start, after(prefix), limit)
        return [
            Entry(key, size, int(left) / 1000 if left else None)
            for key, size, left in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        ]

    def names(self, deadline: float) -> list[str]:
        return [name for name in self._stored(deadline) if self.count(_space(name), b"", deadline)]

    def sweep(self, deadline: float) -> int:
        total = 0
        for name in self._stored(deadline):
            while swept := cast("int", self._run(scripts.SWEEP, _space(name), deadline)):
                total += swept
        return total

    def _stored(self, deadline: float) -> list[str]:
        """Return the names of the namespaces that the server has, sorted."""
        found: set[str] = set()
        cursor = b"0"
        start, end = f"{{{self._prefix}:", f"}}:{_PARTS[0]}"
        pattern = f"{_literal(start)}*{end}"
        while True:
            cursor, keys = self._wire.ask(
                deadline, "SCAN", cursor, "MATCH", pattern, "COUNT", _SCANNED
            )
            found.update(key.decode()[len(start) : -len(end)] for key in keys)
            if cursor == b"0":
                return sorted(found)

    def close(self) -> None:
        self._wire.close()


def _space(name: str) -> Space:
    return Space(name, Quota())


def _life(ttl: int | None) -> str | int:
    return "" if ttl is None else ttl


def _given(value: bytes | None) -> tuple[str, bytes]:
    return ("0", b"") if value is None else ("1", value)


def _literal(text: str) -> str:
    """Return a pattern of Redis that fits this text only."""
    return "".join(f"\\{sign}" if sign in "*?[]\\^" else sign for sign in text)


def _checked(space: Space, reply: list[bytes], kind: str = "") -> list[bytes]:
    """Return a script's reply, or raise the error that it names."""
    error = _error(space, reply[0], kind)
    if error is not None:
        raise error
    return reply


def _error(space: Space, state: bytes, kind: str) -> StateError | None:
    if state == b"quota_keys":
        return too_many_keys(space)
    if state == b"quota_bytes":
        return too_many_bytes(space)
    if state == b"not_a_number":
        return not_a_number(kind)
    return overflow(kind) if state == b"overflow" else None
