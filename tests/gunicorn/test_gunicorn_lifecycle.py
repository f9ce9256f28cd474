"""A real gunicorn, told by signals to change its workers or to end, while plugins are replaced.

Every answer under load is judged: a 200 in which both hooks are of one version, the newest one
once all workers had it. What an event itself must lose is said where it is tested.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from load import Load, deploy, kinds, preloads, says, shown, start_with, worker_arguments
from server import PATIENCE, WORKERS, Site, is_running, serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="asks /proc for the workers"),
]


@kinds
@preloads
def test_workers_replaced_by_hup_serve_the_newest(tmp_path: Path, kind: str, preload: bool) -> None:
    """SIGHUP loses no request; new workers start with the newest version, and follow."""
    with serve(tmp_path, "gunicorn_site:app", *worker_arguments(kind, preload)) as site:
        deploy(site, 1)
        before = site.everywhere(says(1)).keys()
        with Load(site) as load:
            deploy(site, 2)
            site.everywhere(says(2))
            everywhere_2 = time.monotonic()
            os.kill(site.master, signal.SIGHUP)
            site.until(lambda: site.workers() - before, "SIGHUP starts workers")
            deploy(site, 3)
            site.until(lambda: not before & site.workers(), "SIGHUP ends the old ones")
            after = site.everywhere(says(3)).keys()
            everywhere_3 = time.monotonic()
            load.wait_for(30)
    assert load.broken == []
    assert (load.stale(2, everywhere_2), load.stale(3, everywhere_3)) == ([], [])
    assert not before & after


@contextmanager
def upgraded(site: Site, pidfile: Path) -> Iterator[int]:
    """Have a new master started beside the running one; it is ended with the block."""
    os.kill(site.master, signal.SIGUSR2)
    second = pidfile.with_name(f"{pidfile.name}.2")
    site.until(second.exists, "SIGUSR2 starts a master")
    master = int(second.read_text())
    try:
        site.until(lambda: len(site.workers(master)) == WORKERS, "it starts workers")
        yield master
    finally:
        with suppress(ProcessLookupError):
            os.kill(master, signal.SIGTERM)
        site.until(lambda: not is_running(master), "the new master ends")


@kinds
def test_both_masters_of_an_upgrade_follow(tmp_path: Path, kind: str) -> None:
    """During a USR2 upgrade all workers follow; the old ones leave (WINCH, QUIT) unnoticed."""
    pidfile = tmp_path / "gunicorn.pid"
    # A master that is a daemon already, as gunicorn sees it: only such a one minds SIGWINCH.
    more = ["--daemon", "--enable-stdio-inheritance", "--pid", str(pidfile)]
    daemon = {"GUNICORN_FD": ""}
    with serve(
        tmp_path, "gunicorn_site:app", *worker_arguments(kind, False, *more), **daemon
    ) as site:
        deploy(site, 1)
        old = site.everywhere(says(1)).keys()
        with upgraded(site, pidfile) as master, Load(site) as load:
            deploy(site, 2)
            both = site.everywhere(says(2), workers=2 * WORKERS).keys()
            assert both == old | site.workers(master)
            site.until(lambda: shown(tmp_path) == both, "the fleet shows all")
            os.kill(site.master, signal.SIGWINCH)
            site.until(lambda: not old & site.workers(), "WINCH ends the old workers")
            deploy(site, 3)
            new = site.everywhere(says(3)).keys()
            everywhere_3 = time.monotonic()
            os.kill(site.master, signal.SIGQUIT)
            assert site.process.wait(PATIENCE) == 0
            load.wait_for(30)
            site.until(lambda: shown(tmp_path) == new == site.workers(master), "the fleet follows")
    assert load.broken == []
    assert load.stale(3, everywhere_3) == []


@kinds
@preloads
def test_workers_come_and_go_by_ttin_and_ttou(tmp_path: Path, kind: str, preload: bool) -> None:
    """A worker added by TTIN starts with the newest version; one ended by TTOU loses nothing."""
    with serve(tmp_path, "gunicorn_site:app", *worker_arguments(kind, preload)) as site:
        deploy(site, 1)
        site.everywhere(says(1))
        everywhere_1 = time.monotonic()
        with Load(site) as load:
            os.kill(site.master, signal.SIGTTIN)
            site.everywhere(says(1), workers=WORKERS + 1)
            deploy(site, 2)
            three = site.everywhere(says(2), workers=WORKERS + 1).keys()
            everywhere_2 = time.monotonic()
            os.kill(site.master, signal.SIGTTOU)
            site.until(lambda: len(site.workers()) == WORKERS, "TTOU ends a worker")
            site.until(lambda: shown(tmp_path) == site.workers(), "the fleet follows")
            load.wait_for(30)
            assert site.workers() < three
    assert load.broken == []
    assert (load.stale(1, everywhere_1), load.stale(2, everywhere_2)) == ([], [])


@kinds
@preloads
def test_ends_in_order_under_load(tmp_path: Path, kind: str, preload: bool) -> None:
    """SIGTERM lets what has begun finish with its hooks; nothing is left behind, nor in the log.

    What comes when nobody listens any more is refused, or reset unanswered: that is lost.
    """
    settings = {"FLASK_MARKS": str(tmp_path)}
    arguments = worker_arguments(kind, preload)
    start_with(tmp_path, 1)
    with serve(tmp_path, "gunicorn_site:app", *arguments, **settings) as site:
        site.everywhere(says(1))
        workers = site.workers()
        with ThreadPoolExecutor(WORKERS) as clients:
            held = [clients.submit(site.get, "/held") for _ in range(WORKERS)]
            site.until(lambda: len([*tmp_path.glob("held-*")]) == WORKERS, "requests are held")
            with Load(site) as load:
                site.until(lambda: kind == "sync" or len(load.seen) > 10, "there is load")
                deploy(site, 2)
                os.kill(site.master, signal.SIGTERM)
                site.until(lambda: "signal: term" in site.log.read_text(), "SIGTERM is seen")
                (tmp_path / "go").touch()
                answers = [each.result(PATIENCE) for each in held]
                assert site.process.wait(PATIENCE) == 0
    assert [(a.status, a.headers.get("x-version"), a.json["version"]) for a in answers] == [
        (200, "1", "1")
    ] * WORKERS
    refused = ("ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected")
    assert [each for each in load.broken if each.split()[1].rstrip(":") not in refused] == []
    assert not [pid for pid in workers if is_running(pid)]
    assert [*(tmp_path / "data" / "workers").iterdir()] == []
    log = site.log.read_text().lower()
    assert not [word for word in ("traceback", "panic", "sigkill", "timeout") if word in log], log
