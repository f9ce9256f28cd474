#!/usr/bin/env python3
"""Rebuilds the plugins in this folder from their sources.

::

    (cd plugin_host/sdk/assemblyscript && npm ci)    # once: the compiler
    python plugins/build.py                          # all; or name some
    python plugins/build.py --check                  # compare only, byte for byte

The same sources give the same bytes on any machine and in any folder: the compiler's version is
pinned, and it runs in a temporary folder in which only the SDK, one plugin's sources and what
plugins share (``src/shared``) lie.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PLUGINS: Final = Path(__file__).resolve().parent
SDK: Final = PLUGINS.parent / "plugin_host" / "sdk" / "assemblyscript"
SHARED: Final = PLUGINS / "src" / "shared"
ASC: Final = SDK / "node_modules" / "assemblyscript" / "bin" / "asc.js"

#: What is built, below this folder, from which source.
OUTPUTS: Final = {
    "flash_sale.wasm": "src/flash_sale/index.ts",
    "bulk_discount.wasm": "src/bulk_discount/index.ts",
    "variants/three_for_two.wasm": "src/bulk_discount/three_for_two.ts",
    "guard.wasm": "src/guard/index.ts",
    "rate_limit.wasm": "src/rate_limit/index.ts",
    "inventory_hold.wasm": "src/inventory_hold/index.ts",
}


class BuildError(Exception):
    """The compiler is missing, or did not like the sources."""


def missing_tool() -> str:
    """Say which tool is missing and what to do about it; empty if none is."""
    if shutil.which("node") is None:
        return "node is not installed; Node.js 20 or later compiles AssemblyScript"
    if not ASC.is_file():
        return f"the compiler is not installed; run: npm ci --prefix {os.path.relpath(SDK)}"
    return ""


def compile_source(entry: Path, options: Iterable[str] = ()) -> bytes:
    """Return the module that ``entry`` compiles to.

    It may import the ``.ts`` files beside it, and what plugins share from ``../shared``.

    :param options: for the compiler, beside those in the SDK's ``asconfig.json``.
    :raises BuildError: with the compiler's messages.
    """
    if missing := missing_tool():
        raise BuildError(missing)
    with tempfile.TemporaryDirectory(prefix="plugin-build-") as name:
        folder = Path(name)
        package = folder / "node_modules" / "@flask-plugin-host" / "sdk"
        shutil.copytree(SDK / "assembly", package / "assembly")
        shutil.copy(SDK / "index.ts", package)
        shutil.copy(SDK / "asconfig.json", folder)
        for place, sources in (("plugin", entry.parent), ("shared", SHARED)):
            (folder / place).mkdir()
            for source in sources.glob("*.ts"):
                shutil.copy(source, folder / place)
        return _run(folder, [f"plugin/{entry.name}", "--outFile", "out.wasm", *options])


def _run(folder: Path, arguments: list[str]) -> bytes:
    command = ["node", str(ASC), *arguments]
    done = subprocess.run(  # noqa: S603 - our own compiler on our own sources
        command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode != 0:
        raise BuildError(f"asc {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return (folder / "out.wasm").read_bytes()


def _write(path: Path, module: bytes) -> None:
    # Renamed into place: a running site never sees half a file.
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(module)
    temporary.replace(path)


def build(output: str, *, check: bool) -> bool:
    """Build one output; with ``check``, only say whether it is as its sources make it."""
    path = PLUGINS / output
    module = compile_source(PLUGINS / OUTPUTS[output])
    same = path.is_file() and path.read_bytes() == module
    if not check and not same:
        path.parent.mkdir(exist_ok=True)
        _write(path, module)
    state = "unchanged" if same else "DIFFERS from its sources" if check else "written"
    print(f"{output}: {len(module)} bytes, {state}")
    return same or not check


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    parser.add_argument("output", nargs="*", choices=[*OUTPUTS, []], help="what to build")
    options = parser.parse_args(arguments)
    try:
        results = [build(name, check=options.check) for name in options.output or OUTPUTS]
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
