"""The fast call: the only user of wasmtime-py's private bindings.

`wasmtime.Func.__call__` spends 40 µs on types; the C API called by address with preallocated
arguments takes under 1 µs (docs/rationale.md, "Why private bindings?"). Everything here is checked
once per process by `self_check`; when a check fails, or ``PLUGIN_HOST_FAST_CALL`` is off, `public`
does the same through wasmtime's public API.

Whatever has its address taken is kept alive by the object that uses the address.
"""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, PYFUNCTYPE, byref, c_size_t, c_uint8, c_uint64, c_void_p
from time import monotonic, thread_time
from typing import Any

import wasmtime

from .deadline import GRACE
from .engine import Engine
from .instance import Call, HostFunction, Instance, Limits, Linked, prelinked
from .traps import translate

_ffi: Any
try:
    from wasmtime import _ffi
except ImportError:  # pragma: no cover - a wasmtime without the module that we know
    _ffi = None

#: C functions by name, with the number of arguments that their use here assumes.
_SYMBOLS = {
    "wasmtime_func_call_unchecked": 5,
    "wasmtime_instance_export_get": 5,
    "wasmtime_memory_data": 2,
    "wasmtime_memory_data_size": 2,
    "wasmtime_caller_context": 1,
    "wasmtime_linker_define_func_unchecked": 9,
    "wasmtime_store_epoch_deadline_callback": 4,
    "wasmtime_context_set_epoch_deadline": 2,
    "wasmtime_trap_new": 2,
    "wasmtime_error_new": 1,
}
_MAX_TEXT = 1024
#: Seconds of processor time between two ticks that show that a guest is really computing.
_COMPUTED = 0.0002


class Unsupported(Exception):
    """This wasmtime release's private bindings are not the ones that we know."""


def _prototype(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    return CFUNCTYPE(result, *arguments)(_pointer_to(name))


def _pointer_to(name: str) -> int:
    return ctypes.cast(getattr(_ffi.dll, name), c_void_p).value or 0


class _Api:
    """Prototypes by address; plain integers for all pointers."""

    def __init__(self) -> None:
        if _ffi is None or not hasattr(_ffi, "dll"):
            raise Unsupported("wasmtime._ffi.dll is missing")
        for name, count in _SYMBOLS.items():
            raw = getattr(_ffi, "_" + name, None) or getattr(_ffi.dll, name, None)
            if raw is None or len(getattr(raw, "argtypes", None) or ()) not in (0, count):
                raise Unsupported(f"{name} is missing or has another signature")
        pointer = c_void_p
        self.call = _prototype(
            "wasmtime_func_call_unchecked", pointer, pointer, pointer, pointer, c_size_t, pointer
        )
        self.memory_data = _prototype("wasmtime_memory_data", pointer, pointer, pointer)
        self.memory_size = _prototype("wasmtime_memory_data_size", c_size_t, pointer, pointer)
        self.caller_context = _prototype("wasmtime_caller_context", pointer, pointer)
        self.trap_new = _prototype("wasmtime_trap_new", pointer, ctypes.c_char_p, c_size_t)
        self.error_new = _prototype("wasmtime_error_new", pointer, ctypes.c_char_p)
        self.rearm = PYFUNCTYPE(None, pointer, c_uint64)(
            _pointer_to("wasmtime_context_set_epoch_deadline")
        )
        self.set_epoch_callback = _prototype(
            "wasmtime_store_epoch_deadline_callback", None, pointer, _EPOCH, pointer, pointer
        )
        self.define = _prototype(
            "wasmtime_linker_define_func_unchecked",
            pointer, pointer, ctypes.c_char_p, c_size_t, ctypes.c_char_p, c_size_t, pointer,
            _HOST, pointer, pointer,
        )  # fmt: skip
        self.view = ctypes.pythonapi.PyMemoryView_FromMemory
        self.view.argtypes = [c_void_p, ctypes.c_ssize_t, ctypes.c_int]
        self.view.restype = ctypes.py_object


_EPOCH = CFUNCTYPE(c_void_p, c_void_p, c_void_p, ctypes.POINTER(c_uint64), ctypes.POINTER(c_uint8))
_HOST = CFUNCTYPE(c_void_p, c_void_p, c_void_p, ctypes.POINTER(ctypes.c_int64), c_size_t)
_READ_WRITE = 0x200  # PyBUF_WRITE

#: Live instances by the address of their store's context, for callbacks.
_by_context: dict[int, weakref.ref[FastInstance]] = {}


@functools.cache
def _api() -> _Api:
    return _Api()


def _epoch(context: int, _data: int, delta: Any, kind: Any) -> int | None:
    """End the running call if it is overdue; otherwise look again at the next tick."""
    try:
        instance = _by_context[context]()
        if instance is not None and _is_overdue(instance):
            instance.expired = True
            error: int = _api().error_new(b"deadline")
            return error
    except BaseException as exc:  # an exception must not cross into native code
        return int(_api().error_new(f"epoch callback: {exc!r}".encode()[:_MAX_TEXT]))
    delta[0], kind[0] = 1, 0
    return None


_on_epoch = _EPOCH(_epoch)


def _is_overdue(instance: FastInstance) -> bool:
    """Whether the guest has computed on after a tick that came after its deadline.

    That tick may have come while this thread waited to enter the guest, and this very function may
    have waited for the GIL: what counts is when the tick was, and processor time since then.
    """
    watchdog, told = instance.watchdog, instance.entered_at + 1
    stopped_by_tick = watchdog.ticks >= told
    instance.entered_at = watchdog.ticks
    ticked_at = watchdog.ticked_at
    if not stopped_by_tick or ticked_at[told % len(ticked_at)] < instance.deadline:
        return False
    used, seen = thread_time(), instance.seen
    if seen is not None and seen[0] == instance.deadline:
        return used - seen[1] >= _COMPUTED
    instance.seen = instance.deadline, used
    return False


class FastInstance(Instance):
    """An instance whose exports are called through the C API."""

    __slots__ = (
        "_context",
        "_linked",
        "_memory",
        "_raw_instance",
        "_store",
        "_view",
        "seen",
    )

    def __init__(self, linked: FastLinked, limits: Limits, start: float, timeout: float) -> None:
        super().__init__(linked.engine)
        #: A call's deadline, and this thread's processor time at its begin or when it was found
        #: overdue; the former costs too much to be asked for before every call.
        self.seen: tuple[float, float] | None = None
        self._linked = linked  # holds the callbacks that native code calls
        self._view: memoryview = memoryview(b"")
        self._memory: Any = None
        self._store = store = wasmtime.Store(linked.engine.raw)
        limits.apply(store)
        self._context: int = _address(store._context())
        key = self._context
        _by_context[key] = weakref.ref(self, lambda _: _by_context.pop(key, None))
        _api().set_epoch_callback(_address(store.ptr()), _on_epoch, None, None)
        store.set_epoch_deadline(1)
        try:
            with self.under(start, timeout):
                self._raw_instance: Any = linked.instantiate(store)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as exc:
            error = translate(exc, self, timeout)
            raise error from error.__cause__
        memory = self._export("memory")
        if memory is not None and memory.kind == _ffi.WASMTIME_EXTERN_MEMORY.value:
            self._memory = memory
            self._refresh()

    def _export(self, name: str) -> Any:
        item = _ffi.wasmtime_extern_t()
        text = name.encode()
        found = _ffi.wasmtime_instance_export_get(
            self._store._context(),
            byref(self._raw_instance._instance),
            ctypes.create_string_buffer(text, len(text)),
            len(text),
            byref(item),
        )
        return item if found else None

    def _refresh(self) -> int:
        """Take the view afresh if memory has grown; return its size in bytes."""
        api, memory = _api(), ctypes.addressof(self._memory.of.memory)
        size: int = api.memory_size(self._context, memory)
        if size != len(self._view):  # it never moves (engine.py), but the old view is too short
            base = api.memory_data(self._context, memory)
            self._view = api.view(base, size, _READ_WRITE) if size else memoryview(b"")
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

    def function(self, name: str) -> Call:
        item = self._export(name)
        if item is None or item.kind != _ffi.WASMTIME_EXTERN_FUNC.value:
            raise KeyError(name)
        raw = (ctypes.c_int64 * 4)()  # two wasmtime_val_raw_t of 16 bytes
        trap = c_void_p()
        call, context, count = _api().call, self._context, c_size_t(2)
        function, arguments = ctypes.addressof(item.of.func), ctypes.addressof(raw)
        trap_address, watchdog = ctypes.addressof(trap), self.watchdog
        rearm = _api().rearm

        # Every hook passes here: one frame does all of a call.
        def invoke(
            argument: int, start: float, timeout: float, data: bytes = b"", pointer: int = 0, /
        ) -> int:
            if data:
                self._view[pointer : pointer + len(data)] = data
            raw[0] = argument
            deadline, least = start + timeout, monotonic() + GRACE
            if deadline < least:
                deadline = least
            if deadline < watchdog.next_look:
                watchdog.look_by(deadline)
            # From here to the guest nothing gives the GIL away.
            if self.entered_at != watchdog.ticks:
                self.entered_at = watchdog.ticks
                rearm(context, 1)  # a tick from before must not stop the guest to ask for the GIL
                self.seen = deadline, thread_time()
            self.deadline, self.running = deadline, True
            error = call(context, function, arguments, count, trap_address)
            self.running = False
            if error is not None or trap.value is not None:
                taken, trap.value = trap.value, None
                raise translate(_adopt(error, taken), self, timeout)
            return raw[0]

        invoke.keep = item  # type: ignore[attr-defined]
        return invoke


class FastLinked(Linked):
    """A module linked to host functions through the C API's unchecked callbacks."""

    def __init__(
        self, engine: Engine, module: wasmtime.Module, functions: Sequence[HostFunction]
    ) -> None:
        super().__init__(engine)
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
        callback = _HOST(_guarded(function))
        kind = function.type()
        module, name = function.module.encode(), function.name.encode()
        error = _api().define(
            _address(self._linker.ptr()), module, len(module), name, len(name),
            _address(kind.ptr()), callback, None, None,
        )  # fmt: skip
        if error is not None:
            raise _adopt(error, None)
        return callback


def _guarded(function: HostFunction) -> Callable[..., int | None]:
    """Wrap a host function so that no exception ever crosses into native code."""
    api, call, masks = _api(), function.function, tuple(enumerate(function.masks()))

    def callback(_env: int, caller: int, values: Any, _count: int) -> int | None:
        instance = None
        try:
            instance = _by_context[api.caller_context(caller)]()
            # A wasmtime_val_raw_t is 16 bytes: every second i64.
            result = call(instance, *[values[2 * i] & mask for i, mask in masks])
            if result is not None:
                values[0] = result
            return None
        except BaseException as exc:
            if instance is not None:
                instance.pending = exc
            text = f"host function {function.name} failed".encode()
            return int(api.trap_new(text, len(text)))

    return callback


def _address(pointer: Any) -> int:
    return ctypes.cast(pointer, c_void_p).value or 0


def _adopt(error: int | None, trap: int | None) -> Exception:
    """Take ownership of a native error or trap as wasmtime's own exception."""
    if error is not None:
        kind = ctypes.POINTER(_ffi.wasmtime_error_t)
        return wasmtime.WasmtimeError._from_ptr(ctypes.cast(error, kind))
    return wasmtime.Trap._from_ptr(ctypes.cast(trap or 0, ctypes.POINTER(_ffi.wasm_trap_t)))


#: A host call, memory that grows, an endless loop and a trap.
_CHECK = """(module
  (import "check" "host" (func $host (param i32 i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "run") (param i32) (result i64)
    (call $host (local.get 0) (i64.load (i32.const 8))))
  (func (export "spin") (loop (br 0)))
  (func $boom (export "boom") unreachable)
  (func (export "grow") (drop (memory.grow (i32.const 1)))))"""


def self_check(engine: Engine) -> None:
    """Prove on a small module that this wasmtime's bindings are the ones that we know.

    :raises Unsupported: they are not; the message says what differed.
    """
    try:
        seen = _exercise(engine)
    except Unsupported:
        raise
    except Exception as exc:
        raise Unsupported(f"{type(exc).__name__}: {exc}") from exc
    if seen != _EXPECTED:
        raise Unsupported(f"the self-check gave {seen!r}")


_EXPECTED = (-7, (5, 1 << 63), "unreachable", ("boom",), 65_536, 131_072, "RuntimeError", True)


def _exercise(engine: Engine) -> tuple[object, ...]:
    arguments: list[tuple[int, int]] = []

    def host(_instance: Instance, a: int, b: int) -> int:
        arguments.append((a, b))
        if a == 6:
            raise RuntimeError
        return -7

    if ctypes.sizeof(_ffi.wasmtime_val_raw_t) != 16 or ctypes.sizeof(_ffi.wasmtime_func_t) != 16:
        raise Unsupported("the size of wasmtime_val_raw_t or wasmtime_func_t differs")
    function = HostFunction("check", "host", ("i32", "i64"), ("i64",), host)
    module = wasmtime.Module(engine.raw, bytes(wasmtime.wat2wasm(_CHECK)))
    linked = FastLinked(engine, module, [function])
    instance = linked.instance(Limits(), monotonic(), 10.0)
    instance.write(8, (1 << 63).to_bytes(8, "little"))
    before = instance.memory_size()
    result = instance.function("run")(5, monotonic(), 10.0)
    instance.function("grow")(0, monotonic(), 10.0)
    after = instance.memory_size()
    trap = _raised(lambda: instance.function("boom")(0, monotonic(), 10.0))
    fault = _raised(lambda: instance.function("run")(6, monotonic(), 10.0))
    late = _raised(lambda: instance.function("spin")(0, monotonic(), 0.0))
    code, frames = getattr(trap, "code", None), getattr(trap, "frames", None)
    cause = type(getattr(fault, "__cause__", None)).__name__
    expired = type(late).__name__ == "DeadlineExceeded"
    return result, arguments[0], code, frames, before, after, cause, expired


def _raised(call: Callable[[], object]) -> BaseException | None:
    try:
        call()
    except Exception as exc:
        return exc
    return None
