"""The same as `fast` through wasmtime's public API: the fallback, some 20 times slower.

Deadlines are counted in epoch ticks here, because the public API has no epoch callback: never
early, late by up to two ticks and by whatever delays the ticking thread.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeVar

import wasmtime

from .engine import TICK, Engine
from .instance import MASKS, Call, HostFunction, Instance, Limits, Linked, prelinked
from .traps import translate

_T = TypeVar("_T")

#: The instance that this thread is calling into, for host functions.
_current = threading.local()


class _HostFailed(Exception):
    """Ends the guest's call; what a host function raised is on its instance."""


class PublicInstance(Instance):
    """An instance whose exports are called through `wasmtime.Func`."""

    __slots__ = ("_exports", "_memory", "_store")

    def __init__(self, linked: PublicLinked, limits: Limits, start: float, timeout: float) -> None:
        super().__init__(linked)
        self._store = store = wasmtime.Store(linked.engine.raw)
        limits.apply(store)
        if self.metered:
            self.refuel(self.fuel)
        self._memory: wasmtime.Memory | None = None
        instance = self.enter(lambda: linked.instantiate(store), start, timeout)
        self._exports = instance.exports(store)
        memory = self._exports.get("memory")
        if isinstance(memory, wasmtime.Memory):
            self._memory = memory

    def enter(self, call: Callable[[], _T], start: float, timeout: float) -> _T:
        """Call into the guest under a deadline, with errors translated."""
        # The next tick may come at once, so a call gets one more than its time needs.
        left = start + timeout - monotonic()
        self._store.set_epoch_deadline(max(1, math.ceil(left / TICK)) + 1)
        outer, _current.instance = getattr(_current, "instance", None), self
        try:
            with self.under(start, timeout):
                return call()
        except (wasmtime.Trap, wasmtime.WasmtimeError, _HostFailed) as exc:
            # wasmtime-py keeps a host function's exception in one global, so another thread's may
            # surface here: `translate` goes by what this instance's own host functions raised.
            error = translate(exc, self, timeout)
            try:
                raise error from error.__cause__
            finally:
                del error  # or it and this frame would keep each other
        finally:
            _current.instance = outer

    def function(self, name: str) -> Call:
        function = self._exports.get(name)
        if not isinstance(function, wasmtime.Func):
            raise KeyError(name)
        store, takes = self._store, len(function.type(self._store).params)

        def invoke(
            argument: int, start: float, timeout: float, data: bytes = b"", pointer: int = 0, /
        ) -> int:
            if data:
                self.write(pointer, data)
            arguments = (argument,) * takes
            result = self.enter(lambda: function(store, *arguments), start, timeout)
            return result if isinstance(result, int) else 0

        return self.apart(self.limited(invoke))

    def refuel(self, fuel: int) -> None:
        self._store.set_fuel(fuel)

    def fuel_left(self) -> int:
        return self._store.get_fuel()

    def memory_size(self) -> int:
        return self._memory.data_len(self._store) if self._memory is not None else 0

    def read(self, pointer: int, length: int) -> bytes:
        if pointer < 0 or self._memory is None or pointer + length > self.memory_size():
            raise self.outside(pointer, length)
        return bytes(self._memory.read(self._store, pointer, pointer + length))

    def write(self, pointer: int, data: bytes) -> None:
        if pointer < 0 or self._memory is None or pointer + len(data) > self.memory_size():
            raise self.outside(pointer, len(data))
        self.written = True
        self._memory.write(self._store, data, pointer)

    def view(self) -> memoryview:
        if self._memory is None or not self.memory_size():
            return memoryview(b"")
        return memoryview(self._memory.get_buffer_ptr(self._store)).cast("B")


class PublicLinked(Linked):
    """A module linked to host functions through `wasmtime.Linker.define_func`."""

    def __init__(
        self, engine: Engine, module: wasmtime.Module, functions: Sequence[HostFunction]
    ) -> None:
        super().__init__(engine, functions)
        linker = wasmtime.Linker(engine.raw)
        for function in functions:
            linker.define_func(function.module, function.name, function.type(), _guarded(function))
        self.instantiate = prelinked(linker, module)

    def instance(self, limits: Limits, start: float, timeout: float) -> Instance:
        return PublicInstance(self, limits, start, timeout)


def _guarded(function: HostFunction) -> Callable[..., int | None]:
    """Keep what a host function raises on its instance; see `PublicInstance.enter`."""
    call, masks, results = function.safely(), function.masks(), function.results

    def callback(*values: int) -> int | None:
        instance = _current.instance
        try:
            unsigned = [value & mask for value, mask in zip(values, masks, strict=True)]
            result = call(instance, *unsigned)
            return _signed(result, results[0]) if results and result is not None else None
        except BaseException as exc:
            instance.pending = exc
        # Raised here, without context, because wasmtime-py may keep it for ever.
        del instance
        raise _HostFailed

    return callback


def _signed(value: int, kind: str) -> int:
    """``value`` as wasmtime-py takes it: signed, in range."""
    mask = MASKS[kind]
    value &= mask
    return value - mask - 1 if value > mask >> 1 else value
