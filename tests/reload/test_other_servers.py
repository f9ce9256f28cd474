"""Servers other than gunicorn: plugins are replaced under load from several threads."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import time
from pathlib import Path

import pytest
from load import Load, deploy, says, shown, start_with
from server import HERE, free_port, is_running, running

pytestmark = pytest.mark.slow

WERKZEUG = """
from gunicorn_site import app
from werkzeug.serving import make_server
make_server("127.0.0.1", {port}, app, threaded=True).serve_forever()
"""
WAITRESS = """
from gunicorn_site import app
from waitress import serve
serve(app, host="127.0.0.1", port={port}, threads=4)
"""


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(WERKZEUG, id="werkzeug"),
        pytest.param(
            WAITRESS,
            id="waitress",
            marks=pytest.mark.skipif(
                not importlib.util.find_spec("waitress"), reason="needs waitress"
            ),
        ),
    ],
)
def test_threads_of_a_server_follow(tmp_path: Path, script: str) -> None:
    """Plugins replaced, broken and replaced again under load: no request fails or goes back."""
    port, followed = free_port(), {}
    command = [sys.executable, "-c", script.format(port=port)]
    start_with(tmp_path, 0)
    with running(tmp_path, command, port) as site, Load(site) as load:
        for version in range(1, 8):
            if version % 3 == 0:
                site.put("v.wat", b"no module")
            else:
                deploy(site, version)
                site.everywhere(says(version), workers=1)
                followed[version] = time.monotonic()
            load.wait_for(20)
    assert load.broken == []
    assert [seen for v, since in followed.items() for seen in load.stale(v, since)] == []
    assert len({seen.pid for seen in load.seen}) == 1


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="asks /proc")


def dev_server(port: int) -> list[str]:
    """The command of Flask's development server with its reloader."""
    run = ["run", "--debug", "--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "flask", "--app", "dev_site", *run]


@needs_proc
def test_dev_server_follows_in_its_child_alone(tmp_path: Path) -> None:
    """Under `flask run --debug` plugins change without a restart; the parent watches nothing."""
    (tmp_path / "dev_site.py").write_bytes((HERE / "gunicorn_site.py").read_bytes())
    port = free_port()
    start_with(tmp_path, 0)
    with running(tmp_path, dev_server(port), port, tmp_path) as site, Load(site) as load:
        for version in (1, 2):
            deploy(site, version)
            (child,) = site.everywhere(says(version), workers=1)
        assert site.workers() == {child}
        # Whoever watches has a beacon.
        site.until(lambda: shown(tmp_path), "the fleet shows somebody")
        assert shown(tmp_path) == {child}
    assert load.broken == []
    assert {seen.pid for seen in load.seen} == {child}
    site.until(lambda: not is_running(child), "the child ends with its parent")


@needs_proc
@pytest.mark.skipif(
    int(importlib.metadata.version("watchdog").split(".")[0]) >= 7,
    reason="Flask's reloader does not notice changes with watchdog 7",
)
def test_dev_server_restarts_for_python_and_goes_on_following(tmp_path: Path) -> None:
    """A changed .py file restarts the child; plugins are there again, and followed."""
    source = tmp_path / "dev_site.py"
    source.write_bytes((HERE / "gunicorn_site.py").read_bytes())
    port = free_port()
    start_with(tmp_path, 0)
    with running(tmp_path, dev_server(port), port, tmp_path) as site:
        (before,) = site.everywhere(says(0), workers=1)
        deploy(site, 1)
        source.write_text(source.read_text() + "\n# edited\n")
        site.until(lambda: not is_running(before), "the child restarts")
        site.until(lambda: site.answers(), "it serves again")
        (after,) = site.everywhere(says(1), workers=1)
        deploy(site, 2)
        assert site.everywhere(says(2), workers=1).keys() == {after}
    assert after != before
