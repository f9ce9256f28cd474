"""Proves on a small module that wasmtime's bindings are the ones that `fast` builds on."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import wasmtime

from ..errors import NoResources
from . import bindings
from .bindings import Unsupported
from .engine import Engine
from .fast import FastLinked
from .instance import HostFunction, Instance, Limits
from .shortage import shortage

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
    :raises NoResources: the machine has too little for that to be told now.
    """
    try:
        seen = _exercise(engine)
    except (Unsupported, NoResources):
        raise
    except Exception as exc:
        if why := shortage(exc):
            raise NoResources(f"no module can be made: {why}") from exc
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

    bindings.check_sizes()
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
    except NoResources:
        raise
    except Exception as exc:
        # Frames of `_exercise` have these errors: they would keep each other, and the instance.
        for error in (exc, exc.__cause__, exc.__context__):
            if error is not None:
                error.__traceback__ = None
        return exc
    return None
