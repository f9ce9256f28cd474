"""A root master that preloads the app, and workers of another user, as gunicorn's ``--user`` does.

No real gunicorn: what Python is installed in may be root's alone, and workers import lazily.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import guests
import pytest
from server import ROOT

pwd = pytest.importorskip("pwd")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root"),
]

MASTER = """
import encodings.idna, flask.testing, json, os, sys, time
from pathlib import Path
from plugin_host import PluginHost
base, user, group = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
app = flask.Flask("site")
app.config.update(
    PLUGIN_HOST_DIR=str(base / "plugins"), PLUGIN_HOST_DATA_DIR=str(base / "var" / "plugin_host")
)
plugins = PluginHost(app)
app.add_url_rule("/", view_func=lambda: "ok")
client = app.test_client()
worker = os.fork()
if worker:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))
os.setgroups([])
os.setgid(group)
os.setuid(user)
(base / "plugins" / "v.wat").write_text(sys.stdin.read())
said, end = client.get("/").headers["x-version"], time.monotonic() + 30
with app.app_context():
    while not (shown := [worker["pid"] for worker in plugins.fleet()]):
        assert time.monotonic() < end
        time.sleep(0.02)
artefacts = [path.name for path in (base / "var" / "plugin_host" / "cache").glob("*.cwasm")]
print(json.dumps({"said": said, "shown": shown == [os.getpid()], "compiled": len(artefacts)}))
app.extensions["plugin_host"].close()
"""


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that everybody may enter; what is in ``plugins`` and ``var`` is of ``nobody``."""
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        for folder in ("plugins", "var"):
            (path / folder).mkdir()
            os.chown(path / folder, nobody.pw_uid, nobody.pw_gid)
        (path / "plugins" / "v.wat").write_text(guests.adding("x-version", "1"))
        os.chown(path / "plugins" / "v.wat", nobody.pw_uid, nobody.pw_gid)
        yield path


def test_workers_can_use_what_a_root_master_made(base: Path) -> None:
    """The data directory is of the user in whose folder it is made; workers share it."""
    nobody = pwd.getpwnam("nobody")
    done = subprocess.run(
        [sys.executable, "-c", MASTER, str(base), str(nobody.pw_uid), str(nobody.pw_gid)],
        input=guests.adding("x-version", "2"),
        env=os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(base)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"said": "2", "shown": True, "compiled": 1}
    made = [base / "var" / "plugin_host", *(base / "var" / "plugin_host").rglob("*")]
    assert {path.stat().st_uid for path in made} == {nobody.pw_uid}
    assert "cannot" not in done.stderr
