"""``flask plugins`` about running workers: what is decided, waited for, shown, and refused."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import guests
import pytest
from click.testing import CliRunner, Result
from flask import Flask
from flask.cli import ScriptInfo
from guests import MakeApp

from plugin_host.cli import cli, operating
from plugin_host.cli.output import Styled
from plugin_host.cli.status import _differing, _rows
from plugin_host.host.host import Host
from plugin_host.machine.control import Quarantine, quarantine
from plugin_host.machine.fleet import WorkerState

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = {"reload", "disable", "enable", "pin", "unpin", "rollback", "release"}


class Machine:
    """A worker of a site, which looks when it is told to, and a shell beside it."""

    def __init__(self, make_app: MakeApp, folder: Path) -> None:
        self._make_app, self.folder = make_app, folder
        self.worker: Host | None = None

    def start(self) -> None:
        """Start the worker; it has had its first request."""
        app, _ = self._make_app()
        self.worker = app.extensions["plugin_host"]
        self.look()

    def look(self) -> None:
        """Let the worker look at folder and decisions, if one runs."""
        if self.worker is not None:
            self.worker.reconcile()

    def deploy(self, *values: str) -> list[str]:
        """Replace the plugin ``v`` by versions, as good ones; return their digests."""
        digests = []
        for value in values:
            (self.folder / "v.wat").write_text(guests.adding("x-v", value))
            (self.folder / "v.toml").write_text(f'version = "{value}"')
            app, _ = self._make_app()
            host: Host = app.extensions["plugin_host"]
            digests.append(host.status()["plugins"][0]["digest"])
            host.close()
        return digests

    def run(self, *args: str, app: Flask | None = None) -> Result:
        """Run a command, with an app that is loaded afresh."""
        info = ScriptInfo(create_app=lambda: app or self._make_app()[0])
        return CliRunner().invoke(cli, args, obj=info, prog_name="plugins")

    def json(self, *args: str) -> dict[str, Any]:
        """Run a command with --json that succeeds."""
        result = self.run(*args, "--json")
        assert (result.exit_code, result.stderr) == (0, ""), result.stdout
        said: dict[str, Any] = json.loads(result.stdout)
        return said

    def serving(self) -> str | None:
        """The version that the worker serves."""
        assert self.worker is not None
        (plugin,) = self.worker.status()["plugins"]
        version: str | None = plugin["version"]
        return version


@pytest.fixture
def machine(
    make_app: MakeApp, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Machine:
    """A machine without a worker as yet; while a command waits, the worker looks."""
    monkeypatch.chdir(tmp_path)
    there = Machine(make_app, folder)
    monkeypatch.setattr(operating, "nap", lambda interval: there.look())
    return there


# decisions


def test_disable_and_enable(machine: Machine) -> None:
    """disable unloads a plugin in the workers, and enable has its file serve again."""
    machine.deploy("1")
    machine.start()
    said = machine.json("disable", "v")
    assert (said["decision"], said["changed"], said["generation"]) == ("v is disabled", True, 1)
    assert [p["state"] for w in said["workers"] for p in w["plugins"]] == ["disabled"]
    assert machine.json("disable", "v")["changed"] is False
    assert machine.serving() is None
    said = machine.json("enable", "v")
    assert [p["state"] for w in said["workers"] for p in w["plugins"]] == ["serving"]
    assert machine.serving() == "1"


def test_rollback_goes_back_version_by_version(machine: Machine) -> None:
    """Each rollback rejects what serves now, and every file rejected before leads there, too."""
    first, second, third = machine.deploy("1", "2", "3")
    machine.start()
    said = machine.json("rollback", "v")
    assert said["decision"] == f"v is rolled back to 2 ({second:.12})"
    assert machine.serving() == "2"
    machine.json("rollback", "v")
    assert machine.serving() == "1"
    quarantined = machine.json("status")["control"]["quarantined"]
    assert {q["digest"]: q["replaced_by"] for q in quarantined} == {second: first, third: first}
    result = machine.run("rollback", "v")
    assert "no earlier version of v is kept; deploy the earlier file instead" in result.stderr
    assert (result.exit_code, machine.serving()) == (1, "1")


def test_rollback_to_a_version(machine: Machine) -> None:
    """--to takes the first digits of a kept version."""
    first, second, third = machine.deploy("1", "2", "3")
    machine.start()
    machine.json("rollback", "v", "--to", first[:9])
    assert machine.serving() == "1"
    for digest, why in (
        (third, f"({third:.12}) is quarantined: rolled back by"),
        (first, f"v {first:.12} is what is to be left"),
        ("e" * 64, "no version of v begins with"),
    ):
        result = machine.run("rollback", "v", "--to", digest)
        assert (why in result.stderr, result.exit_code) == (True, 1)
    machine.json("rollback", "v", "--to", second)
    assert machine.serving() == "2"


def test_a_new_file_serves_after_a_rollback(machine: Machine) -> None:
    """A rollback rejects one content of the file, not those that come."""
    machine.deploy("1", "2")
    machine.json("rollback", "v")
    machine.deploy("3")
    machine.start()
    assert machine.serving() == "3"


def test_rollback_from_a_file_that_does_not_load(machine: Machine) -> None:
    """When the newest file is bad, it and the version that serves instead are rejected."""
    first, second = machine.deploy("1", "2")
    (machine.folder / "v.wat").write_text("(module)")
    machine.start()
    assert machine.serving() == "2"
    said = machine.json("rollback", "v")
    assert [p["load_error"] for w in said["workers"] for p in w["plugins"]] == [None]
    assert machine.serving() == "1"
    bad = {q["digest"]: q["replaced_by"] for q in machine.json("status")["control"]["quarantined"]}
    assert (len(bad), set(bad.values()), second in bad) == (2, {first}, True)


def test_a_canary_is_taken_back_to_the_version_beside_it(machine: Machine) -> None:
    """While a version serves a share, it alone is rejected, and the other one serves all."""
    (first,) = machine.deploy("1")
    machine.start()
    (machine.folder / "v.wat").write_text(guests.adding("x-v", "2"))
    rollout = 'rollout = { share = 0.5, for = "10m" }'
    (machine.folder / "v.toml").write_text(f'version = "2"\n{rollout}')
    machine.json("reload")
    assert machine.worker is not None
    states = {p["state"]: p["digest"] for p in machine.worker.status()["plugins"]}
    assert states.keys() == {"serving", "canary"}
    machine.json("rollback", "v")
    assert machine.serving() == "1"
    (bad,) = machine.json("status")["control"]["quarantined"]
    assert (bad["digest"], bad["replaced_by"]) == (states["canary"], first)


def test_a_pin_holds_until_it_is_lifted(machine: Machine) -> None:
    """A pinned version serves whatever file comes, and cannot be rolled back."""
    first, _ = machine.deploy("1", "2")
    machine.start()
    assert machine.json("pin", "v", first[:6].upper())["decision"] == f"v is pinned to {first:.12}"
    assert machine.serving() == "1"
    result = machine.run("rollback", "v")
    assert result.stderr == (
        f"Error: v is pinned to {first:.12}, which serves whatever else is decided; pin another"
        " version, or lift that first: flask plugins unpin v\n"
    )
    machine.json("unpin", "v")
    assert machine.serving() == "2"


def test_a_quarantined_version_cannot_be_pinned_before_it_is_released(machine: Machine) -> None:
    """pin names the command that lifts the quarantine; release has the file serve again."""
    _, second = machine.deploy("1", "2")
    machine.start()
    machine.json("rollback", "v")
    refused = machine.run("pin", "v", second)
    assert f"lift that first: flask plugins release {second:.12}" in refused.stderr
    assert refused.exit_code == 1
    machine.json("release", second[:7])
    assert machine.serving() == "2"
    assert "nothing is quarantined" in machine.run("release", second).stderr


def test_a_reload_makes_plugins_anew(machine: Machine) -> None:
    """reload replaces a plugin by the same version of it, with or without its name."""
    machine.deploy("1")
    machine.start()
    assert machine.worker is not None
    seen = {machine.worker.snapshot.plugins}
    for args in (("reload",), ("reload", "v")):
        assert machine.json(*args)["changed"] is True
        seen.add(machine.worker.snapshot.plugins)
    assert len(seen) == 3


@pytest.mark.parametrize("command", ["disable", "enable", "unpin", "rollback", "reload", "history"])
def test_a_name_that_nothing_has_is_refused(command: str, machine: Machine) -> None:
    """Commands that need a plugin name the one that was probably meant."""
    (machine.folder / "price.wat").write_text(guests.adding("x-v", "1"))
    result = machine.run(command, "prise")
    assert "did you mean 'price'?" in result.stderr
    assert (result.stdout, result.exit_code) == ("", 1)


def test_a_kept_version_that_would_not_load_is_not_chosen(
    machine: Machine, make_app: MakeApp
) -> None:
    """Before workers are sent to a version, it is loaded as they would load it."""
    imports = '(import "plugin_host" "now" (func $now (param i32) (result i64)))'
    text = guests.module({"on_response": guests.UNCHANGED}, imports=imports)
    (machine.folder / "v.wat").write_text(text)
    make_app()
    machine.deploy("2")
    app, _ = make_app(GRANTS=["log"])
    result = machine.run("rollback", "v", app=app)
    assert "would not load: " in result.stderr
    assert "does not grant it the capability 'clock'" in result.stderr
    assert machine.json("status")["control"]["generation"] == 0


def test_decisions_are_written_down(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """The audit log says who decided what."""
    machine.deploy("1")
    with caplog.at_level("INFO", "plugin_host.audit"):
        machine.run("disable", "v")
    (record,) = [r for r in caplog.records if r.name == "plugin_host.audit"]
    assert re.search(r"uid .*: disabled v \(generation 1\)$", record.getMessage())


# workers


def test_without_a_worker_a_decision_is_for_the_next_start(machine: Machine) -> None:
    """With nobody to follow, the command says so and succeeds."""
    machine.deploy("1")
    result = machine.run("disable", "v")
    assert (result.stdout, result.stderr, result.exit_code) == (
        "v is disabled (generation 1)\nno worker is running; this holds for the next start\n",
        "",
        0,
    )
    machine.start()
    assert machine.serving() is None


def test_a_worker_that_does_not_follow_is_a_failure(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the time is over the command says which worker is behind, and ends with 1."""
    monkeypatch.setattr(operating, "nap", lambda interval: None)
    monkeypatch.setattr(operating, "_SILENCE", 0.0)
    machine.deploy("1")
    machine.start()
    result = machine.run("disable", "v", "--wait", "0.05")
    assert re.search(r"^\d+ +no +v +1 ", result.stdout, re.MULTILINE)
    assert "1 of 1 workers did not follow within 0.05 s" in result.stdout
    assert re.match(r"waiting for 1 of 1 workers: \d+\n$", result.stderr)
    assert result.exit_code == 1


def test_nobody_is_waited_for_with_wait_0(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--wait 0 decides, shows the workers as they are, and succeeds."""
    monkeypatch.setattr(operating, "nap", lambda interval: pytest.fail("it waited"))
    machine.deploy("1")
    machine.start()
    assert [w["followed"] for w in machine.json("disable", "v", "--wait", "0")["workers"]] == [
        False
    ]


def test_what_is_no_number_is_not_waited_for(machine: Machine) -> None:
    """It would be waited for for ever; nothing is decided."""
    machine.deploy("1")
    machine.start()
    result = machine.run("disable", "v", "--wait", "nan")
    assert (result.exit_code, machine.json("list")["plugins"][0]["state"]) == (2, "serving")
    assert "'nan' is not a number of seconds" in result.stderr


def test_a_plugin_that_does_not_load_is_a_failure(machine: Machine) -> None:
    """A decision after which a worker cannot load the plugin ends with 1, and the reason."""
    machine.deploy("1")
    machine.start()
    machine.json("disable", "v")
    (machine.folder / "v.wat").write_text("(module)")
    (machine.folder / "v.toml").unlink()
    result = machine.run("enable", "v")
    assert "v: v.wat: exports no memory" in result.stdout
    assert result.exit_code == 1


def test_commands_are_no_worker(machine: Machine) -> None:
    """No command publishes a state or starts a thread, not even with an app that reloads."""
    machine.deploy("1")
    for args in (["status"], ["history", "v"], ["disable", "v"], ["enable", "v"], ["reload"]):
        app = machine._make_app(RELOAD=True)[0]
        assert machine.run(*args, app=app).exit_code == 0
        assert app.extensions["plugin_host"].depot.workers() == []
    assert not any("watcher" in thread.name for thread in threading.enumerate())


# status and history


def test_status_without_a_worker(machine: Machine) -> None:
    """With no worker there is nothing to differ."""
    result = machine.run("status")
    assert result.stdout == "no worker is running, or none has had a request yet\n"
    assert result.exit_code == 0


def test_status_shows_workers_and_decisions(machine: Machine) -> None:
    """status has the workers, a row for each version, and what was decided."""
    first, second = machine.deploy("1", "2")
    machine.start()
    machine.json("rollback", "v")
    result = machine.run("status")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["PID", "SINCE", "GENERATION"]
    assert lines[1].split()[-1] == "1"
    assert lines[4].split() == ["v", "1", first[:12], "serving", "all", "0", "0", "-"]
    assert f"quarantined  v 2 {second:.12}, replaced by {first:.12}, " in result.stdout
    assert lines[-1] == "1 worker"
    assert result.exit_code == 0


def test_status_says_when_workers_differ(machine: Machine, make_app: MakeApp) -> None:
    """Two workers with two versions of a plugin are two rows, and exit code 1."""
    machine.deploy("1")
    machine.start()
    machine.deploy("2")
    other: Host = make_app()[0].extensions["plugin_host"]
    other.reconcile()
    result = machine.run("status")
    assert result.stdout.splitlines()[-1] == "workers differ: v"
    assert len(re.findall(r"^v +[12] ", result.stdout, re.MULTILINE)) == 2
    assert result.exit_code == 1
    said = json.loads(machine.run("status", "--json").stdout)
    assert (said["ok"], said["differing"]) == (False, ["v"])
    other.close()
    assert machine.json("status")["ok"] is True


def test_status_says_of_whom_nothing_is_heard(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose state is old may serve anything: a warning with its age, and exit code 1."""
    real = time.time
    machine.deploy("1")
    machine.start()
    shown = machine.json("status")
    assert shown["silent"] == []
    assert shown["workers"][0]["plugins"][0]["loaded_at"] < real()
    monkeypatch.setattr("plugin_host.cli.status.time.time", lambda: real() + 3600)
    result = machine.run("status")
    assert re.match(
        r"Warning: worker \d+ has not published its state for 360\d s, and may serve something",
        result.stderr,
    )
    assert result.exit_code == 1
    said = json.loads(machine.run("status", "--json").stdout)
    (worker,) = said["workers"]
    assert (said["ok"], said["silent"]) == (False, [worker["pid"]])


def test_status_says_why_a_plugin_failed(machine: Machine) -> None:
    """A file that does not load is a failure, with the reason."""
    (machine.folder / "v.wat").write_text("(module)")
    machine.start()
    result = machine.run("status")
    assert "v: v.wat: exports no memory" in result.stdout
    assert result.exit_code == 1


def test_history_lists_the_newest_first(machine: Machine) -> None:
    """history has every kept version, with what is known of it."""
    first, second = machine.deploy("1", "2")
    machine.start()
    machine.json("rollback", "v")
    machine.json("pin", "v", first)
    versions = machine.json("history", "v")["versions"]
    assert [(v["version"], v["digest"], v["serving"], v["pinned"]) for v in versions] == [
        ("2", second, False, False),
        ("1", first, True, True),
    ]
    assert versions[0]["quarantined"].startswith("rolled back by ")
    lines = machine.run("history", "v").stdout.splitlines()
    assert lines[0].split() == ["DIGEST", "VERSION", "LAST", "GOOD", "SIZE", "FILE", "STATE"]
    assert lines[2].endswith("serving, pinned")


# what is needed


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"DATA_DIR": ""}, "the app has no data directory, through which workers learn of"),
        ({"ENABLED": False}, "PLUGIN_HOST_ENABLED is false: the app loads no plugins"),
        ({"DATA_DIR": __file__}, "data directory: "),
    ],
)
@pytest.mark.parametrize("args", [("status",), ("history", "v"), ("disable", "v")])
def test_a_data_directory_is_needed(
    args: tuple[str, ...], config: dict[str, Any], said: str, machine: Machine, make_app: MakeApp
) -> None:
    """Without a place to tell workers anything, the commands say what to set."""
    result = machine.run(*args, app=make_app(**config)[0])
    assert f"Error: {said}" in result.stderr
    assert (result.stdout, result.exit_code) == ("", 1)


@pytest.mark.parametrize("args", [("status",), ("history", "v"), ("disable", "v"), ("reload",)])
def test_an_app_is_needed(
    args: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose workers it is about, only an app can say."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, args, obj=ScriptInfo(create_app=None))
    assert result.stderr == (
        "Error: there is no app, whose workers this is about; name it with --app or FLASK_APP\n"
    )
    assert (result.stdout, result.exit_code) == ("", 1)


@pytest.mark.parametrize("command", sorted(DECISIONS | {"status", "history"}))
def test_help_has_examples_that_parse(command: str) -> None:
    """--help shows examples, whose commands and options exist."""
    shown = CliRunner().invoke(cli, [command, "--help"], prog_name="plugins").stdout
    examples = re.findall(r"^    flask (?:--app \S+ )?plugins (\S+) ?(.*)$", shown, re.MULTILINE)
    assert examples
    for name, rest in examples:
        options = {option for p in cli.commands[name].params for option in p.opts}
        assert {word for word in rest.split() if word.startswith("-")} <= options


def test_the_documentation_names_every_json_key(machine: Machine) -> None:
    """docs/cli.md names every key that --json can bring."""
    machine.deploy("1", "2")
    machine.start()
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    commands: list[Callable[[], dict[str, Any]]] = [
        lambda: machine.json("rollback", "v"),
        lambda: machine.json("history", "v"),
        lambda: machine.json("status"),
    ]
    for command in commands:
        named = {*_keys(command())} - {"v"}  # the plugin itself, which metrics go by
        assert {key for key in named if not re.search(f'[`"]{key}[`"]', text)} == set()


def test_a_failing_version_may_have_no_replacement(machine: Machine) -> None:
    """A quarantine without a replacement is shown as such."""
    (digest,) = machine.deploy("1")
    machine.start()
    assert machine.worker is not None
    assert machine.worker.depot is not None
    entry = Quarantine("bad", 0.0, "v", "1")
    machine.worker.depot.control.update(lambda control: quarantine(control, digest, entry))
    assert f"quarantined  v 1 {digest:.12}, 19" in machine.run("status").stdout


def _keys(value: object) -> Iterator[str]:
    """Every key in a JSON value; keys that are plugins' names aside."""
    if isinstance(value, dict):
        yield from (key for key in value if key != "v")
        value = list(value.values())
    for child in value if isinstance(value, list) else ():
        yield from _keys(child)


def test_a_breaker_that_is_not_closed_is_shown_by_worker() -> None:
    """Workers in which a plugin is not called have a row of their own, and still agree."""
    plugin = {"name": "price", "version": "1", "digest": "d" * 64, "state": "serving", "calls": 3}
    states = {11: "closed", 12: "open", 13: "closed"}
    workers = [
        WorkerState(pid, 0.0, 0.0, {"plugins": [{**plugin, "breaker": {"state": state}}]})
        for pid, state in states.items()
    ]
    rows = [row[3:6] for row in _rows(workers)]
    assert rows == [
        (Styled("serving", "green"), "11, 13", "6"),
        (Styled("serving, open", "red"), "12", "3"),
    ]
    assert _differing(workers) == []
