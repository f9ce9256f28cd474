"""A real gunicorn whose workers end: recycled, killed for their silence, killed while they swap.

Every answer under load is judged: a 200 in which both hooks are of one version, the newest one
once all workers had it. What an event itself must lose is said where it is tested.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from load import (
    CLIENTS,
    Load,
    deploy,
    kinds,
    preloads,
    says,
    shown,
    start_with,
    worker_arguments,
)
from server import PATIENCE, WORKERS, serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="asks /proc for the workers"),
]


@kinds
@preloads
def test_recycled_workers_start_with_the_newest(tmp_path: Path, kind: str, preload: bool) -> None:
    """Workers that end after some requests lose none, and their heirs never step back."""
    start_with(tmp_path, 0)
    more = ["--max-requests", "20", "--max-requests-jitter", "10"]
    followed = {}
    arguments = worker_arguments(kind, preload, *more)
    with serve(tmp_path, "gunicorn_site:app", *arguments) as site, Load(site) as load:
        for version in range(1, 5):
            deploy(site, version)
            followed[version] = load.wait_until_followed(version)
            load.wait_for(50)
    assert load.broken == []
    assert {version: load.stale(version, at) for version, at in followed.items()} == {
        version: [] for version in followed
    }
    assert len({seen.pid for seen in load.seen}) > WORKERS


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        pytest.param("sync", "/sleep", id="sync-sleeps"),
        pytest.param("sync", "/stuck", id="sync-stuck"),
        pytest.param("gthread", "/stuck", id="gthread-stuck"),
        pytest.param("gevent", "/stuck", id="gevent-stuck", marks=pytest.mark.gevent),
    ],
)
def test_worker_killed_for_its_silence_is_replaced(tmp_path: Path, kind: str, path: str) -> None:
    """A worker that hangs is killed; its heir serves the newest version, the fleet forgets it.

    Lost is the request that hung, and what else that worker had taken: with sync workers nothing.
    """
    arguments = worker_arguments(kind, False, "--timeout", "3")
    with serve(tmp_path, "gunicorn_site:app", *arguments) as site:
        deploy(site, 1)
        before = site.everywhere(says(1)).keys()
        with ThreadPoolExecutor(1) as client, Load(site) as load:
            hung = client.submit(site.get, path)
            deploy(site, 2)
            site.until(lambda: before - site.workers(), "the worker that hangs is killed")
            # Python's own signal handlers end a view that sleeps: gunicorn still answers 500.
            lost = hung.exception(PATIENCE)
            assert isinstance(lost, OSError | http.client.HTTPException) or (
                path == "/sleep" and hung.result().status == 500
            )
            deploy(site, 3)
            since = load.wait_until_followed(3)
            site.until(lambda: not _beacons(tmp_path, *before - site.workers()), "its beacon goes")
            site.until(lambda: shown(tmp_path) == site.workers(), "its heir has one")
            load.wait_for(30)
    assert "WORKER TIMEOUT" in site.log.read_text()
    assert ("was sent SIGKILL" in site.log.read_text()) is (path == "/stuck")
    cut = [each for each in load.broken if "RemoteDisconnected" in each or "ResetError" in each]
    assert load.broken == cut
    assert len(cut) <= (0 if kind == "sync" else CLIENTS)
    assert load.stale(3, since) == []


def _beacons(tmp_path: Path, *pids: int) -> list[Path]:
    return [path for pid in pids for path in (tmp_path / "data" / "workers").glob(f"{pid}-*")]


@pytest.mark.parametrize("kind", ["gthread", pytest.param("gevent", marks=pytest.mark.gevent)])
@pytest.mark.parametrize("which", ["waits", "is waited for"])
def test_worker_killed_during_a_switch_holds_nobody(tmp_path: Path, kind: str, which: str) -> None:
    """Workers that swap together go on without one that dies, long before their bound."""
    settings = {
        "FLASK_PLUGIN_HOST_SWITCH": "together",
        "FLASK_PLUGIN_HOST_SWITCH_TIMEOUT": str(2 * PATIENCE),
    }
    arguments = worker_arguments(kind, False, "--workers", "3", "--timeout", str(4 * int(PATIENCE)))
    with serve(tmp_path, "gunicorn_site:app", *arguments, **settings) as site:
        deploy(site, 1)
        workers = site.everywhere(says(1), workers=3).keys()
        site.until(lambda: shown(tmp_path) == workers, "all are in the fleet")
        late = min(workers)
        os.kill(late, signal.SIGSTOP)
        deploy(site, 2)
        site.until(lambda: _ready(tmp_path) == workers - {late}, "the others wait for it")
        if which == "waits":
            os.kill(max(workers), signal.SIGKILL)
            os.kill(late, signal.SIGCONT)
        else:
            os.kill(late, signal.SIGKILL)
        after = site.everywhere(says(2), workers=3).keys()
        site.until(lambda: shown(tmp_path) == after, "the fleet is as it is")
    assert len(workers & after) == 2
    assert "without waiting any longer" not in site.log.read_text()


def _ready(tmp_path: Path) -> set[int]:
    """Who has joined the round that is under way."""
    try:
        found: dict[str, Any] = json.loads((tmp_path / "data" / "switch.json").read_text())
    except FileNotFoundError:
        return set()
    return {pid for pid, _ in found["ready"]} if found["moment"] is None else set()
