"""Reading a file only when it is whole, from the real file system."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from plugin_host.errors import PluginFileError
from plugin_host.folder.wholefile import (
    PluginFolder,
    Signature,
    Status,
    Whole,
    open_for_writing,
    read_whole,
)

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

leases = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="no file leases")


def test_read_whole_returns_content_and_signature(tmp_path: Path) -> None:
    """A quiet file is read entirely, with the signature its status shows."""
    path = tmp_path / "a.wasm"
    path.write_bytes(b"A" * 100_000)
    assert read_whole(path, 100_000) == Whole(Signature.of(path.stat()), b"A" * 100_000)


@leases
def test_read_whole_refuses_an_open_file(tmp_path: Path) -> None:
    """A file that a process has open for writing is not whole, one that is closed is."""
    path = tmp_path / "a.wasm"
    with path.open("wb") as file:
        file.write(b"A")
        file.flush()
        assert read_whole(path, 10) is None
    assert read_whole(path, 10, proof=True) is not None


def test_read_whole_needs_proof_when_asked(tmp_path: Path) -> None:
    """Where the platform cannot tell who writes, a file is read only without need of proof."""
    path = tmp_path / "a.wasm"
    path.write_bytes(b"A")
    assert read_whole(path, 10, proof=True, probe=lambda fd: None) is None
    assert read_whole(path, 10, proof=False, probe=lambda fd: None) is not None


@pytest.mark.parametrize("change", ["append", "replace", "delete", "overwrite"])
def test_read_whole_notices_a_change_while_reading(tmp_path: Path, change: str) -> None:
    """A file that grows, is replaced, deleted or overwritten during the read is not whole."""
    path = tmp_path / "a.wasm"
    path.write_bytes(b"A")
    os.utime(path, ns=(0, 0))
    probes = []

    def probe(fd: int) -> bool:
        probes.append(fd)
        if len(probes) == 2:
            if change == "delete":
                path.unlink()
            elif change == "replace":
                (tmp_path / "b").write_bytes(b"A")
                os.replace(tmp_path / "b", path)
            else:
                with path.open("ab" if change == "append" else "r+b") as file:
                    file.write(b"B")
        return False

    assert read_whole(path, 10, probe=probe) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs")
def test_special_files_are_never_opened(tmp_path: Path) -> None:
    """A FIFO, a folder or a device in place of a file is a problem found without opening it."""
    os.mkfifo(tmp_path / "fifo.wasm")
    (tmp_path / "dir.wasm").mkdir()
    (tmp_path / "null.wasm").symlink_to(os.devnull)
    folder = PluginFolder(tmp_path)
    problems = [folder.status(name, 10).problem for name in ("fifo.wasm", "dir.wasm", "null.wasm")]
    assert [problem and problem.reason for problem in problems] == ["is not a regular file"] * 3
    with pytest.raises(PluginFileError, match="is not a regular file"):
        read_whole(tmp_path / "fifo.wasm", 10)


def test_dangling_link_is_a_problem(tmp_path: Path) -> None:
    """A link without target is not a deleted file; the message names the target."""
    (tmp_path / "a.wasm").symlink_to("b.bin")
    status = PluginFolder(tmp_path).status("a.wasm", 10)
    assert status.signature is not None
    assert str(status.problem) == (
        "a.wasm: is a link to b.bin, which does not exist; restore the target"
    )
    assert PluginFolder(tmp_path).status("c.wasm", 10) == Status(None)


def test_limit_is_checked_before_reading(tmp_path: Path) -> None:
    """A file over the limit is a problem that names both sizes."""
    path = tmp_path / "a.wasm"
    path.write_bytes(b"A" * 11)
    problem = PluginFolder(tmp_path).status("a.wasm", 10).problem
    assert "has 11 bytes, more than the allowed 10" in str(problem)
    with pytest.raises(PluginFileError, match="more than the allowed 10"):
        read_whole(path, 10)


@leases
def test_probe_tells_who_writes(tmp_path: Path) -> None:
    """The lease probe sees writers, leaves no lease behind, and disturbs nobody."""
    path = tmp_path / "a.wasm"
    path.write_bytes(b"A")
    signals: list[int] = []
    before = signal.signal(signal.SIGIO, lambda number, frame: signals.append(number))
    try:
        with path.open("rb") as file:
            assert open_for_writing(file.fileno()) is False
            assert fcntl is not None
            assert fcntl.fcntl(file.fileno(), fcntl.F_GETLEASE) == fcntl.F_UNLCK
            with path.open("ab"):
                assert open_for_writing(file.fileno()) is True
            assert open_for_writing(file.fileno()) is False
    finally:
        signal.signal(signal.SIGIO, before)
    assert signals == []


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc")
def test_reading_leaves_no_descriptor(tmp_path: Path) -> None:
    """Every read, whole or not, closes what it opened."""
    path = tmp_path / "a.wasm"
    path.write_bytes(b"A")
    before = os.listdir("/proc/self/fd")
    for probe in (lambda fd: False, lambda fd: True):
        read_whole(path, 10, probe=probe)
    with pytest.raises(PluginFileError):
        read_whole(path, 0)
    assert os.listdir("/proc/self/fd") == before
