"""A real gunicorn with two workers, and an operator at a shell who decides what they serve."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import guests
import pytest
from server import HERE, PATIENCE, ROOT, WORKERS, Answer, Site, serve

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Shell:
    """A shell on the machine of a site, with its configuration."""

    site: Site
    environment: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``flask plugins``; the caller judges its exit code."""
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app", "gunicorn_site:app", "plugins", *arguments],
            cwd=HERE,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def decide(self, *arguments: str) -> dict[str, Any]:
        """Run a command that every worker follows; return its JSON."""
        done = self.run(*arguments, "--wait", str(PATIENCE), "--json")
        assert done.returncode == 0, (
            arguments,
            done.stdout,
            done.stderr,
            self.site.log.read_text(),
        )
        said: dict[str, Any] = json.loads(done.stdout)
        assert [worker["followed"] for worker in said["workers"]] == [True] * WORKERS
        return said

    def status(self) -> dict[str, Any]:
        """What ``flask plugins status --json`` says."""
        said: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return said


def settings(tmp_path: Path, **more: str) -> dict[str, str]:
    """The site's configuration, for its workers and for the shell."""
    return {"FLASK_PLUGIN_HOST_DATA_DIR": str(tmp_path / "data"), **more}


def shell_of(site: Site, tmp_path: Path, **more: str) -> Shell:
    """A shell with the configuration of the site."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH")]
    environment = {
        "FLASK_PLUGIN_HOST_DIR": str(site.folder),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HOME": str(tmp_path),
        **settings(tmp_path, **more),
    }
    return Shell(site, environment)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell beside a running site; each test deploys a plugin of its own."""
    tmp_path = tmp_path_factory.mktemp("operated")
    more = {"FLASK_PLUGIN_HOST_PROBATION_SECONDS": "3600"}
    with serve(tmp_path, "gunicorn_site:app", **settings(tmp_path, **more)) as site:
        yield shell_of(site, tmp_path, **more)


def says(header: str, value: str | None) -> Callable[[Answer], bool]:
    """Whether an answer has that header, or with None has none."""
    return lambda answer: answer.headers.get(header) == value


def deployed(shell: Shell, name: str, *values: str) -> list[str]:
    """Deploy versions one after the other; each adds the header ``x-NAME``; return digests."""
    digests = []
    for value in values:
        shell.site.put(f"{name}.wat", guests.adding(f"x-{name}", value))
        answers = shell.site.everywhere(says(f"x-{name}", value))
        status = shell.site.get("/status").json
        digests += [p["digest"] for p in status["plugins"] if p["name"] == name]
        assert len(answers) == WORKERS
    return digests


def test_a_disabled_plugin_is_gone_from_every_worker_until_it_is_enabled(shell: Shell) -> None:
    """disable and enable have taken effect in every worker when they return."""
    deployed(shell, "switched", "1")
    said = shell.decide("disable", "switched")
    assert [p["state"] for w in said["workers"] for p in w["plugins"]] == ["disabled"] * WORKERS
    assert {a.headers.get("x-switched") for a in shell.site.many()} == {None}
    said = shell.decide("enable", "switched")
    assert [p["state"] for w in said["workers"] for p in w["plugins"]] == ["serving"] * WORKERS
    assert {a.headers.get("x-switched") for a in shell.site.many()} == {"1"}


def test_a_rollback_needs_no_file_and_a_new_file_serves(shell: Shell) -> None:
    """rollback has every worker serve the version before; a different file serves as ever."""
    first, second = deployed(shell, "rolled", "1", "2")
    said = shell.decide("rollback", "rolled")
    assert {p["digest"] for w in said["workers"] for p in w["plugins"]} == {first}
    assert {a.headers.get("x-rolled") for a in shell.site.many()} == {"1"}
    quarantined = {q["digest"]: q for q in shell.status()["control"]["quarantined"]}
    assert quarantined[second]["replaced_by"] == first
    assert quarantined[second]["reason"].startswith("rolled back by ")
    deployed(shell, "rolled", "3")
    said = shell.decide("rollback", "rolled", "--to", first[:10])
    assert {a.headers.get("x-rolled") for a in shell.site.many()} == {"1"}


def test_a_released_version_serves_again(shell: Shell) -> None:
    """release undoes a rollback while the file is still there."""
    _, second = deployed(shell, "freed", "1", "2")
    shell.decide("rollback", "freed")
    shell.decide("release", second[:12])
    assert {a.headers.get("x-freed") for a in shell.site.many()} == {"2"}


def test_a_pinned_version_outlives_deployments(shell: Shell) -> None:
    """While a version is pinned, new files do not serve; unpin lets the newest one serve."""
    first, _ = deployed(shell, "pinned", "1", "2")
    shell.decide("pin", "pinned", first[:8])
    assert {a.headers.get("x-pinned") for a in shell.site.many()} == {"1"}
    refused = shell.run("rollback", "pinned")
    assert (refused.returncode, "flask plugins unpin pinned" in refused.stderr) == (1, True)
    shell.site.put("pinned.wat", guests.adding("x-pinned", "3"))
    shell.decide("reload", "pinned")
    assert {a.headers.get("x-pinned") for a in shell.site.many()} == {"1"}
    shell.decide("unpin", "pinned")
    shell.site.everywhere(says("x-pinned", "3"))


def test_a_reload_makes_every_plugin_anew(shell: Shell) -> None:
    """reload loads unchanged files again, in every worker, so that their counts begin anew."""
    deployed(shell, "again", "1")
    before = {w["pid"]: w["plugins"] for w in shell.status()["workers"]}
    assert shell.decide("reload")["name"] is None
    after = {w["pid"]: w["plugins"] for w in shell.status()["workers"]}
    assert before.keys() == after.keys()
    for plugins in after.values():
        assert {p["calls"] for p in plugins} == {0}


def test_history_says_which_version_serves(shell: Shell) -> None:
    """history lists what was good, newest first."""
    first, second = deployed(shell, "known", "1", "2")
    versions = json.loads(shell.run("history", "known", "--json").stdout)["versions"]
    assert [(v["digest"], v["serving"]) for v in versions] == [(second, True), (first, False)]


def test_a_version_that_fails_is_rolled_back_everywhere(shell: Shell) -> None:
    """Five failures, over all workers, quarantine a version; one log line says so."""
    (good,) = deployed(shell, "failing", "good")
    trap = guests.TRAP + " "
    shell.site.put("failing.wat", guests.module({"on_response": trap}))
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and "rolled back" not in _log_of(shell, "failing"):
        shell.site.many()
    shell.site.everywhere(says("x-failing", "good"))
    (bad,) = [q for q in shell.status()["control"]["quarantined"] if q["name"] == "failing"]
    assert bad["replaced_by"] == good
    assert "calls failed" in bad["reason"]
    assert _log_of(shell, "failing").count("rolled back to") == 1


def _log_of(shell: Shell, name: str) -> str:
    lines = shell.site.log.read_text().splitlines()
    return "\n".join(line for line in lines if f"plugin {name} " in line)


def test_status_shows_the_workers_that_live(shell: Shell) -> None:
    """status lists the pid of every worker; one that was killed is gone, its heir appears."""
    pids = shell.site.everywhere(lambda answer: True).keys()
    assert {w["pid"] for w in _status_of(shell, pids)["workers"]} == pids
    dead = min(pids)
    os.kill(dead, signal.SIGKILL)
    heirs: set[int] = set()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and len(heirs - {dead}) < WORKERS:
        for answer in _attempts(shell.site):
            heirs.add(answer.json["pid"])
    now = heirs - {dead}
    assert {w["pid"] for w in _status_of(shell, now)["workers"]} == now


def _attempts(site: Site) -> list[Answer]:
    """Ask several times; the connections of a worker that was killed are lost."""
    try:
        return site.many()
    except OSError:
        return []


def _status_of(shell: Shell, pids: Any) -> dict[str, Any]:
    """What status says, as soon as it shows those workers."""
    deadline = time.monotonic() + PATIENCE
    while True:
        status = shell.status()
        shown = {worker["pid"] for worker in status["workers"]}
        if shown == set(pids) or time.monotonic() > deadline:
            return status


def test_decisions_hold_after_a_restart(tmp_path: Path) -> None:
    """A rollback and a pin hold in a server that is started anew, and when no server runs."""
    with serve(tmp_path, "gunicorn_site:app", **settings(tmp_path)) as site:
        shell = shell_of(site, tmp_path)
        deployed(shell, "kept", "1", "2")
        deployed(shell, "off", "1")
        shell.decide("rollback", "kept")
    done = shell.run("disable", "off")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no worker is running; this holds for the next start" in done.stdout
    with serve(tmp_path, "gunicorn_site:app", **settings(tmp_path)) as site:
        site.everywhere(says("x-kept", "1"))
        assert {a.headers.get("x-off") for a in site.many()} == {None}


def test_a_bad_file_at_start_leaves_the_last_good_version_serving(tmp_path: Path) -> None:
    """A server that finds a broken file at its start serves the version kept, and says so."""
    with serve(tmp_path, "gunicorn_site:app", **settings(tmp_path)) as site:
        deployed(shell_of(site, tmp_path), "broken", "good")
    site.put("broken.wat", b"no module")
    with serve(tmp_path, "gunicorn_site:app", **settings(tmp_path)) as site:
        site.everywhere(says("x-broken", "good"))
        said = shell_of(site, tmp_path).run("status")
        assert said.returncode == 1
        assert "broken: broken.wat: " in said.stdout
    assert "the newest file cannot serve; 0 (" in site.log.read_text()
