"""The other end of `compiler`: compiles one module in a process of its own.

Run as a script, not imported: it needs wasmtime alone, and starts in a tenth of a second because it
loads nothing else. Standard input: a line of JSON, then the module. Standard output: `READY` once
it can compile, then `DONE`, the size of the compiled code and the code, or `REFUSED` and the
engine's words.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

READY, DONE, REFUSED = b"+", b"=", b"!"
SIZE_BYTES = 8


def main() -> None:
    """Compile what standard input says, under its limits."""
    os.closerange(3, 1 << 16)  # a server's listening sockets, say
    told = json.loads(sys.stdin.buffer.readline())
    sys.path[:] = told["path"]
    wasm = sys.stdin.buffer.read()
    import resource
    import signal

    import wasmtime

    os.nice(told["nice"])
    config = wasmtime.Config()
    for name, value in told["options"].items():
        setattr(config, name, value)
    engine, out = wasmtime.Engine(config), sys.stdout.buffer
    out.write(READY)
    out.flush()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, told["memory"])
    # Processor time, not the clock's: a busy machine is no fault of the module. Its signal ends the
    # process in the middle of native code, which no thread could be ended in.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    signal.setitimer(signal.ITIMER_PROF, told["budget"])
    try:
        code = wasmtime.Module(engine, wasm).serialize()
    except wasmtime.WasmtimeError as exc:
        out.write(REFUSED + str(exc).encode())
    else:
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write(DONE + len(code).to_bytes(SIZE_BYTES, "little"))
        out.write(code)


def _limit(kind: int, most: int) -> None:
    """Lower a limit, if it is not lower already."""
    import resource

    soft, hard = resource.getrlimit(kind)
    known = [limit for limit in (most, soft, hard) if limit != resource.RLIM_INFINITY]
    with contextlib.suppress(ValueError, OSError):  # not every system has every limit
        resource.setrlimit(kind, (min(known), hard))


if __name__ == "__main__":
    main()
