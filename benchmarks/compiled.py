"""Compiled glue as a peer: what marshalling costs when no Python takes part in it.

Built from C into a temporary folder on each run; skipped without a compiler or Python's headers.
"""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
import sysconfig
import tempfile
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks.measure import Skipped
from benchmarks.technology import GUESTS, Technology, guest, optional
from benchmarks.works import Environ

_BUFFER = 65536


@cache
def _extension() -> Any:
    """The extension module, built anew. Raises `Skipped`."""
    compiler = shutil.which("cc") or shutil.which("clang") or shutil.which("gcc")
    include = sysconfig.get_path("include")
    if compiler is None:
        raise Skipped("there is no C compiler")
    if not (Path(include) / "Python.h").exists():
        raise Skipped("Python's headers are not installed")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "compiled_glue.so"
        source = GUESTS / "compiled_glue.c"
        command: list[str | Path] = [
            compiler,
            "-O2",
            "-shared",
            "-fPIC",
            f"-I{include}",
            "-o",
            target,
            source,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Skipped(f"it does not build: {done.stderr.strip().splitlines()[-1]}")
        spec = importlib.util.spec_from_file_location("compiled_glue", target)
        if spec is None or spec.loader is None:
            raise Skipped("it does not load")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


class CompiledGlue(Technology):
    """The native guest, called from C."""

    name = "compiled glue"
    cold_start = False  # its cold start is a compiler's

    def __init__(self) -> None:
        wasmtime = optional("wasmtime", "wasmtime")
        ffi = optional("wasmtime._ffi", "wasmtime")
        extension = _extension()
        engine = wasmtime.Engine()
        self._store = wasmtime.Store(engine)
        module = wasmtime.Module(engine, guest("native.wasm"))
        exports = wasmtime.Instance(self._store, module, []).exports(self._store)
        buffer = exports["ph_alloc"](self._store, _BUFFER)
        context = self._store._context()
        # The function's struct is kept: its address is used for as long as this object lives.
        self._function = exports["on_request"]._func
        extension.setup(
            _address(ffi.dll.wasmtime_func_call_unchecked),
            _address(context),
            ctypes.addressof(self._function),
            _address(exports["memory"].data_ptr(self._store)),
            buffer,
            BytesIO,
        )
        self._edit = extension.edit

    def edit(self, environ: Environ) -> Environ:
        edited: Environ = self._edit(environ)
        return edited

    def close(self) -> None:
        self._store.close()


def _address(pointer: Any) -> int:
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0
