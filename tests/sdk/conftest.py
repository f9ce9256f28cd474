"""Guests built with the AssemblyScript SDK, called under Node; sites with shipped plugins."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.cli import ScriptInfo
from flask.testing import FlaskClient

from plugin_host import PluginHost
from plugin_host.cli import cli

ROOT: Final = Path(__file__).resolve().parents[2]
PLUGINS: Final = ROOT / "plugins"
GUEST: Final = Path(__file__).parent / "guest"

#: One answer: how the hook ended (``none``, ``bytes``, ``error``, ``trap``), and its bytes.
Answer = tuple[str, bytes]


def _load_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plugins_build", ROOT / "plugins" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def build() -> ModuleType:
    """The build command of the shipped plugins, as a module."""
    return _load_build()


@pytest.fixture(autouse=True)
def _node(request: pytest.FixtureRequest, build: ModuleType) -> None:
    if request.node.get_closest_marker("node") and (missing := build.missing_tool()):
        pytest.skip(missing)


@dataclass(frozen=True)
class Run:
    """What came of calling a guest's hooks, one after the other on one instance."""

    answers: list[Answer]
    imports: list[str]
    logs: list[tuple[int, str]]
    pages: int


def run_guest(module: Path, calls: Sequence[tuple[str, bytes]], config: Any | None = None) -> Run:
    """Call hooks of a guest under Node."""
    task = {
        "module": str(module),
        "config": None if config is None else json.dumps(config).encode().hex(),
        "calls": [[hook, data.hex()] for hook, data in calls],
    }
    done = subprocess.run(
        ["node", str(GUEST / "run.mjs")],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    answers = [(one["kind"], bytes.fromhex(one["hex"])) for one in out["results"]]
    logs = [(level, text) for level, text in out["logs"]]
    return Run(answers, out["imports"], logs, out["pages"])


Call = Callable[..., Run]


@pytest.fixture(scope="session")
def conformance(build: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Call hooks of the conformance guest."""
    module = tmp_path_factory.mktemp("guest") / "conformance.wasm"
    if not build.missing_tool():
        module.write_bytes(build.compile_source(GUEST / "conformance.ts"))
    return lambda calls, config=None: run_guest(module, calls, config)


@pytest.fixture(scope="session")
def ask(conformance: Call) -> Callable[..., Any]:
    """Call one hook that answers JSON with one payload, text or JSON."""

    def call(hook: str, payload: Any = "", config: Any | None = None) -> Any:
        data = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
        kind, answer = conformance([(hook, data)], config).answers[0]
        assert kind == "bytes", (kind, answer)
        return json.loads(answer)

    return call


MakeApp = Callable[..., tuple[Flask, PluginHost]]
Site = Callable[..., tuple[FlaskClient, PluginHost]]


def _toml(value: Any) -> str:
    """A value in TOML, in line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


@pytest.fixture
def site(folder: Path, make_app: MakeApp) -> Site:
    """A site with one shipped plugin, whose config and needs are changed as given."""

    def make(
        name: str,
        module: str = "",
        prepare: Callable[[Flask], None] | None = None,
        needs: list[str] | None = None,
        **config: Any,
    ) -> tuple[FlaskClient, PluginHost]:
        manifest = tomllib.loads((PLUGINS / f"{name}.toml").read_text())
        if needs is not None:
            manifest["needs"]["on_request"] = needs
        if config:
            manifest["config"] |= config
        lines = [f"{key} = {_toml(value)}" for key, value in manifest.items()]
        (folder / f"{name}.toml").write_text("\n".join(lines))
        source = PLUGINS / (module or f"{name}.wasm")
        shutil.copy(source, folder / f"{name}{source.suffix}")
        grants = ["log", "clock", "random", "cookies", "state"]
        app, plugins = make_app(prepare, GRANTS=grants, TIMEOUT=5)
        return app.test_client(), plugins

    return make


def data(client: FlaskClient, *arguments: str) -> str:
    """What ``flask plugins data`` writes on the site."""
    info = ScriptInfo(create_app=lambda: client.application)
    done = CliRunner().invoke(cli, ("data", *arguments), obj=info)
    assert done.exit_code == 0, done.output
    return done.stdout


def without_store(tmp_path: Path, prepare: Callable[[Flask], None]) -> Callable[[Flask], None]:
    """The same preparation of a site, whose store cannot be opened."""
    (tmp_path / "file").touch()

    def prepared(app: Flask) -> None:
        prepare(app)
        app.config["PLUGIN_HOST_STATE"] = f"sqlite:///{tmp_path}/file/state.sqlite3"

    return prepared


def state(plugins: PluginHost, client: FlaskClient) -> Any:
    """What the site says about its plugins."""
    with client.application.app_context():
        return plugins.status()["plugins"]
