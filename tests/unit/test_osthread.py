"""Real threads in a process that gevent has patched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from gevent import monkey
monkey.patch_all()
import os, sys
from pathlib import Path
import gevent
from plugin_host import osthread
from plugin_host.errors import PluginFileError
from plugin_host.files.private import write_whole
from plugin_host.folder.wholefile import read_whole

folder, said = Path(sys.argv[1]), []

def work():
    gevent.get_hub()  # as a lock that another holds makes one
    before = os.listdir("/proc/self/fd")
    write_whole(folder / "file", [b"a"], durable=True)
    os.mkfifo(folder / "pipe")
    try:
        read_whole(folder / "pipe", 100)
    except PluginFileError as error:
        said.append(str(error))
    said.append(os.listdir("/proc/self/fd") == before)

assert osthread.start(work, "test").join(20)
assert said[1:] == [True] and "regular file" in said[0], said
"""


@pytest.mark.gevent
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks /proc for open files")
def test_files_are_closed_in_a_thread_that_has_a_hub(tmp_path: Path) -> None:
    """Folders and pipes are closed at once, though gevent would wait for a hub that never runs."""
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
