"""The other end of `compiler`: compiles one module in a process of its own.

Run as a script, not imported: it needs wasmtime alone, and loads as little of it as it can. Through
the C API of wasmtime's library it is ready in 30 ms; importing the package takes 80.

Standard input: a line of JSON, then the module. Standard output: `READY` once it can compile, then
`DONE`, the size of the compiled code and the code, or `REFUSED` and the engine's words.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

READY, DONE, REFUSED = b"+", b"=", b"!"
SIZE_BYTES = 8
#: What is used of the C API, besides what makes an engine, and the name of what sets an option.
COMPILES = ("wasmtime_module_new", "wasmtime_module_serialize")
OPTION = "wasmtime_config_{}_set"


class Refused(Exception):
    """The engine does not accept the module; the text is the engine's."""


def main() -> None:
    """Compile what standard input says, under its limits."""
    os.closerange(3, 1 << 16)  # a server's listening sockets, say
    told = json.loads(sys.stdin.buffer.readline())
    wasm = sys.stdin.buffer.read()
    import resource
    import signal

    os.nice(told["nice"])
    if told["library"]:
        serialized = _by_library(told["library"], told["options"])
    else:
        serialized = _by_package(told["path"], told["options"])
    out = sys.stdout.buffer
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
        code = serialized(wasm)
    except Refused as exc:
        out.write(REFUSED + str(exc).encode())
    else:
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write(DONE + len(code).to_bytes(SIZE_BYTES, "little"))
        out.write(code)


def _by_library(path: str, options: dict[str, bool]) -> Callable[[bytes], bytes]:
    """Compile through the C API (wasm.h and wasmtime.h), whose names `bindings.c_api` checked."""
    from ctypes import CDLL, byref, c_bool, c_size_t, c_void_p, string_at

    library = CDLL(path)
    for name in ("wasm_config_new", "wasm_engine_new_with_config", *COMPILES):
        getattr(library, name).restype = c_void_p
    config = c_void_p(library.wasm_config_new())
    for name, on in options.items():
        getattr(library, OPTION.format(name))(config, c_bool(on))
    engine = c_void_p(library.wasm_engine_new_with_config(config))

    def check(error: int | None) -> None:
        if error is not None:
            text = (c_size_t * 2)()  # a wasm_byte_vec_t: size and address
            library.wasmtime_error_message(c_void_p(error), text)
            raise Refused(string_at(text[1], text[0]).decode(errors="replace"))

    def serialized(wasm: bytes) -> bytes:
        module, code = c_void_p(), (c_size_t * 2)()
        check(library.wasmtime_module_new(engine, wasm, c_size_t(len(wasm)), byref(module)))
        check(library.wasmtime_module_serialize(module, code))
        return string_at(code[1], code[0])

    return serialized


def _by_package(path: list[str], options: dict[str, bool]) -> Callable[[bytes], bytes]:
    """Compile through wasmtime-py's public API; ``path`` is to be `sys.path`."""
    sys.path[:] = path
    import wasmtime

    config = wasmtime.Config()
    for name, on in options.items():
        setattr(config, name, on)
    engine = wasmtime.Engine(config)

    def serialized(wasm: bytes) -> bytes:
        try:
            return bytes(wasmtime.Module(engine, wasm).serialize())
        except wasmtime.WasmtimeError as exc:
            raise Refused(str(exc)) from exc

    return serialized


def _limit(kind: int, most: int) -> None:
    """Lower a limit, if it is not lower already."""
    import resource

    soft, hard = resource.getrlimit(kind)
    known = [limit for limit in (most, soft, hard) if limit != resource.RLIM_INFINITY]
    try:
        resource.setrlimit(kind, (min(known), hard))
    except (ValueError, OSError):
        pass  # not every system has every limit


if __name__ == "__main__":
    main()
