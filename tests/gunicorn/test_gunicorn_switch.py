"""A real gunicorn with four workers that swap together: what clients see of a deploy."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import guests
import pytest
import server
from server import PATIENCE, Answer, Site, serve

WORKERS = 4
TIMEOUT = 5.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Workers that notice a change up to half a second apart: each for itself they would differ."""
    path = tmp_path_factory.mktemp("site")
    settings = {
        "FLASK_PLUGIN_HOST_SWITCH": "together",
        "FLASK_PLUGIN_HOST_SWITCH_TIMEOUT": str(TIMEOUT),
        "FLASK_PLUGIN_HOST_DATA_DIR": str(path / "data"),
        "FLASK_PLUGIN_HOST_WATCHER": "poll",
        "FLASK_PLUGIN_HOST_POLL_INTERVAL": "0.5",
    }
    arguments = ["--worker-class", "gthread", "--threads", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "WORKERS", WORKERS)
        with serve(path, "switch_site:app", *arguments, **settings) as running:
            deploy(running, 0)
            running.everywhere(lambda answer: version_of(answer) == 0)
            yield running


def deploy(site: Site, version: int) -> None:
    site.put("v.wat", guests.adding("x-version", str(version)))


def version_of(answer: Answer) -> int:
    return int(answer.headers.get("x-version", "-1"))


class Clients:
    """Some clients that ask all the time; each answer with when it was asked for and came."""

    def __init__(self, site: Site) -> None:
        self.answers: list[tuple[float, float, Answer]] = []
        self._site = site
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]

    def _ask(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            answer = self._site.get()
            self.answers.append((began, time.monotonic(), answer))

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_no_client_sees_the_old_version_after_the_new_one(site: Site) -> None:
    """No answer of the old version was asked for after one of the new version had come."""
    with Clients(site) as clients:
        for version in range(1, 6):
            deploy(site, version)
            site.everywhere(lambda answer, wanted=version: version_of(answer) == wanted)
    assert {answer.status for _, _, answer in clients.answers} == {200}
    assert {version_of(answer) for _, _, answer in clients.answers} == {*range(6)}
    stale = []
    for version in range(1, 6):
        seen = min(end for _, end, answer in clients.answers if version_of(answer) == version)
        stale += [
            (version, round(began - seen, 3))
            for began, _, answer in clients.answers
            if version_of(answer) < version and began > seen
        ]
    assert stale == []


@pytest.mark.skipif(not Path("/proc").exists(), reason="stops a process and looks at it")
def test_a_stopped_worker_does_not_hold_the_others_for_ever(site: Site) -> None:
    """They follow while it stands still, one line names it, and it follows when it goes on."""
    workers = site.everywhere(lambda answer: True)
    stopped, others = min(workers), {*workers} - {min(workers)}
    os.kill(stopped, signal.SIGSTOP)
    try:
        deploy(site, 100)
        deadline, followed = time.monotonic() + PATIENCE, set[int]()
        while followed != others and time.monotonic() < deadline:
            answer = site.get()
            if version_of(answer) == 100:
                followed.add(answer.json["pid"])
        assert followed == others
    finally:
        os.kill(stopped, signal.SIGCONT)
    site.everywhere(lambda answer: version_of(answer) == 100)
    wanted = f"swapping without waiting any longer for worker {stopped}: not ready after"
    assert wanted in site.log.read_text()
