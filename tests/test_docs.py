"""The documentation says everything that there is, and nothing that there is not."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any, Final

import click
import guests
import pytest
from flask import Flask

import plugin_host
from plugin_host import PluginHost, errors
from plugin_host.cli import cli
from plugin_host.config import CAPABILITIES, KEYS, Settings
from plugin_host.hookspec import HTTP_HOOKS
from plugin_host.hostfunctions import wasi
from plugin_host.hostfunctions.offered import functions
from plugin_host.hostfunctions.services import Services
from plugin_host.manifest import MANIFEST_KEYS

ROOT: Final = Path(__file__).resolve().parents[1]
DEFAULTS: Final = Settings.from_mapping({}, ROOT)
PAGES: Final = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
}
README: Final = PAGES["README.md"]
SKIPPED: Final = {"node_modules", "__pycache__", "build", "dist", "instance"}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]*)\)")
_CODE = re.compile(r"`([^`\n]+)`")


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", PAGES[page])


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [text for name, text in _FENCE.findall(PAGES[page]) if name == language]


def headings(page: str) -> list[str]:
    """The headings of a page, of all levels."""
    return re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)


def anchor(heading: str) -> str:
    """The fragment that links to a heading, as the usual renderers make it."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def first_cells(page: str) -> dict[str, str]:
    """The rows of a page's tables whose first cell is code, by that code."""
    rows = re.findall(r"^\| `([^`]+)`[^|]* \|(.*)$", PAGES[page], re.MULTILINE)
    return dict(rows)


def files() -> Iterator[Path]:
    """The files of the project: what git tracks, or without git what lies here."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        yield from (ROOT / name for name in listed.stdout.split("\0") if name)
        return
    for path in ROOT.rglob("*"):
        if not SKIPPED & {*path.parts} and not path.name.endswith(".egg-info"):
            yield path


def sources() -> Iterator[Path]:
    """The code of the project."""
    yield from (path for path in files() if path.suffix in {".py", ".ts", ".c", ".h", ".sh"})


# What there is, is documented


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_configuration_key_is_documented(key: object) -> None:
    """Each PLUGIN_HOST_ key has its row in configuration.md, with the default that holds."""
    name, default = key.name, key.default  # type: ignore[attr-defined]
    row = first_cells("docs/configuration.md")[name]
    text = f'"{default}"' if isinstance(default, str) else str(default).replace("'", '"')
    assert f"`{text}`" == row.split("|")[0].strip()


def test_every_manifest_key_is_documented() -> None:
    """Each key of a manifest has its row in configuration.md."""
    missing = {key for key, _ in MANIFEST_KEYS} - first_cells("docs/configuration.md").keys()
    assert missing == set()


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_is_documented(name: str) -> None:
    """Each command has a row in operations.md and a section in cli.md that names its options."""
    rows = first_cells("docs/operations.md")
    assert any(row.startswith(f"flask plugins {name}") for row in rows)
    command = cli.commands[name]
    below = [*command.commands.values()] if isinstance(command, click.Group) else [command]
    options = {
        option
        for each in below
        for parameter in each.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    assert {option for option in options if f"`{option}" not in PAGES["docs/cli.md"]} == set()
    headings = {
        f"## `flask plugins {name}" + f" {each.name}" * (each is not command) for each in below
    }
    assert {h for h in headings if h not in PAGES["docs/cli.md"]} == set()


def test_every_error_is_documented() -> None:
    """Each class of error has its row in operations.md."""
    raised = {
        name
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, BaseException) and value.__module__ == errors.__name__
    }
    assert raised | {"HookFailed"} <= first_cells("docs/operations.md").keys()


def test_every_public_name_is_documented() -> None:
    """Each name in ``__all__`` is an error of operations.md or stands in quickstart.md's table."""
    documented = first_cells("docs/operations.md").keys()
    documented |= {row.split("(")[0] for row in first_cells("docs/quickstart.md")}
    assert set(plugin_host.__all__) <= documented


def test_every_public_method_is_documented() -> None:
    """Each method of PluginHost is in quickstart.md's table, with its parameters as they are."""
    rows = first_cells("docs/quickstart.md")
    for name, method in inspect.getmembers(PluginHost, inspect.isfunction):
        if name.startswith("_"):
            continue
        row = next(row for row in rows if row.startswith(f"PluginHost.{name}("))
        wanted = [
            parameter.name if parameter.default is parameter.empty
            else f"{parameter.name}={parameter.default!r}".replace("'", '"')
            for parameter in list(inspect.signature(method).parameters.values())[1:]
        ]  # fmt: skip
        assert wanted == [
            item for item in row[:-1].split("(")[1].split(", ") if item not in ("", "*")
        ]


def test_the_quickstart_runs_as_printed(tmp_path: Path) -> None:
    """Its code, one block after the other, makes an app that answers, tells and asks."""
    code = blocks("docs/quickstart.md", "python")
    (view,) = (block for block in code if block.startswith("total ="))
    code.remove(view)
    names: dict[str, Any] = {"__name__": "shop_of_the_page", "app": Flask("shop_of_the_page")}
    for block in code:
        exec(compile(block, "quickstart.md", "exec"), names)  # the page's own code
    make, apps = names["create_app"], list[Flask]()
    names["create_app"] = lambda config: apps.append(make(config)) or apps[-1]
    names["test_price"](tmp_path)
    try:
        with apps[0].app_context():
            exec(compile(view, "quickstart.md", "exec"), names)
    finally:
        apps[0].extensions["plugin_host"].close()
    assert names["total"] == 4350


@pytest.mark.parametrize("hook", HTTP_HOOKS)
def test_every_http_hook_is_documented(hook: str) -> None:
    """The HTTP hooks are described for app developers, for authors, and in the contract."""
    for page in ("docs/quickstart.md", "docs/writing-plugins.md", "docs/abi.md"):
        assert f"`{hook}`" in prose(page)


def test_every_hook_of_the_shop_is_documented() -> None:
    """quickstart.md names the business hooks that the shop declares, and how they combine."""
    source = (ROOT / "webapp" / "hooks.py").read_text(encoding="utf-8")
    declared = re.findall(r'hookspec\("(\w+)", combine="(\w+)"', source)
    assert declared
    for name, combine in declared:
        assert f"`{name}` (`{combine}`)" in prose("docs/quickstart.md")


def test_every_host_function_is_documented() -> None:
    """abi.md's table of imports is the host's, with types and capabilities."""
    offered = {
        f"{item.module}.{item.name}": (len(item.params), item.results, group.capability)
        for item, group in functions(Services.of("unused", DEFAULTS)).values()
        if item.module != wasi.MODULE
    }
    documented = {}
    for name, row in first_cells("docs/abi.md").items():
        if "." not in name:
            continue
        kind, capability = (cell.strip().strip("`–") for cell in row.split("|")[:2])
        params, result = kind.split(" -> ")
        results = () if result == "()" else (result,)
        documented[name] = (len(params.strip("()").split(",")), results, capability)
    assert offered == documented


def test_every_capability_is_documented() -> None:
    """configuration.md names every capability that can be granted."""
    assert all(f"`{name}`" in prose("docs/configuration.md") for name in CAPABILITIES)


def test_status_is_documented(tmp_path: Path) -> None:
    """operations.md names exactly the keys that status() has."""
    (tmp_path / "good.wat").write_text(guests.adding("x-good", "1"))
    app = Flask("documented")
    app.config.update(PLUGIN_HOST_DIR=str(tmp_path), PLUGIN_HOST_DATA_DIR="")
    plugins = PluginHost(app)
    with app.app_context():
        status = plugins.status()
    app.extensions["plugin_host"].close()
    section = PAGES["docs/operations.md"].split("## Status")[1].split("\n## ")[0]
    rows = {
        tuple(_CODE.findall(first)): _CODE.findall(rest)
        for first, rest in re.findall(r"^\| (`[^|]+) \|(.*)$", section, re.MULTILINE)
    }
    assert set(status) == {name for names in rows for name in names}
    assert set(status["watcher"]) <= set(rows["watcher",])
    assert set(status["plugins"][0]) <= set(rows["plugins",])


# What is documented, is there


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Each relative link names a file, and each fragment a heading of it."""
    broken = []
    for link in _LINK.findall(prose(page)):
        target, _, fragment = link.partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        name = str(path.resolve().relative_to(ROOT))
        if not path.exists() or (fragment and fragment not in map(anchor, headings(name))):
            broken.append(link)
    assert broken == []


def test_the_code_links_to_headings_of_the_rationale() -> None:
    """Each ``docs/rationale.md, "Why …"`` in the code is a heading there."""
    known = {heading.rstrip("?") for heading in headings("docs/rationale.md")}
    linked = {}
    for path in sources():
        if path == Path(__file__):
            continue
        text = re.sub(r"\s*\n[\s#/*]*", " ", path.read_text(encoding="utf-8"))
        for why in re.findall(r'rationale(?:\.md)?[,:] "(Why[^"]+)"', text):
            linked[why.rstrip("?")] = str(path.relative_to(ROOT))
    assert linked
    assert {why: path for why, path in linked.items() if why not in known} == {}


@pytest.mark.parametrize("page", PAGES)
def test_documented_keys_exist(page: str) -> None:
    """Each PLUGIN_HOST_ key that a page names is one, or a variable of the tests."""
    known = {key.name for key in KEYS}
    found = set(re.findall(r"\bPLUGIN_HOST_[A-Z][A-Z_]*[A-Z]\b", PAGES[page]))
    found |= {name[6:] for name in re.findall(r"\bFLASK_PLUGIN_HOST_[A-Z_]*[A-Z]\b", PAGES[page])}
    tests = {"PLUGIN_HOST_TESTS_REQUIRE", "PLUGIN_HOST_TESTS_FAST_CALL"}
    assert found - known - tests == set()


def test_documented_manifest_keys_exist() -> None:
    """Each row of configuration.md is a key of the app or of a manifest."""
    known = {key.name for key in KEYS} | {key for key, _ in MANIFEST_KEYS}
    assert first_cells("docs/configuration.md").keys() - known == set()


@pytest.mark.parametrize("page", PAGES)
def test_documented_commands_exist(page: str) -> None:
    """Each ``flask plugins NAME`` that a page names is a command."""
    named = set(re.findall(r"\bflask(?: --app \S+)? plugins ([a-z]+)", PAGES[page]))
    assert named - cli.commands.keys() == set()


@pytest.mark.parametrize("page", PAGES)
def test_documented_errors_exist(page: str) -> None:
    """Each row of operations.md's table of errors, and each …Error of ours named, is public."""
    foreign = {"ValueError", "OSError", "TypeError", "KeyError", "RuntimeError", "WasmtimeError"}
    named = {name for name in _CODE.findall(prose(page)) if re.fullmatch(r"[A-Z]\w+Error", name)}
    assert named - foreign - set(plugin_host.__all__) == set()


@pytest.mark.parametrize("page", PAGES)
def test_documented_files_exist(page: str) -> None:
    """Each file of the project that a page names as code is there."""
    tops = "benchmarks|docs|plugin_host|plugins|tests|webapp|.ci"
    named = {
        name
        for name in _CODE.findall(prose(page))
        if re.fullmatch(rf"(?:{tops})/[\w./-]+", name.rstrip("/"))
    }
    yours = {"plugins/first.wat"}  # what a page asks its reader to make
    assert {name for name in named - yours if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_are_python(page: str) -> None:
    """Each block marked as Python compiles."""
    for block in blocks(page, "python"):
        ast.parse(block)


# The README keeps its word


def test_the_readme_has_the_two_commands() -> None:
    """One command installs and serves, one installs and tests, with extras that exist."""
    assert "pip install -e . && gunicorn wsgi:app\n" in blocks("README.md", "sh")
    assert 'pip install -e ".[test]" && pytest\n' in blocks("README.md", "sh")
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    named = {
        extra
        for text in PAGES.values()
        for extras in re.findall(r"""['"]\.\[([\w,]+)\]['"]""", text)
        for extra in extras.split(",")
    }
    assert named <= set(setup["options.extras_require"])
    assert (ROOT / "wsgi.py").is_file()


def test_the_readme_first_plugin_works(tmp_path: Path) -> None:
    """The plugin in the README loads and adds the header that the README says."""
    (plugin,) = blocks("README.md", "wat")
    header, value = re.findall(r"# (x-\w+): (.+)$", README, re.MULTILINE)[0]
    (tmp_path / "first.wat").write_text(plugin)
    app = Flask("first")
    app.config.update(PLUGIN_HOST_DIR=str(tmp_path), PLUGIN_HOST_DATA_DIR="")
    app.config["PLUGIN_HOST_RELOAD"] = False
    PluginHost(app)
    app.add_url_rule("/", view_func=lambda: "x" * 1_000_000)
    with app.test_client() as client:
        response = client.get("/")
    app.extensions["plugin_host"].close()
    assert (response.status_code, response.headers.get(header)) == (200, value)


def test_the_readme_figures_are_those_of_the_benchmarks() -> None:
    """Each row of the README's comparison stands in benchmarks.md."""
    rows = [line for line in README.splitlines() if line.startswith("| ")]
    assert len(rows) > 3
    assert [row for row in rows if row not in PAGES["docs/benchmarks.md"].splitlines()] == []


def test_no_traces_of_one_machine() -> None:
    """No file names a path of somebody's machine, or a package index."""
    places = ["/wo" + "rk/", "/tmp/" + "venv", "/ro" + "ot/", "/home" + "/", "/Us" + "ers/"]
    hosts = [
        "registry." + "npmjs",
        "pypi" + ".org/simple",
        "files.python" + "hosted",
        "/opt/" + "wheels",
    ]
    needle = re.compile("|".join(map(re.escape, places + hosts)))
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files()
        if path.is_file() and (match := needle.search(path.read_bytes().decode("latin-1")))
    ]
    assert found == []
