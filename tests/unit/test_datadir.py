"""The data directory: private, its locks end with their holders, its files appear whole."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plugin_host.files import locking
from plugin_host.files.private import read, sweep
from plugin_host.machine.datadir import FOLDERS, DataDir, DataDirError

SOON = 20.0  # seconds after which what must happen has not

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and flock")
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root"
)

SETUP = """
import os, sys
from pathlib import Path
from plugin_host.machine.datadir import DataDir
data = DataDir.open(Path(sys.argv[1]))
"""


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return DataDir.open(tmp_path / "instance" / "plugin_host")


def script(code: str, *args: object) -> subprocess.Popen[str]:
    """Start a Python process that talks on its standard streams."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refuse(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_it_is_made_private(data: DataDir) -> None:
    """A missing data directory is made with its folders, for its user alone."""
    assert sorted(os.listdir(data.path)) == sorted(FOLDERS)
    assert {mode(data.path / name) for name in (".", *FOLDERS)} == {0o700}


def test_it_can_be_opened_again(data: DataDir) -> None:
    """A data directory that is there already is used, also if others may look into it."""
    data.path.chmod(0o755)
    assert DataDir.open(data.path) == data


@pytest.mark.parametrize("name", [".", "cache"])
@pytest.mark.parametrize("bits", [0o770, 0o702, 0o1777])
def test_others_may_not_write_there(data: DataDir, name: str, bits: int) -> None:
    """A folder where others can write is refused, with path, cause and remedy."""
    path = data.path / name
    path.chmod(bits)
    with pytest.raises(DataDirError) as caught:
        DataDir.open(data.path)
    assert caught.value.path == path
    assert caught.value.cause == f"can be written by other users (mode {bits:o})"
    assert "chmod 700" in caught.value.remedy
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", [".", "versions"])
def test_a_link_is_refused(data: DataDir, tmp_path: Path, name: str) -> None:
    """A symbolic link in the place of a folder is refused: who made it could turn it."""
    path = Path(os.path.normpath(data.path / name))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataDirError, match="is a symbolic link"):
        DataDir.open(data.path)


def test_a_link_above_it_is_followed(data: DataDir, tmp_path: Path) -> None:
    """Only the data directory itself must not be a link: a deployed release is often below one."""
    (tmp_path / "current").symlink_to(tmp_path / "instance")
    assert DataDir.open(tmp_path / "current" / "plugin_host").folder("cache").is_dir()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no users")
def test_another_users_is_refused(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data directory that belongs to another user is refused, saying whose it is."""
    owner = data.path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(DataDirError, match=f"belongs to user {owner}, .* runs as {owner + 1}"):
        DataDir.open(data.path)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    """A file in its place, or in the place of a folder above it, is named."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirError, match="is not a folder; move it away"):
        DataDir.open(tmp_path / "file")
    with pytest.raises(DataDirError, match="cannot be made: "):
        DataDir.open(tmp_path / "file" / "below")


def test_a_removed_folder_is_made_again(data: DataDir) -> None:
    """Whoever removes the data directory while workers run loses what it held, and no more."""
    shutil.rmtree(data.path)
    assert mode(data.folder("workers")) == 0o700
    shutil.rmtree(data.path)
    with data.lock("control"):
        assert mode(data.path) == 0o700


@needs_root
def test_roots_help_belongs_to_the_server(data: DataDir) -> None:
    """What root makes in another user's data directory is that user's."""
    shutil.rmtree(data.path / "cache")
    os.chown(data.path, 1234, 1235)
    for name in FOLDERS[1:]:
        os.chown(data.path / name, 1234, 1235)
    helped = DataDir.open(data.path)
    helped.write(data.path / "file", [b"x"], durable=False)
    with helped.lock("control"):
        pass
    claim = helped.claim(data.path / "claim")
    assert claim is not None
    claim.close()
    owners = {
        name: (os.stat(data.path / name).st_uid, os.stat(data.path / name).st_gid)
        for name in os.listdir(data.path)
    }
    everything = {*FOLDERS, "file", "control.lock", "claim"}
    assert owners == dict.fromkeys(everything, (1234, 1235))


@needs_root
def test_root_gives_nothing_of_its_own_away(data: DataDir, tmp_path: Path) -> None:
    """A second name of root's file, planted where root is to help, does not change its owner."""
    os.chown(data.path, 1234, 1235)
    precious = tmp_path / "precious"
    precious.write_text("root's")
    os.link(precious, data.path / "control.lock")
    with DataDir.open(data.path).lock("control"):
        pass
    assert precious.stat().st_uid == 0


@needs_root
def test_root_gives_away_no_file_in_a_folders_place(
    data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor one that takes the place of a folder between its making and its giving."""
    os.chown(data.path, 1234, 1235)
    shutil.rmtree(data.path / "cache")
    precious = tmp_path / "precious"
    precious.write_text("root's")
    mkdir = Path.mkdir

    def replaced(path: Path, mode: int = 0o777, **more: bool) -> None:
        mkdir(path, mode, **more)
        if path.name == "cache":
            path.rmdir()
            os.link(precious, path)

    monkeypatch.setattr(Path, "mkdir", replaced)
    with pytest.raises(DataDirError, match="cannot be made"):
        DataDir.open(data.path)
    assert precious.stat().st_uid == 0


@needs_fork
def test_a_lock_keeps_others_out(data: DataDir) -> None:
    """While a lock is held nobody else gets it; afterwards, and under another name, they do."""
    with data.lock("one"):
        with data.lock("two"), pytest.raises(DataDirError, match="is locked by another process"):
            data.lock("one", timeout=0).__enter__()
        with pytest.raises(DataDirError, match=r"one\.lock"), data.lock("one", timeout=0):
            pass
    with data.lock("one", timeout=0):
        pass


@needs_fork
def test_a_killed_holders_lock_is_free(data: DataDir) -> None:
    """A lock whose holder was killed is free at once."""
    code = SETUP + "with data.lock('x'): print('held', flush=True); sys.stdin.read()"
    with script(code, data.path) as holder:
        assert line(holder) == "held"
        with pytest.raises(DataDirError), data.lock("x", timeout=0):
            pass
        holder.kill()
        holder.wait(SOON)
        with data.lock("x", timeout=0):
            pass


@needs_fork
def test_a_forked_child_does_not_keep_a_lock(data: DataDir) -> None:
    """A lock whose holder was killed is free, although a child forked meanwhile lives on."""
    code = (
        SETUP
        + """
with data.lock("x"):
    if os.fork():
        sys.stdin.read()
    else:
        print("forked", flush=True)
        sys.stdin.read()
        os._exit(0)
"""
    )
    with script(code, data.path) as holder:
        assert line(holder) == "forked"
        holder.send_signal(signal.SIGKILL)
        holder.wait(SOON)
        with data.lock("x", timeout=0):
            pass


@needs_fork
def test_a_forked_child_does_not_end_a_lock(data: DataDir) -> None:
    """A child that was forked under a lock and leaves its block does not give the lock up."""
    code = (
        SETUP
        + """
with data.lock("x"):
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        print("held", flush=True)
        sys.stdin.read()
"""
    )
    with script(code, data.path) as holder:
        assert line(holder) == "held"
        with pytest.raises(DataDirError), data.lock("x", timeout=0):
            pass


@needs_fork
def test_a_lock_that_lost_its_name_is_none(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever locks a file that was removed meanwhile goes on to the one of that name."""
    path = data.path / "x.lock"
    removals, try_lock = iter([path.unlink]), locking.try_lock

    def lock_and_remove(fd: int) -> bool | None:
        got = try_lock(fd)
        next(removals, lambda: None)()
        return got

    monkeypatch.setattr(locking, "try_lock", lock_and_remove)
    with data.lock("x", timeout=SOON):
        monkeypatch.undo()
        with pytest.raises(DataDirError), data.lock("x", timeout=0):
            pass


def test_it_works_without_locks(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the platform has no locks nobody is kept out, and no claim is made or left."""
    monkeypatch.setattr(locking, "fcntl", None)
    with data.lock("x", timeout=0), data.lock("x", timeout=0):
        pass
    assert data.claim(data.path / "claim") is None
    assert sorted(os.listdir(data.path)) == sorted([*FOLDERS, "x.lock"])


@needs_fork
def test_it_works_on_file_systems_without_locks(
    data: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that has no locks is like a platform without; other errors are told."""
    import fcntl

    def flock(fd: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    code = errno.ENOLCK
    with data.lock("x", timeout=0):
        pass
    code = errno.EIO
    with pytest.raises(DataDirError, match=os.strerror(errno.EIO)), data.lock("x", timeout=0):
        pass


def test_a_lock_that_cannot_be_opened_is_named(data: DataDir) -> None:
    """A lock's file that cannot be opened is a problem with path, cause and remedy."""
    (data.path / "x.lock").mkdir()
    told = pytest.raises(DataDirError, match=r"x\.lock.*cannot be locked: Is a directory; let the")
    with told, data.lock("x"):
        pass


@pytest.mark.parametrize("durable", [True, False])
def test_a_written_file_is_private(data: DataDir, durable: bool) -> None:
    """A file is written from its parts, for its user alone, and nothing else is left."""
    path = data.folder("versions") / "file"
    data.write(path, [b"old"], durable=durable)
    data.write(path, [b"one ", b"two"], durable=durable)
    assert (path.read_bytes(), mode(path)) == (b"one two", 0o600)
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_changes_nothing(
    data: DataDir, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """When a write fails the old file stays, and nothing of the new one is left."""
    path = data.folder("versions") / "file"
    data.write(path, [b"old"], durable=True)
    monkeypatch.setattr(os, step, refuse)
    with pytest.raises(OSError, match="No space left"):
        data.write(path, [b"new"], durable=True)
    assert (path.read_bytes(), os.listdir(path.parent)) == (b"old", ["file"])


@needs_fork
def test_readers_see_whole_files(data: DataDir) -> None:
    """Whoever reads while another process replaces a file sees one whole content or another."""
    path = data.path / "file"
    code = (
        SETUP
        + """
for number in range(300):
    data.write(data.path / "file", [b"%d" % number] * (number * 50 + 1), durable=False)
"""
    )
    data.write(path, [b"0"], durable=False)
    with script(code, data.path) as writer:
        wrong = 0
        while writer.poll() is None:
            content = read(path, 1 << 20)[1]
            wrong += not any(
                content == b"%d" % number * (number * 50 + 1)
                for number in (int(content[:digits]) for digits in (1, 2, 3))
            )
        assert (writer.returncode, wrong) == (0, 0)
    assert read(path, 1 << 20)[1] == b"299" * (299 * 50 + 1)


def test_leftovers_of_killed_writers_are_swept(data: DataDir) -> None:
    """Temporary files that nobody goes on with are removed, and nothing else."""
    folder = data.folder("cache")
    past, future, young = (f".{digit * 16}.tmp" for digit in "012")
    for name in (past, future, young, "kept", "kept.tmp"):
        (folder / name).write_text("")
    for name in (past, "kept", "kept.tmp"):
        os.utime(folder / name, (0, 0))
    os.utime(folder / future, (1 << 33, 1 << 33))  # written before the clock stepped back
    sweep(folder)
    assert sorted(os.listdir(folder)) == [young, "kept", "kept.tmp"]


@pytest.mark.parametrize("name", [".", *FOLDERS])
def test_opening_sweeps(data: DataDir, name: str) -> None:
    """Each worker that starts removes what others, killed, left behind anywhere."""
    leftover = data.path / name / f".{'0' * 16}.tmp"
    leftover.write_text("")
    os.utime(leftover, (0, 0))
    DataDir.open(data.path)
    assert not leftover.exists()


def test_only_our_own_files_are_read(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link, a pipe, a file that is too large and one of another user are not read."""
    path = data.path / "file"
    path.write_bytes(b"12345")
    assert read(path, 5)[1] == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read(path, 4)
    (data.path / "link").symlink_to(path)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        read(data.path / "link", 5)
    os.mkfifo(data.path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        read(data.path / "pipe", 5)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(OSError, match="belongs to user"):
        read(path, 5)
