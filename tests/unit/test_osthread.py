"""Real threads in a process that gevent has patched."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from plugin_host import osthread

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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_none_of_its_parents_threads() -> None:
    """A thread of the child that gets the ident of one of ours is not taken for it."""
    begun, end = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        end.wait()

    thread = osthread.start(wait, "one of ours")
    begun.wait()
    assert osthread._ours
    child = os.fork()
    if child == 0:
        os._exit(len(osthread._ours))
    status = os.waitpid(child, 0)[1]
    end.set()
    assert thread.join(30)
    assert os.waitstatus_to_exitcode(status) == 0
