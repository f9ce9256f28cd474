"""SQLite files that are locked, full, read-only, damaged, replaced, or something else."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from plugin_host.errors import StateUnavailable
from plugin_host.state import Namespace, Quota
from plugin_host.state.sqlite import SqliteBackend
from tests.state.world import soon

ROOT: Final = Path(__file__).resolve().parents[2]


class Place:
    """A file and a namespace in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.backend = SqliteBackend(path)
        self.space = Namespace(self.backend, "shop", Quota())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A file that is not there yet."""
    made = Place(tmp_path / "folder" / "state.sqlite3")
    yield made
    made.backend.close()


def refused(call: object) -> str:
    """The message of an operation that is refused."""
    with pytest.raises(StateUnavailable) as caught:
        call()  # type: ignore[operator]
    assert caught.value.remedy
    return caught.value.cause


def test_the_file_is_made_when_it_is_needed(place: Place) -> None:
    """Opening a store touches nothing; the first operation makes a file that is private."""
    assert not place.path.parent.exists()
    place.space.put(b"k", b"v", deadline=soon())
    assert place.path.stat().st_mode & 0o777 == 0o600
    assert place.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_locked_file_is_waited_for_until_the_deadline(place: Place) -> None:
    """Writes are refused then, reads are not, and all is well when the lock is gone."""
    place.space.put(b"k", b"v", deadline=soon())
    other = sqlite3.connect(place.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    cause = refused(lambda: place.space.put(b"k", b"w", deadline=soon(0.05)))
    assert cause == "the file was locked by others until the deadline"
    refused(lambda: place.space.put_many([(b"k", b""), (b"j", b"")], deadline=soon(0.05)))
    assert place.space.get(b"k", deadline=soon()) == b"v"
    other.execute("ROLLBACK")
    other.close()
    place.space.put(b"k", b"w", deadline=soon())


def test_much_at_once_ends_at_the_deadline(place: Place) -> None:
    """Sixty megabytes are not written, read or deleted to their end, whoever waits; none are."""
    items = [(b"%d" % n, b"v" * 60_000) for n in range(1000)]
    keys = [key for key, _ in items]
    late = "the deadline has passed"
    assert refused(lambda: place.space.put_many(items, deadline=soon(0.005))) == late
    assert place.space.count(deadline=soon()) == 0
    place.space.put_many(items, deadline=soon())
    assert refused(lambda: place.space.get_many(keys, deadline=soon(0.002))) == late
    assert refused(lambda: place.space.delete_many(keys, deadline=soon(0.002))) == late
    assert place.space.count(deadline=soon()) == 1000
    assert place.space.get_many(keys, deadline=soon()) == [value for _, value in items]


def test_who_is_late_only_reads(place: Place) -> None:
    """Being in already, or too late, waits for no lock."""
    place.space.put_if_fewer_than(b"", 1, b"a", b"", deadline=soon())
    other = sqlite3.connect(place.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answers = [
        place.space.put_if_fewer_than(b"", 1, key, b"", deadline=soon()).outcome.value
        for key in (b"a", b"b")
    ]
    other.close()
    assert answers == ["present", "full"]


@pytest.mark.parametrize("size", [5, 5000])
def test_a_damaged_file_is_never_replaced(place: Place, size: int) -> None:
    """What is no database is refused, and stays as it is."""
    place.path.parent.mkdir()
    place.path.write_bytes(b"garbage, perhaps precious" * size)
    before = place.path.read_bytes()
    assert "damaged" in refused(lambda: place.space.get(b"k", deadline=soon()))
    assert "damaged" in refused(lambda: place.space.put(b"k", b"", deadline=soon()))
    assert place.path.read_bytes() == before


def test_damage_inside_is_told(place: Place) -> None:
    """A page that is overwritten is an error that names the remedy, not a wrong answer."""
    place.space.put_many([(b"%d" % n, b"x" * 500) for n in range(500)], deadline=soon())
    place.backend.close()
    content = bytearray(place.path.read_bytes())
    for page in range(2 * 4096, len(content) - 4096, 4096):
        content[page : page + 4096] = b"\xa5" * 4096
    place.path.write_bytes(content)
    assert "damaged" in refused(lambda: place.space.list(deadline=soon(), limit=1000))


def test_files_of_others_are_left_alone(place: Place) -> None:
    """A database with other tables, or of another version, is refused unchanged."""
    place.path.parent.mkdir()
    other = sqlite3.connect(place.path)
    other.execute("CREATE TABLE mine(x)")
    other.close()
    assert "something else" in refused(lambda: place.space.put(b"k", b"", deadline=soon()))
    other = sqlite3.connect(place.path)
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
    other.execute("DROP TABLE mine")
    other.execute("PRAGMA application_id=1885863938")
    other.close()
    assert "another version" in refused(lambda: place.space.put(b"k", b"", deadline=soon()))


def test_a_file_that_was_removed_is_made_anew(place: Place) -> None:
    """Nobody writes into a file that has no name any more."""
    place.space.put(b"k", b"old", deadline=soon())
    shutil.rmtree(place.path.parent)
    assert place.space.get(b"k", deadline=soon()) is None
    place.space.put(b"k", b"new", deadline=soon())
    second = Place(place.path)
    assert second.space.get(b"k", deadline=soon()) == b"new"
    second.backend.close()


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    """The message says why, and nothing else fails."""
    (tmp_path / "file").write_text("")
    place = Place(tmp_path / "file" / "state.sqlite3")
    assert "cannot be made" in refused(lambda: place.space.get(b"k", deadline=soon()))


def run(code: str, *arguments: object) -> list[str]:
    """What another Python process prints, line by line."""
    done = subprocess.run(
        [sys.executable, "-c", f"from tests.state.fault_process import *\n{code}",
         *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("how", ["symbolic", "dangling", "hard"])
def test_root_follows_no_links_in_the_folder_of_another(
    place: Place, tmp_path: Path, suffix: str, how: str
) -> None:
    """Or the server's user would be given a file anywhere that an operator makes by it."""
    place.path.parent.mkdir(mode=0o700)
    os.chown(place.path.parent, 1234, 1235)
    if suffix:
        place.path.touch(0o600)
        os.chown(place.path, 1234, 1235)
    target, link = tmp_path / "precious", Path(f"{place.path}{suffix}")
    if how != "dangling":
        target.touch()
    if how == "hard":
        os.link(target, link)
    else:
        link.symlink_to(target)
    cause = refused(lambda: place.space.put(b"k", b"v", deadline=soon()))
    assert cause == f"{link.name} is a link, and root follows none in a folder of user 1234"
    if how == "dangling":
        assert not target.exists()
    else:
        status = target.stat()
        assert (status.st_uid, status.st_size) == (0, 0)
    link.unlink()
    place.space.put(b"k", b"v", deadline=soon())
    assert {file.stat().st_uid for file in place.path.parent.iterdir()} == {1234}


def test_a_full_disk_refuses_writes_and_loses_nothing(tmp_path: Path) -> None:
    """What was acknowledged before is there, reads go on, and writes do when there is space."""
    path = tmp_path / "state.sqlite3"
    written, refusal, kept, again = run("fill_up(*sys.argv[1:])", path)
    assert "the disk" in refusal
    assert int(written) > 10
    assert kept == written
    assert again == "written"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no users here")
def test_a_read_only_file_is_read(tmp_path: Path) -> None:
    """Writes say that it is read-only."""
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to other users
    try:
        place = Place(folder / "state.sqlite3")
        place.space.put(b"k", b"v", deadline=soon())
        kept_open = sqlite3.connect(place.path)
        kept_open.execute("SELECT * FROM entries").fetchall()
        place.backend.close()
        folder.chmod(0o755)
        for file in folder.iterdir():
            file.chmod(0o644)
        place.path.chmod(0o444)
        folder.chmod(0o555)
        value, refusal = run("read_only(*sys.argv[1:])", place.path)
        kept_open.close()
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
    assert value == "b'v'"
    assert "read-only" in refusal
