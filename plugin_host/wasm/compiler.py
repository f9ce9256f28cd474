"""Compiling under a budget of processor time and memory.

A few kilobytes can keep the compiler busy for minutes, or fill the machine's memory, and a thread
inside it can be neither stopped nor given up. So modules are compiled by a process of its own, that
the kernel ends; those that are harmless by their size, by this one (docs/rationale.md, "Why does
another process compile?").
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping

from .. import osthread
from ..modules.bytereader import BinaryError, ByteReader
from ..modules.sections import bodies, count_locals, walk
from . import compile_child
from .compile_child import DONE, READY, REFUSED, SIZE_BYTES, Refused

#: Seconds of processor time that a compile may take, unless something else is said.
BUDGET = 20.0
#: Bytes of address space that the compiling process may take: some 250 MB for 11 MB of Go.
MAX_MEMORY = 1 << 30
#: The worst code known takes time in proportion to the cube of a function's size: 1.2 kB of loops
#: in each other that change locals 0.5 s, 2.3 kB 4, 6 kB a minute. So a module is harmless if all
#: its functions together, each with its locals and what it costs by itself, are no worse than one
#: of 1.2 kB.
HARMLESS, _EACH = 1200, 100
#: By how much a compile that nobody waits for is nicer than what serves; bytes of code from which
#: that is worth a process: it takes 0.1 s, and starting one a third of that.
NICE, SMALL = 10, 64 << 10


class OverBudget(Exception):
    """A compile was abandoned; the text says why, without the module's name."""


class Killed(Exception):
    """Somebody ended the process that compiles: the kernel, say, for want of memory."""


class Unavailable(Exception):
    """No other process can compile here; the text says why."""


def is_harmless(wasm: bytes, background: bool) -> bool:
    """Whether the compiler cannot take long for a module, so that it needs no process of its own.

    What is malformed is harmless: it is not compiled.

    :param background: nobody waits for it, and it is not to be in the way of what serves.
    """
    try:
        code = next((reader for section, reader in walk(wasm) if section.kind == "code"), None)
        sizes = [_size(body) for body in bodies(code)] if code else []
    except BinaryError:
        return True
    if background and sum(sizes) > SMALL:
        return False
    return sum(size**3 for size in sizes) <= HARMLESS**3


def _size(body: ByteReader) -> int:
    """What a function counts for: a few bytes declare thousands of locals."""
    return body.end - body.at + count_locals(body) + _EACH


def compile_apart(
    wasm: bytes,
    options: Mapping[str, bool],
    budget: float,
    background: bool,
    library: str | None = None,
) -> bytes:
    """Return a module's compiled code, made by a process of its own.

    Blocks the calling operating-system thread, without the GIL. What was abandoned is remembered,
    and abandoned again at once under the same budget or a smaller one.

    :param options: the engine's, by the names that wasmtime's Config has.
    :param budget: seconds of processor time.
    :param background: nobody waits for it: at low priority.
    :param library: the file of wasmtime's C API; None imports the package, which takes longer.
    :raises Refused: the engine does not accept the module.
    :raises OverBudget: it takes more time or memory than it may.
    :raises Killed: the process was killed, which says nothing of the module.
    :raises Unavailable: such a process cannot run here.
    """
    key = hashlib.sha256(wasm).digest()
    if (known := _abandoned.get(key)) and known[0] >= budget:
        raise OverBudget(known[1])
    told = {
        "library": library,
        "path": [os.path.abspath(entry) for entry in sys.path],
        "options": dict(options),
        "budget": budget,
        "memory": MAX_MEMORY,
        "nice": NICE if background else 0,
    }
    began = time.monotonic()
    answer, status = _run(json.dumps(told).encode() + b"\n" + wasm)
    if status == -signal.SIGKILL:  # none of our own limits sends that
        raise Killed("was being compiled when that process was killed, as when memory runs out")
    if answer[:1] != READY:
        raise Unavailable(f"the process that compiles ended with status {status}")
    kind, rest = answer[1:2], answer[2:]
    if kind == REFUSED:
        raise Refused(rest.decode(errors="replace"))
    code = memoryview(rest)[SIZE_BYTES:]
    if kind == DONE and len(code) == int.from_bytes(rest[:SIZE_BYTES], "little"):
        return bytes(code)
    why = _why(status, time.monotonic() - began, budget)
    if len(_abandoned) >= _REMEMBERED:
        _abandoned.clear()
    _abandoned[key] = budget, why
    raise OverBudget(why)


#: Budget and reason by the module's digest, of what this process has abandoned.
_abandoned: dict[bytes, tuple[float, str]] = {}
_REMEMBERED = 1000


def _why(status: int, took: float, budget: float) -> str:
    # The status may be lost: a server's handler of SIGCHLD may be quicker to ask for it.
    if status in (-signal.SIGPROF, -signal.SIGXCPU) or (status >= 0 and took >= budget):
        return f"takes more than {budget:g} s of processor time to compile"
    if status in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):
        return (
            f"takes more than {MAX_MEMORY >> 20} MiB of memory to compile, or breaks the compiler"
        )
    return f"breaks the compiler: its process ended with status {status}"


def _run(data: bytes) -> tuple[bytes, int]:
    """Give ``data`` to the process that compiles; return what it says, and its status."""
    if os.name != "posix":
        raise Unavailable("only POSIX systems limit a process's time")
    if not os.path.basename(sys.executable or "").startswith(("python", "pypy")):
        raise Unavailable(f"sys.executable is {sys.executable!r}, no Python interpreter")
    close = osthread.close  # gevent's waits for the hub, and we for the end
    try:
        in_read, in_write = os.pipe()
    except OSError as exc:
        raise _cannot_start(exc) from exc
    try:
        out_read, out_write = os.pipe()
    except OSError as exc:
        close(in_read)
        close(in_write)
        raise _cannot_start(exc) from exc
    try:
        pid = _start(in_read, out_write)
    except OSError as exc:
        close(in_write)
        close(out_read)
        raise _cannot_start(exc) from exc
    finally:
        close(in_read)
        close(out_write)
    try:
        with open(out_read, "rb", buffering=0) as output:
            # It may end before it has read all: its status says why.
            with contextlib.suppress(BrokenPipeError), open(in_write, "wb", buffering=0) as given:
                left = memoryview(data)
                while left:
                    left = left[given.write(left) :]
            return output.read(), _status(pid)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _status(pid)
        raise


def _cannot_start(exc: OSError) -> Unavailable:
    return Unavailable(f"no process can be started: {exc.strerror}")


def _start(stdin: int, stdout: int) -> int:
    """Start the process that compiles, and return its id.

    Not through `subprocess`, which under gevent needs the hub, and there is none in a real thread.
    """
    executable = sys.executable
    pid: int = osthread.original("os", "posix_spawn")(
        executable,
        [executable, "-I", "-S", compile_child.__file__],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
    )
    return pid


def _status(pid: int) -> int:
    """Wait for a process; minus the signal that ended it, or its exit status, 0 if that is lost."""
    try:
        return os.waitstatus_to_exitcode(osthread.original("os", "waitpid")(pid, 0)[1])
    except ChildProcessError:
        return 0
