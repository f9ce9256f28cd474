"""The fast call: instances on wasmtime's C API, some 40 times quicker than its public one."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from ctypes import c_size_t, c_uint64, c_void_p
from time import monotonic, thread_time
from typing import Any

import wasmtime

from . import bindings
from .bindings import EPOCH, HOST, address, adopt, api
from .deadline import GRACE
from .engine import Engine
from .instance import Call, HostFunction, Instance, Limits, Linked, prelinked
from .traps import translate

_MAX_TEXT = 1024
#: Seconds of processor time between two ticks that show that a guest is really computing.
_COMPUTED = 0.0002
#: Live instances by the address of their store's context, for callbacks.
_by_context: dict[int, weakref.ref[FastInstance]] = {}


def _epoch(context: int, _data: int, delta: Any, kind: Any) -> int | None:
    """End the running call if it is overdue; otherwise look again at the next tick."""
    try:
        instance = _by_context[context]()
        if instance is not None and _is_overdue(instance):
            instance.expired = True
            error: int = api().error_new(b"deadline")
            return error
    except BaseException as exc:  # an exception must not cross into native code
        return int(api().error_new(f"epoch callback: {exc!r}".encode()[:_MAX_TEXT]))
    delta[0], kind[0] = 1, 0
    return None


_on_epoch = EPOCH(_epoch)


def _is_overdue(instance: FastInstance) -> bool:
    """Whether the guest has computed on after a tick that came after its deadline.

    That tick may have come while this thread waited to enter the guest, and this very function may
    have waited for the GIL: what counts is when the tick was, and processor time since the guest
    was first asked, which is usually at the tick shortly before its deadline.
    """
    watchdog, told = instance.watchdog, instance.entered_at + 1
    stopped_by_tick = watchdog.ticks >= told
    instance.entered_at = watchdog.ticks
    used, seen = thread_time(), instance.seen
    if seen is None or seen[0] != instance.deadline:
        instance.seen = instance.deadline, used
        return False
    ticked_at = watchdog.ticked_at[told % len(watchdog.ticked_at)]
    return stopped_by_tick and ticked_at >= instance.deadline and used - seen[1] >= _COMPUTED


class FastInstance(Instance):
    """An instance whose exports are called through the C API."""

    __slots__ = (
        "_context",
        "_left",
        "_linked",
        "_memory",
        "_raw_instance",
        "_store",
        "_view",
        "seen",
    )

    def __init__(self, linked: FastLinked, limits: Limits, start: float, timeout: float) -> None:
        super().__init__(linked)
        #: A call's deadline, and this thread's processor time at its begin or when the guest was
        #: first stopped by a tick; the former costs too much to be asked for before every call.
        self.seen: tuple[float, float] | None = None
        self._linked = linked  # holds the callbacks that native code calls
        self._view: memoryview = memoryview(b"")
        self._memory: Any = None
        self._store = store = wasmtime.Store(linked.engine.raw)
        limits.apply(store)
        self._left = c_uint64()
        self._context = bindings.context_of(store)
        key = self._context
        _by_context[key] = weakref.ref(self, lambda _: _by_context.pop(key, None))
        api().set_epoch_callback(address(store.ptr()), _on_epoch, None, None)
        store.set_epoch_deadline(1)
        if self.metered:
            self.refuel(self.fuel)
        try:
            with self.under(start, timeout):
                self._raw_instance: Any = linked.instantiate(store)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as exc:
            error = translate(exc, self, timeout)
            try:
                raise error from error.__cause__
            finally:
                del error  # or it and this frame would keep each other
        self._memory = bindings.exported_memory(store, self._raw_instance, "memory")
        if self._memory is not None:
            self._refresh()

    def _refresh(self) -> int:
        """Take the view afresh if memory has grown; return its size in bytes."""
        raw, memory = api(), ctypes.addressof(self._memory.of.memory)
        size: int = raw.memory_size(self._context, memory)
        if size != len(self._view):  # it never moves (engine.py), but the old view is too short
            base = raw.memory_data(self._context, memory)
            self._view = raw.view(base, size) if size else memoryview(b"")
        return size

    def memory_size(self) -> int:
        return self._refresh() if self._memory is not None else 0

    def read(self, pointer: int, length: int) -> bytes:
        data = self._view[pointer : pointer + length].tobytes()
        if len(data) != length or pointer < 0:
            if pointer < 0 or pointer + length > self.memory_size():
                raise self.outside(pointer, length)
            data = self._view[pointer : pointer + length].tobytes()
        return data

    def write(self, pointer: int, data: bytes) -> None:
        end = pointer + len(data)
        if pointer < 0 or (end > len(self._view) and end > self.memory_size()):
            raise self.outside(pointer, len(data))
        self._view[pointer:end] = data
        self.written = True

    def view(self) -> memoryview:
        self.memory_size()
        return self._view

    def refuel(self, fuel: int) -> None:
        error = api().set_fuel(self._context, fuel)
        if error is not None:
            raise adopt(error, None)

    def fuel_left(self) -> int:
        error = api().get_fuel(self._context, ctypes.addressof(self._left))
        if error is not None:
            raise adopt(error, None)
        return self._left.value

    def function(self, name: str) -> Call:
        item = bindings.exported_function(self._store, self._raw_instance, name)
        if item is None:
            raise KeyError(name)
        raw = (ctypes.c_int64 * 4)()  # two wasmtime_val_raw_t of 16 bytes
        trap = c_void_p()
        call, context, count = api().call, self._context, c_size_t(2)
        function, arguments = ctypes.addressof(item.of.func), ctypes.addressof(raw)
        trap_address, watchdog = ctypes.addressof(trap), self.watchdog
        rearm = api().rearm

        # Every hook passes here: one frame does all of a call.
        def invoke(
            argument: int, start: float, timeout: float, data: bytes = b"", pointer: int = 0, /
        ) -> int:
            if data:
                self._view[pointer : pointer + len(data)] = data
            raw[0] = argument
            deadline, least = start + timeout, monotonic() + GRACE
            if least > watchdog.late_at + GRACE:
                watchdog.give_way()
                least = monotonic() + GRACE
            if deadline < least:
                deadline = least
            self.deadline, self.running = deadline, least
            # Not before: a watchdog that sees no call may go to rest.
            if deadline < watchdog.next_look:
                try:
                    watchdog.look_by(deadline)
                except BaseException:  # no thread is to be had
                    self.running = 0.0
                    raise
            # From here to the guest nothing gives the GIL away.
            if self.entered_at != watchdog.ticks:
                self.entered_at = watchdog.ticks
                rearm(context, 1)  # a tick from before must not stop the guest to ask for the GIL
                self.seen = deadline, thread_time()
            error = call(context, function, arguments, count, trap_address)
            if error is not None or trap.value is not None:
                taken, trap.value = trap.value, None
                try:
                    # In no variable: the error and this frame would keep each other.
                    raise translate(adopt(error, taken), self, timeout)
                finally:
                    self.running = 0.0  # not before: until now the process hurries
            self.running = 0.0
            return raw[0]

        invoke.keep = item  # type: ignore[attr-defined]
        return self.apart(self.limited(invoke))


class FastLinked(Linked):
    """A module linked to host functions through the C API's unchecked callbacks."""

    def __init__(
        self, engine: Engine, module: wasmtime.Module, functions: Sequence[HostFunction]
    ) -> None:
        super().__init__(engine, functions)
        self._linker = wasmtime.Linker(engine.raw)
        # The callbacks must live as long as any store made from this linker: each instance keeps
        # this object.
        self._callbacks = [self._define(function) for function in functions]
        self._instantiate = prelinked(self._linker, module)

    def instantiate(self, store: wasmtime.Store) -> wasmtime.Instance:
        """Instantiate in ``store``; raises wasmtime's errors."""
        return self._instantiate(store)

    def instance(self, limits: Limits, start: float, timeout: float) -> Instance:
        return FastInstance(self, limits, start, timeout)

    def _define(self, function: HostFunction) -> Any:
        callback = HOST(_guarded(function))
        kind = function.type()
        module, name = function.module.encode(), function.name.encode()
        error = api().define(
            address(self._linker.ptr()), module, len(module), name, len(name),
            address(kind.ptr()), callback, None, None,
        )  # fmt: skip
        if error is not None:
            raise adopt(error, None)
        return callback


def _guarded(function: HostFunction) -> Callable[..., int | None]:
    """Wrap a host function so that no exception ever crosses into native code."""
    raw, call, masks = api(), function.safely(), tuple(enumerate(function.masks()))

    def callback(_env: int, caller: int, values: Any, _count: int) -> int | None:
        instance = None
        try:
            instance = _by_context[raw.caller_context(caller)]()
            # A wasmtime_val_raw_t is 16 bytes: every second i64.
            result = call(instance, *[values[2 * i] & mask for i, mask in masks])
            if result is not None:
                values[0] = result
            return None
        except BaseException as exc:
            if instance is not None:
                instance.pending = exc
            text = f"host function {function.name} failed".encode()
            return int(raw.trap_new(text, len(text)))

    return callback
