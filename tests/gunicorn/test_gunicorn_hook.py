"""The hook that plugin_host.gunicorn offers: a worker watches before it has served anything."""

from __future__ import annotations

import time
from pathlib import Path

import guests
import pytest
from server import PATIENCE, WORKERS, serve

from plugin_host.machine.datadir import DataDir
from plugin_host.machine.fleet import fleet

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_workers_are_in_the_fleet_once_they_have_booted(tmp_path: Path, worker: str) -> None:
    """With the hook, deploys reach workers that no request has reached."""
    config = tmp_path / "gunicorn.conf.py"
    config.write_text("from plugin_host.gunicorn import post_worker_init\n")
    data = tmp_path / "data"
    arguments = ["--worker-class", worker, "--config", str(config)]
    with serve(
        tmp_path, "gunicorn_site:app", *arguments, FLASK_PLUGIN_HOST_DATA_DIR=str(data)
    ) as site:
        site.put("v.wat", guests.adding("x-version", "1"))
        deadline, versions = time.monotonic() + PATIENCE, []
        while len(versions) < WORKERS:
            assert time.monotonic() < deadline, site.log.read_text()
            states = [state.status["plugins"] for state in fleet(DataDir.open(data))]
            versions = [plugins[0]["name"] for plugins in states if plugins]
            time.sleep(0.02)
    assert versions == ["v"] * WORKERS
