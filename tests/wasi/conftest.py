"""Guests in C, Rust and Go: as they were built once, and as the compilers of this machine do."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from guests import MakeApp

SOURCES: Final = Path(__file__).parent / "guests"


def build_c(target: Path) -> None:
    """Compile with clang and wasi-libc."""
    options = "--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-Wl,--strip-all"
    _run("clang", *options, "-Wall", "-Wextra", "-Werror", "-o", target, SOURCES / "c/hook.c")


def build_rust(target: Path) -> None:
    """Compile with rustc and the standard library for WASI, under its new or its old name."""
    name = next(filter(_has_rust_target, ("wasm32-wasip1", "wasm32-wasi")), None)
    if name is None:
        pytest.skip("not installed: wasm32-wasip1 (rustup target add wasm32-wasip1)")
    options = "opt-level=s", "lto=yes", "panic=abort", "strip=symbols"
    codegen = [part for option in options for part in ("-C", option)]
    kind = "--edition", "2021", "--crate-type", "cdylib", "--target", name
    # The path that is given here becomes a part of the module.
    _run("rustc", *kind, *codegen, "-o", target, "rust/hook.rs", cwd=SOURCES)


def build_go(target: Path) -> None:
    """Compile with Go, as a reactor."""
    options = "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w"
    wasm = {"GOOS": "wasip1", "GOARCH": "wasm", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    _run("go", "build", *options, "-o", target, ".", cwd=SOURCES / "go", **wasm)


def _has_rust_target(name: str) -> bool:
    command = ["rustc", "--print", "target-libdir", "--target", name]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.returncode == 0 and Path(found.stdout.strip()).is_dir()


def _run(*command: object, cwd: Path | None = None, **variables: str) -> None:
    environ = {**os.environ, **variables}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


BUILD: Final[dict[str, Callable[[Path], None]]] = {
    "c": build_c,
    "rust": build_rust,
    "go": build_go,
}


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build a language's guest, once, and return the module."""
    done: dict[str, Path] = {}

    def built(language: str) -> Path:
        if language not in done:
            target = tmp_path_factory.mktemp(language) / f"{language}.wasm"
            BUILD[language](target)
            done[language] = target
        return done[language]

    return built


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory for all sites, so that each guest is compiled once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def make_site(make_app: MakeApp, data_dir: Path) -> MakeApp:
    """Make an app as `make_app` does, with compiled guests kept, and without a probation."""
    return functools.partial(make_app, DATA_DIR=str(data_dir), PROBATION_FAILURES=0)


@pytest.fixture(
    params=[
        pytest.param("c/hook.wasm", id="c"),
        pytest.param("rust/hook.wasm", id="rust"),
        pytest.param("c", id="c-built", marks=pytest.mark.wasi_libc),
        pytest.param("rust", id="rust-built", marks=pytest.mark.rust),
        pytest.param("go", id="go-built", marks=pytest.mark.go),
    ]
)
def language(request: pytest.FixtureRequest, folder: Path, build: Callable[[str], Path]) -> str:
    """A language, whose guest lies in the plugins folder; what fails there is raised."""
    kept = SOURCES / request.param
    module = kept if kept.is_file() else build(request.param)
    language = str(request.param).partition("/")[0]
    shutil.copy(module, folder / f"{language}.wasm")
    (folder / f"{language}.toml").write_text('on_failure = "fail"\n')
    return language
