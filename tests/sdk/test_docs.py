"""`docs/writing-plugins.md` against the SDK, the compilers and the host."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plugin_host.config import CAPABILITIES
from plugin_host.sdk import LANGUAGES, __main__, path

from .conftest import ROOT, MakeApp, state

DOCUMENT = (ROOT / "docs" / "writing-plugins.md").read_text()
ASSEMBLY = ROOT / "plugin_host" / "sdk" / "assemblyscript" / "assembly"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


def documented() -> set[str]:
    """Every name in the reference's code spans, without parameters."""
    reference = DOCUMENT[DOCUMENT.index("## The AssemblyScript SDK") :]
    spans = re.findall(r"`([^`\n]+)`", reference)
    return {span.partition("(")[0].rpartition(".")[2] for span in spans}


def exported() -> set[str]:
    text = (ASSEMBLY / "index.ts").read_text()
    lists = re.findall(r"export \{([^}]+)\}", text)
    return {name.strip() for names in lists for name in names.split(",")}


def members(file: str) -> set[str]:
    """Public members of the classes in a file; what is marked internal is not for authors."""
    text = (ASSEMBLY / file).read_text()
    body = "".join(re.findall(r"^export class .*?^}", text, re.MULTILINE | re.DOTALL))
    body = re.sub(r"/\*\*(?:(?!\*/).)*@internal \*/\s*\n.*", "", body)
    pattern = r"^  (?:static |readonly |get |@lazy )*(?!private|protected|constructor)(\w+)[(:]"
    return set(re.findall(pattern, body, re.MULTILINE))


def test_every_export() -> None:
    """Every name that the SDK exports is explained."""
    assert exported() - documented() == set()


@pytest.mark.parametrize(
    "file",
    [
        "request.ts",
        "response.ts",
        "message.ts",
        "record.ts",
        "http.ts",
        "view.ts",
        "json.ts",
        "state.ts",
    ],
)
def test_every_member(file: str) -> None:
    """Every public member of the SDK's classes is explained."""
    found = members(file)
    assert len(found) >= 4
    assert found - documented() == set()


@pytest.mark.node
@pytest.mark.parametrize("index", range(7))
def test_assemblyscript(
    build: Any, tmp_path: Path, folder: Path, make_app: Any, index: int
) -> None:
    """The AssemblyScript examples compile and load."""
    source = tmp_path / "index.ts"
    source.write_text(blocks("ts")[index])
    (folder / "example.wasm").write_bytes(build.compile_source(source))
    assert len(blocks("ts")) == 7
    loads(make_app)


@pytest.mark.node
def test_first_plugin(build: Any, tmp_path: Path) -> None:
    """The first example and the test beside it, as printed, pass."""
    (index,) = (i for i, text in enumerate(blocks("ts")) if "setPath" in text)
    source = tmp_path / "index.ts"
    source.write_text(blocks("ts")[index])
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "language.wasm").write_bytes(build.compile_source(source))
    (tmp_path / "test_language.py").write_text(blocks("python")[0])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_language.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.node
@pytest.mark.parametrize(("index", "part"), [(0, "setPath"), (1, "replyJson(quote)")])
def test_recorded_calls(
    build: Any, tmp_path: Path, folder: Path, make_app: MakeApp, index: int, part: str
) -> None:
    """The calls that the page records come out as it says with the page's plugins."""
    (source,) = (text for text in blocks("ts") if part in text)
    (recorded,) = (text for text in blocks("toml") if "[[selftest]]" in text)
    (tmp_path / "index.ts").write_text(source)
    (folder / "example.wasm").write_bytes(build.compile_source(tmp_path / "index.ts"))
    (folder / "example.toml").write_text("[[selftest]]" + recorded.split("[[selftest]]")[index + 1])
    loads(make_app)


def test_text(folder: Path, make_app: MakeApp) -> None:
    """The example in WebAssembly text loads and adds its header."""
    (folder / "example.wat").write_text(blocks("wat")[0])
    assert loads(make_app).get("/").headers["x-hello"] == "a text"


@pytest.mark.clang
def test_c(folder: Path, tmp_path: Path, make_app: MakeApp) -> None:
    """The example in C compiles with the printed command, loads and adds its header."""
    if not (shutil.which("clang") and shutil.which("wasm-ld")):
        pytest.skip("clang or wasm-ld is not installed")
    (tmp_path / "hello.c").write_text(blocks("c")[0])
    (command,) = (text for text in blocks("sh") if text.startswith("clang"))
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    shutil.copy(tmp_path / "hello_c.wasm", folder)
    assert loads(make_app).get("/").headers["x-hello"] == "from C"


@pytest.mark.parametrize(
    ("language", "file", "header"),
    [
        pytest.param("go", "main.go", "from Go", marks=pytest.mark.go),
        pytest.param("rust", "hook.rs", "from Rust", marks=pytest.mark.rust),
    ],
)
def test_wasi(
    folder: Path, tmp_path: Path, make_app: MakeApp, language: str, file: str, header: str
) -> None:
    """The examples in Go and Rust compile with the printed commands, load and add their header."""
    tool = {"go": "go build", "rust": "rustc"}[language]
    if not shutil.which(tool.partition(" ")[0]):
        pytest.skip(f"{tool} is not installed")
    (tmp_path / file).write_text(blocks(language)[0])
    (command,) = re.findall(rf"^.*{tool} .*$", "".join(blocks("sh")), re.MULTILINE)
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "target may not be installed" in done.stderr:
        pytest.skip("not installed: wasm32-wasip1 (rustup target add wasm32-wasip1)")
    assert done.returncode == 0, done.stderr
    shutil.copy(tmp_path / "hook.wasm", folder)
    assert loads(make_app).get("/").headers["x-hello"] == header


def loads(make_app: MakeApp) -> Any:
    """A client of a site whose only plugin is the example."""
    app, plugins = make_app(GRANTS=list(CAPABILITIES))
    client = app.test_client()
    (loaded,) = state(plugins, client)
    assert (loaded["state"], loaded["load_error"]) == ("serving", None)
    return client


def test_pinned() -> None:
    """The page, the SDK's page and its package name the same compiler."""
    package = (ASSEMBLY.parent / "package.json").read_text()
    (version,) = re.findall(r'"assemblyscript": "([^"]+)"', package)
    readme = (ASSEMBLY.parent / "README.md").read_text()
    for text in (DOCUMENT, readme):
        assert set(re.findall(r"assemblyscript@(\S+)", text)) == {version}


def test_lock_names_no_registry() -> None:
    """The lock file pins by hash and leaves the registry to whoever installs."""
    lock = (ASSEMBLY.parent / "package-lock.json").read_text()
    assert '"integrity"' in lock
    assert '"resolved"' not in lock


def test_where_the_sdk_lies(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m plugin_host.sdk LANGUAGE` prints the SDK's folder; without one, how to ask."""
    for language in LANGUAGES:
        assert __main__.main([language]) == 0
        assert capsys.readouterr().out == f"{path(language)}\n"
        assert path(language).is_dir()
    assert __main__.main([]) == 2
    assert __main__.main(["cobol"]) == 2
    assert "assemblyscript" in capsys.readouterr().err
    with pytest.raises(ValueError, match="'cobol'"):
        path("cobol")
