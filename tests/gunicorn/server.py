"""Real servers on a free loopback port, gunicorn first, and clients that reach all workers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORKERS = 2
#: Seconds within which something must become so; only a failing test waits as long.
PATIENCE = 30.0


class Answer(NamedTuple):
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Site:
    """A running server."""

    port: int
    #: The plugins folder.
    folder: Path
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def master(self) -> int:
        """The process id of what was started: gunicorn's master."""
        return self.process.pid

    def get(self, path: str = "/", method: str = "GET", body: bytes | None = None) -> Answer:
        """Ask once, over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            headers = {"Connection": "close"}
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def answers(self) -> bool:
        """Whether somebody listens and answers."""
        try:
            self.get("/status")
        except OSError:
            return False
        return True

    def many(self, path: str = "/", count: int = 4 * WORKERS) -> list[Answer]:
        """Ask several times at once."""
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(lambda _: self.get(path), range(count)))

    def everywhere(
        self, found: Callable[[Answer], bool], path: str = "/", workers: int | None = None
    ) -> dict[int, Answer]:
        """Wait until the latest answer of every worker is as wanted; return them by worker.

        :param workers: how many there are; ``WORKERS`` if not said.
        """
        workers = WORKERS if workers is None else workers
        deadline = time.monotonic() + PATIENCE
        latest: dict[int, Answer] = {}
        while time.monotonic() < deadline:
            answers = self.many(path, 4 * workers)
            latest.update({a.json["pid"]: a for a in answers if a.status == 200})
            if len(latest) == workers and all(map(found, latest.values())):
                return latest
            time.sleep(0.02)
        pytest.fail(f"not all of {workers} workers followed: {latest}\n{self.log.read_text()}")

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait until something has become so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"{what}: it did not happen; the log:\n{self.log.read_text()}")
            time.sleep(0.02)

    def workers(self, master: int | None = None) -> set[int]:
        """The processes that a master has started and that run. Linux only."""
        master = self.master if master is None else master
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        return {int(pid) for pid in children if is_running(int(pid))}

    def put(self, name: str, text: str | bytes) -> None:
        """Deploy a file the way a careful operator does: renamed into place."""
        content = text.encode() if isinstance(text, str) else text
        temporary = self.folder / f".{name}.new"
        temporary.write_bytes(content)
        temporary.replace(self.folder / name)


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is not one that only waits to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serve(
    tmp_path: Path, application: str, *arguments: str, chdir: Path = HERE, **settings: str
) -> Iterator[Site]:
    """Run gunicorn, and end it by its own process id.

    :param settings: of the app, as environment variables.
    """
    port = free_port()
    # Its script: a gunicorn that was started by `python -m` cannot start its successor (USR2).
    script = Path(sysconfig.get_path("scripts"), "gunicorn")
    command = [sys.executable, str(script), application, "--workers", str(WORKERS)]
    command += ["--bind", f"127.0.0.1:{port}", *arguments]
    with running(tmp_path, command, port, chdir, **settings) as site:
        yield site


@contextlib.contextmanager
def running(
    tmp_path: Path, command: list[str], port: int, chdir: Path = HERE, **settings: str
) -> Iterator[Site]:
    """Run a server of any kind that listens to that port, and end it by its own process id."""
    folder, log = tmp_path / "plugins", tmp_path / "server.log"
    folder.mkdir(exist_ok=True)
    environment = os.environ | {
        "FLASK_PLUGIN_HOST_DIR": str(folder),
        "FLASK_PLUGIN_HOST_DATA_DIR": str(tmp_path / "data"),
        "FLASK_PLUGIN_HOST_FAST_CALL": os.environ.get("PLUGIN_HOST_TESTS_FAST_CALL", "1"),
        # Works from a checkout that is not installed, too.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "HOME": str(tmp_path),  # newer gunicorns keep a control socket there
        **settings,
    }
    with log.open("wb") as out:
        server = subprocess.Popen(
            command,
            cwd=chdir,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        site = Site(port, folder, log, server)
        _wait_until_up(site)
        yield site
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_until_up(site: Site) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and site.process.poll() is None:
        if site.answers():
            return
        time.sleep(0.05)
    pytest.fail(f"the server does not answer; its log:\n{site.log.read_text()}")
