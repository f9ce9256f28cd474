"""wasmtime's errors, translated into ours. They never leave this floor untranslated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

import wasmtime

from ..errors import DeadlineExceeded, GuestTrap, HookError, NoResources, printable
from .instance import Instance
from .shortage import shortage

#: Frames kept of a guest's backtrace, and characters of one function's name.
MAX_FRAMES, MAX_NAME = 20, 120

# What a backtrace looks like in the text of an error, the only place where source lines are:
#     0:     0x9c - guess
#                     at price.c:7:0
_FRAME = re.compile(r" *+\d+: +0x[0-9a-f]+ - (?:[^!]*!)?(.*)")
_PLACE = re.compile(r" {8,}at (?:.*[/\\])?([^/\\]+:\d+):\d+")


def translate(exc: BaseException, instance: Instance, timeout: float) -> BaseException:
    """The error that ends a call which wasmtime ended with ``exc``; the instance is spent.

    :param timeout: the call's, in seconds, for the message.
    :returns: with its cause set: the host function's own exception if it is a HookError or no
        ordinary one (KeyboardInterrupt, SystemExit, …); otherwise DeadlineExceeded, GuestTrap or
        NoResources.
    """
    pending, instance.pending = instance.pending, None
    if isinstance(pending, DeadlineExceeded):  # host functions do not know the call's timeout
        return DeadlineExceeded(timeout, _frames(exc))
    if type(pending) is GuestTrap and not pending.frames:  # host functions do not know who called
        trap = GuestTrap(pending.message, pending.code, _frames(exc))
        trap.__cause__ = pending.__cause__
        return trap
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
        error = DeadlineExceeded(timeout, frames)
    elif _is_out_of_fuel(exc, instance):
        error = GuestTrap(f"used up its fuel of {instance.fuel}", "out_of_fuel", frames)
    elif isinstance(exc, wasmtime.Trap):
        code = _code(exc)
        error = GuestTrap(code.replace("_", " ") or _first_line(exc), code, frames)
    elif why := shortage(exc):
        error = NoResources(f"no instance can be made: {why}")
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
    """Return the guest's functions, innermost first, with their source lines if they are known."""
    names = [f.func_name for f in exc.frames] if isinstance(exc, wasmtime.Trap) else []
    frames: list[str] = []
    for name, place in islice(_backtrace(str(exc), iter(names)), MAX_FRAMES):
        where = f" at {printable(place[:MAX_NAME])}" if place else ""
        frames.append(printable(name[:MAX_NAME]) + where)
    return tuple(frames)


def _backtrace(text: str, names: Iterator[str | None]) -> list[tuple[str, str]]:
    """Return function and place of each frame in an error's text.

    :param names: of the functions in the module: the text demangles also what is not mangled, and
        calls a function ``f`` "float".
    """
    frames: list[tuple[str, str]] = []
    for line in text.partition("\n\n")[0].splitlines():
        if frames and (place := _PLACE.fullmatch(line)):
            frames[-1] = frames[-1][0], place[1]
        elif frame := _FRAME.fullmatch(line):
            name = next(names, None)
            plain = name and not name.startswith(("_Z", "_R"))
            frames.append((name if name and plain else frame[1], ""))
    return frames


def _first_line(exc: BaseException) -> str:
    return next((line.strip() for line in str(exc).splitlines() if line.strip()), "")
