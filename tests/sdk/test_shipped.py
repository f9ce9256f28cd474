"""The plugins that ship in `plugins/`: as their sources make them, and loadable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from plugin_host.folder.scan import Candidate
from plugin_host.manifest import parse_manifest

from .conftest import PLUGINS, Site, state


def _outputs() -> list[str]:
    text = (PLUGINS / "build.py").read_text()
    return re.findall(r'^    "([^"]+\.wasm)": ', text, re.MULTILINE)


@pytest.mark.node
@pytest.mark.parametrize("output", _outputs())
def test_rebuilt(build: Any, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A shipped module is byte for byte what its sources make."""
    assert build.main(["--check", output]) == 0, capsys.readouterr()


def test_all_built() -> None:
    """Every module in the folder has its sources named in the build command, and its manifest."""
    modules = sorted(str(path.relative_to(PLUGINS)) for path in PLUGINS.rglob("*.wasm"))
    assert modules == sorted(_outputs())
    stems = {path.stem for path in (*PLUGINS.glob("*.wasm"), *PLUGINS.glob("*.wat"))}
    assert stems == {path.stem for path in PLUGINS.glob("*.toml")}


@pytest.mark.parametrize(
    "name", sorted(path.name for kind in ("wasm", "wat") for path in PLUGINS.glob(f"*.{kind}"))
)
def test_loads(site: Site, name: str) -> None:
    """Every shipped plugin loads with its own manifest, schema included."""
    client, plugins = site(name.partition(".")[0], name)
    (loaded,) = state(plugins, client)
    assert (loaded["state"], loaded["load_error"]) == ("serving", None)


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("*.toml")), ids=lambda path: path.stem)
def test_self_tested(path: Path) -> None:
    """Every shipped manifest records calls, which `test_loads` makes."""
    assert parse_manifest(path, stem=path.stem, text=path.read_bytes()).selftest


def test_the_variant_passes_the_self_tests(site: Site) -> None:
    """What is to be copied over `bulk_discount.wasm` loads with the manifest that stays."""
    client, plugins = site("bulk_discount", "variants/three_for_two.wasm")
    (loaded,) = state(plugins, client)
    assert (loaded["state"], loaded["load_error"]) == ("serving", None)


def test_hello(site: Site) -> None:
    """`hello.wat` adds its header to every response."""
    client, _ = site("hello", "hello.wat")
    assert client.get("/nowhere").headers["x-hello"] == "from wasm"


def test_the_readme_names_the_right_version() -> None:
    """The digest in the README's line of the log is that of what the reader has copied there."""
    text = (PLUGINS.parent / "README.md").read_text()
    (printed,) = re.findall(r"version 1\.0\.0 \((\w{12})\) keeps serving", text)
    manifest = (PLUGINS / "bulk_discount.toml").read_bytes()
    paths = [Path("bulk_discount.wasm"), Path("bulk_discount.toml")]
    changed = manifest.replace(b"percent = 10\n", b"percent = 25\n")
    contents = [(PLUGINS / "variants" / "three_for_two.wasm").read_bytes(), changed]
    assert Candidate.of("bulk_discount", paths, contents).digest[:12] == printed
