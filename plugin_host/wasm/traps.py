"""wasmtime's errors, translated into ours. They never leave this floor untranslated."""

from __future__ import annotations

import wasmtime

from ..errors import DeadlineExceeded, GuestTrap, HookError
from .instance import Instance

#: Frames kept of a guest's backtrace, and characters of one function's name.
MAX_FRAMES, MAX_NAME = 20, 120


def translate(exc: BaseException, instance: Instance, timeout: float) -> BaseException:
    """The error that ends a call which wasmtime ended with ``exc``; the instance is spent.

    :param timeout: the call's, in seconds, for the message.
    :returns: with its cause set: the host function's own exception if it is a HookError or no
        ordinary one (KeyboardInterrupt, SystemExit, …); otherwise DeadlineExceeded or GuestTrap.
    """
    pending, instance.pending = instance.pending, None
    if isinstance(pending, DeadlineExceeded):  # host functions do not know the call's timeout
        return DeadlineExceeded(timeout)
    if isinstance(pending, HookError) or (
        pending is not None and not isinstance(pending, Exception)
    ):
        return pending
    frames = _frames(exc)
    error: HookError
    if pending is not None:
        error = GuestTrap(f"a host function failed: {pending!r}", "host", frames)
        error.__cause__ = pending
        return error
    if instance.expired or _code(exc) == "interrupt":
        error = DeadlineExceeded(timeout)
    elif _is_out_of_fuel(exc, instance):
        error = GuestTrap(f"used up its fuel of {instance.fuel}", "out_of_fuel", frames)
    elif isinstance(exc, wasmtime.Trap):
        code = _code(exc)
        error = GuestTrap(code.replace("_", " ") or _first_line(exc), code, frames)
    else:
        error = GuestTrap(_first_line(exc), "instantiate")
    return error


def _is_out_of_fuel(exc: BaseException, instance: Instance) -> bool:
    code = _code(exc)  # which older wasmtime-py do not know
    return code == "out_of_fuel" or (
        code == "unknown" and instance.metered and not instance.fuel_left()
    )


def _code(exc: BaseException) -> str:
    if not isinstance(exc, wasmtime.Trap):
        return ""
    try:
        code = exc.trap_code
    except ValueError:  # a code newer than this wasmtime-py knows
        return "unknown"
    return code.name.lower() if code is not None else ""


def _frames(exc: BaseException) -> tuple[str, ...]:
    if not isinstance(exc, wasmtime.Trap):
        return ()
    return tuple(_name(frame) for frame in exc.frames[:MAX_FRAMES])


def _name(frame: wasmtime.Frame) -> str:
    name = frame.func_name or f"function[{frame.func_index}]"
    return "".join(c if c.isprintable() else "?" for c in name[:MAX_NAME])


def _first_line(exc: BaseException) -> str:
    return next((line.strip() for line in str(exc).splitlines() if line.strip()), "")
