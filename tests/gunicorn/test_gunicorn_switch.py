"""A real gunicorn with four workers that swap together: what clients see of a deploy."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import server
from load import Load, deploy, says
from server import PATIENCE, Site, serve

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
        # What a worker may be late by, for nobody to notice, is what an answer takes.
        "FLASK_TAKES": "0.03",
    }
    arguments = ["--worker-class", "gthread", "--threads", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "WORKERS", WORKERS)
        with serve(path, "gunicorn_site:app", *arguments, **settings) as running:
            deploy(running, 0)
            running.everywhere(says(0))
            yield running


def test_no_client_sees_the_old_version_after_the_new_one(site: Site) -> None:
    """No answer of the old version was asked for after one of the new version had come."""
    with Load(site, clients=4) as load:
        for version in range(1, 6):
            deploy(site, version)
            site.everywhere(says(version))
            load.wait_until_seen(version)
    assert load.broken == []
    assert {seen.version for seen in load.seen} == {*range(6)}
    for version in range(1, 6):
        first = min(seen.ended for seen in load.seen if seen.version == version)
        assert load.stale(version, first) == []


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
            if says(100)(answer):
                followed.add(answer.json["pid"])
        assert followed == others
    finally:
        os.kill(stopped, signal.SIGCONT)
    site.everywhere(says(100))
    wanted = f"swapping without waiting any longer for worker {stopped}: not ready after"
    assert wanted in site.log.read_text()
