"""wasmtime-py's private bindings: the only file that knows them.

`wasmtime.Func.__call__` spends 40 µs on types; the C API called by address with preallocated
arguments takes under 1 µs (docs/rationale.md, "Why private bindings?"). `fast` builds instances on
this; `selfcheck` proves once per process that the bindings are the ones that we know.

Whatever has its address taken is kept alive by the object that uses the address.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Iterable
from ctypes import CFUNCTYPE, PYFUNCTYPE, byref, c_size_t, c_uint8, c_uint64, c_void_p
from typing import Any

import wasmtime

from .compile_child import COMPILES, OPTION

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
    "wasmtime_context_set_fuel": 2,
    "wasmtime_context_get_fuel": 2,
    "wasmtime_trap_new": 2,
    "wasmtime_error_new": 1,
    "wasmtime_error_message": 2,
    "wasmtime_error_delete": 1,
    "wasm_byte_vec_delete": 1,
    "wasmtime_engine_increment_epoch": 1,
}


class Unsupported(Exception):
    """This wasmtime release's private bindings are not the ones that we know."""


def _prototype(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """What gives the GIL away while it runs: what may take long, or calls back."""
    return CFUNCTYPE(result, *arguments)(_pointer_to(name))


def _quick(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """What keeps the GIL: getting it back takes milliseconds beside busy threads."""
    return PYFUNCTYPE(result, *arguments)(_pointer_to(name))


def _pointer_to(name: str) -> int:
    return ctypes.cast(getattr(_ffi.dll, name), c_void_p).value or 0


class Api:
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
        self.memory_data = _quick("wasmtime_memory_data", pointer, pointer, pointer)
        self.memory_size = _quick("wasmtime_memory_data_size", c_size_t, pointer, pointer)
        self.caller_context = _quick("wasmtime_caller_context", pointer, pointer)
        self.trap_new = _quick("wasmtime_trap_new", pointer, ctypes.c_char_p, c_size_t)
        self.error_new = _quick("wasmtime_error_new", pointer, ctypes.c_char_p)
        self.error_message = _quick("wasmtime_error_message", None, pointer, pointer)
        self.error_delete = _quick("wasmtime_error_delete", None, pointer)
        self.free_bytes = _quick("wasm_byte_vec_delete", None, pointer)
        self.rearm = _quick("wasmtime_context_set_epoch_deadline", None, pointer, c_uint64)
        self.increment_epoch = _quick("wasmtime_engine_increment_epoch", None, pointer)
        self.set_fuel = _quick("wasmtime_context_set_fuel", pointer, pointer, c_uint64)
        self.get_fuel = _quick("wasmtime_context_get_fuel", pointer, pointer, pointer)
        self.set_epoch_callback = _prototype(
            "wasmtime_store_epoch_deadline_callback", None, pointer, EPOCH, pointer, pointer
        )
        self.define = _prototype(
            "wasmtime_linker_define_func_unchecked",
            pointer, pointer, ctypes.c_char_p, c_size_t, ctypes.c_char_p, c_size_t, pointer,
            HOST, pointer, pointer,
        )  # fmt: skip
        self._view = ctypes.pythonapi.PyMemoryView_FromMemory
        self._view.argtypes = [c_void_p, ctypes.c_ssize_t, ctypes.c_int]
        self._view.restype = ctypes.py_object

    def view(self, base: int, size: int) -> memoryview:
        """``size`` bytes at ``base``, to read and write in place."""
        taken: memoryview = self._view(base, size, _READ_WRITE)
        return taken


#: The types of the functions that wasmtime calls: a store's at its epoch deadline, and a host
#: function's.
EPOCH = CFUNCTYPE(c_void_p, c_void_p, c_void_p, ctypes.POINTER(c_uint64), ctypes.POINTER(c_uint8))
HOST = CFUNCTYPE(c_void_p, c_void_p, c_void_p, ctypes.POINTER(ctypes.c_int64), c_size_t)
_READ_WRITE = 0x200  # PyBUF_WRITE


@functools.cache
def api() -> Api:
    """The process's prototypes.

    :raises Unsupported: a function is missing or has another signature.
    """
    return Api()


def c_api(options: Iterable[str]) -> str | None:
    """The library's file, if it has all that `compile_child` calls by name; None if not.

    :param options: the names of the engine's options.
    """
    path = str(getattr(_ffi.dll, "_name", ""))
    made = ("wasm_config_new", "wasm_engine_new_with_config", "wasmtime_error_message")
    names = (*made, *COMPILES, *map(OPTION.format, options))
    return path if os.path.isfile(path) and all(hasattr(_ffi.dll, each) for each in names) else None


def check_sizes() -> None:
    """Check the sizes of what `fast` lays out itself.

    :raises Unsupported: one differs.
    """
    if ctypes.sizeof(_ffi.wasmtime_val_raw_t) != 16 or ctypes.sizeof(_ffi.wasmtime_func_t) != 16:
        raise Unsupported("the size of wasmtime_val_raw_t or wasmtime_func_t differs")


def context_of(store: wasmtime.Store) -> int:
    """The address of a store's context."""
    return address(store._context())


def exported_function(store: wasmtime.Store, instance: wasmtime.Instance, name: str) -> Any:
    """An export of an instance, of which ``of.func`` is a function; None without one."""
    return _export(store, instance, name, _ffi.WASMTIME_EXTERN_FUNC)


def exported_memory(store: wasmtime.Store, instance: wasmtime.Instance, name: str) -> Any:
    """An export of an instance, of which ``of.memory`` is a memory; None without one."""
    return _export(store, instance, name, _ffi.WASMTIME_EXTERN_MEMORY)


def _export(store: wasmtime.Store, instance: wasmtime.Instance, name: str, kind: Any) -> Any:
    item = _ffi.wasmtime_extern_t()
    text = name.encode()
    found = _ffi.wasmtime_instance_export_get(
        store._context(),
        byref(instance._instance),
        ctypes.create_string_buffer(text, len(text)),
        len(text),
        byref(item),
    )
    return item if found and item.kind == kind.value else None


def address(pointer: Any) -> int:
    """The address that a pointer of ctypes holds."""
    return ctypes.cast(pointer, c_void_p).value or 0


class NativeError(Exception):
    """An error of wasmtime's that is no trap; the text is its message."""


def adopt(error: int | None, trap: int | None) -> Exception:
    """Take ownership of a native error or trap as an exception."""
    if error is None:
        return wasmtime.Trap._from_ptr(ctypes.cast(trap or 0, ctypes.POINTER(_ffi.wasm_trap_t)))
    # Not as wasmtime's own exception, which gives the GIL away four times to say what it says.
    text, raw = (c_size_t * 2)(), api()  # a wasm_byte_vec_t: size and address
    raw.error_message(error, text)
    message = ctypes.string_at(text[1], text[0]).decode(errors="replace")
    raw.free_bytes(text)
    raw.error_delete(error)
    return NativeError(message)
