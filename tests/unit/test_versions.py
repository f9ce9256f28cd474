"""The kept versions: whole, checked, one copy each, and never in the way of serving."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugin_host.folder.scan import Candidate
from plugin_host.machine.datadir import DataDir
from plugin_host.machine.versions import StoredVersion, VersionError, VersionStore, resolve

SECOND = 10**9

SETUP = """
import sys
from pathlib import Path
from plugin_host.machine.datadir import DataDir
from plugin_host.folder.scan import Candidate
from plugin_host.machine.versions import VersionStore
store = VersionStore(DataDir.open(Path(sys.argv[1])))
candidate = Candidate.of("tax", [Path("/plugins/tax.wasm")], [b"x" * 1_000_000])
"""


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return DataDir.open(tmp_path / "plugin_host")


@pytest.fixture
def store(data: DataDir) -> VersionStore:
    """A store whose clock shows 1, 2, 3, … seconds."""
    ticks = count(1)
    return VersionStore(data, keep=2, clock_ns=lambda: next(ticks) * SECOND)


def candidate(content: bytes, manifest: bytes | None = None, stem: str = "tax") -> Candidate:
    paths = [Path(f"/plugins/{stem}.wasm"), Path(f"/plugins/{stem}.toml")]
    contents = [content] if manifest is None else [content, manifest]
    return Candidate.of(stem, paths[: len(contents)], contents)


ONE, TWO, THREE, FOUR = (candidate(name) for name in (b"one", b"two", b"three", b"four"))


def put(store: VersionStore, *candidates: Candidate, name: str = "tax") -> None:
    for each in candidates:
        store.put(each, name, each.module.decode())
        assert store.history(name)[0].digest == each.digest


def kept(store: VersionStore, name: str = "tax") -> list[str]:
    return [version.version for version in store.history(name)]


def files(data: DataDir) -> list[str]:
    return sorted(os.listdir(data.path / "versions"))


def path_of(data: DataDir, which: Candidate, name: str = "tax") -> Path:
    return data.path / "versions" / f"{name}@{which.digest}.plugin"


def refuse(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("manifest", [None, b"", b'name = "tax"\n\x00'])
def test_a_version_comes_back(data: DataDir, store: VersionStore, manifest: bytes | None) -> None:
    """What was kept comes back as it was, in another process too, and nothing else does."""
    which = candidate(b"\0asm\nmodule\n", manifest)
    assert store.get(which.digest) is None
    assert store.put(which, "tax", "1.0")
    assert VersionStore(data).get(which.digest) == which
    assert VersionStore(data).get(ONE.digest) is None
    assert store.history("tax") == [StoredVersion(which.digest, "tax", "1.0", 1.0, "tax.wasm", 12)]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stem=st.binary(min_size=1).filter(lambda raw: not {0, 47} & {*raw} and raw.strip(b".")),
    module=st.binary(),
    manifest=st.none() | st.binary(),
    version=st.text(st.characters(codec="utf-8")),
    signature=st.none() | st.binary(),
)
def test_any_version_comes_back(
    store: VersionStore,
    stem: bytes,
    module: bytes,
    manifest: bytes | None,
    version: str,
    signature: bytes | None,
) -> None:
    """File names of any bytes, and any contents, come back."""
    which = replace(candidate(module, manifest, os.fsdecode(stem)), signature=signature)
    assert store.put(which, "tax", version)
    assert store.get(which.digest, "tax") == which
    newest = store.history("tax")[0]
    assert (newest.version, newest.file) == (version, which.module_path.name)


def test_a_name_must_be_a_plugins(store: VersionStore) -> None:
    """A name that could lead out of the folder is a caller's mistake."""
    with pytest.raises(ValueError, match=r"'\.\./tax' is not a plugin's name"):
        store.put(ONE, "../tax", "1")


def test_the_newest_comes_first(store: VersionStore) -> None:
    """Versions are listed from the one last proven good; to keep one again makes it that."""
    put(store, ONE, TWO, THREE)
    assert kept(store) == ["three", "two", "one"]
    put(store, ONE)
    assert kept(store) == ["one", "three", "two"]
    assert store.history("tax")[0].stored_at == 4.0


def test_the_same_again_writes_nothing(data: DataDir, store: VersionStore) -> None:
    """A version that is kept already is not written again, and whoever puts it is told."""
    assert store.put(ONE, "tax", "one") is True
    before = path_of(data, ONE).stat().st_ino
    link = data.path / "link"
    link.hardlink_to(path_of(data, ONE))
    assert store.put(ONE, "tax", "one") is False
    assert path_of(data, ONE).stat().st_ino == before


def test_a_new_signature_is_kept(store: VersionStore) -> None:
    """The same version signed anew is kept with its new signature; one version, one copy."""
    for signature in (None, b"old", b"new"):
        which = replace(ONE, signature=signature)
        assert store.put(which, "tax", "1")
        assert store.get(ONE.digest, "tax") == which
    assert kept(store) == ["1"]


def test_a_renamed_file_is_kept_by_its_new_name(data: DataDir, store: VersionStore) -> None:
    """The same content from another file replaces what was kept of the first."""
    put(store, ONE)
    renamed = candidate(b"one", stem="steuer")
    put(store, renamed)
    assert [version.file for version in store.history("tax")] == ["steuer.wasm"]
    assert store.get(ONE.digest) == renamed


def test_plugins_are_kept_apart(store: VersionStore) -> None:
    """Each plugin has its own history, also where digests agree or one name begins another."""
    put(store, ONE, TWO)
    put(store, candidate(b"one", stem="tax2"), name="tax2")
    assert (kept(store), kept(store, "tax2"), kept(store, "ta")) == (["two", "one"], ["one"], [])
    for name in ("tax", "tax2"):
        found = store.get(ONE.digest, name)
        assert found is not None
        assert found.stem == name
    assert store.get(TWO.digest, "tax2") is None


def test_damage_is_noticed(
    data: DataDir, store: VersionStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A version with any byte changed, cut off or added is not returned, but removed and told."""
    which = candidate(b"module", b"manifest")
    put(store, which)
    path = path_of(data, which)
    whole = path.read_bytes()
    damaged = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    for content in (*damaged, b"", whole[:5], whole[:-1], whole + b"x", b"{}\n", b"[" * 100_000):
        path.write_bytes(content)
        caplog.clear()
        found = store.get(which.digest)
        if found is None:
            assert not path.exists()
            assert [r.levelno for r in caplog.records] == [logging.ERROR]
            assert "damaged" in caplog.records[0].getMessage()
        else:  # only names were changed: what runs is what was kept
            assert (found.module, found.manifest) == (which.module, which.manifest)


def test_a_damaged_header_is_not_listed(
    data: DataDir, store: VersionStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A version whose description cannot be read is removed from the list and told."""
    put(store, ONE, TWO)
    path_of(data, ONE).write_bytes(b"\xff\n")
    assert kept(store) == ["two"]
    assert files(data) == [path_of(data, TWO).name]
    assert len(caplog.records) == 1


def test_damage_is_mended(data: DataDir, store: VersionStore) -> None:
    """A version that was cut off is written again when it is proven good again."""
    put(store, ONE)
    path_of(data, ONE).write_bytes(path_of(data, ONE).read_bytes()[:-1])
    put(store, ONE)
    assert store.get(ONE.digest) == ONE


def test_an_abbreviated_digest_finds_a_version(store: VersionStore) -> None:
    """The beginning of a digest, in either case, is enough when it fits one version only."""
    put(store, ONE, TWO)
    found = store.find("tax", ONE.digest[:6].upper())
    assert (found.version, found.digest) == ("one", ONE.digest)
    assert store.find("tax", ONE.digest) == found


def test_what_is_not_found_is_told(store: VersionStore) -> None:
    """A beginning that fits none names those there are; one that fits several names these."""
    put(store, ONE)
    with pytest.raises(VersionError, match=f"tax begins with 'xyz'; there are: {ONE.digest[:12]}$"):
        store.find("tax", "xyz")
    with pytest.raises(VersionError, match="no version of tax begins with ''"):
        store.find("tax", "")
    with pytest.raises(VersionError, match="no version of rates begins with 'a'; there are: none"):
        store.find("rates", "a")
    with pytest.raises(VersionError, match="ab begins more than one thing: abc1, abc2; give more"):
        resolve("ab", ["abc1", "abc2", "b"], "thing")


def test_there_is_a_way_back(store: VersionStore) -> None:
    """The previous version is the one proven good before, or the newest if this one never was."""
    put(store, ONE, TWO, THREE)

    def back(*args: Any) -> str | None:
        found = store.previous("tax", *args)
        return found.version if found else None

    assert [back(which.digest) for which in (THREE, TWO, ONE, FOUR)] == [
        "two",
        "one",
        None,
        "three",
    ]
    assert back(THREE.digest, {TWO.digest}) == "one"
    assert back(FOUR.digest, {ONE.digest, TWO.digest, THREE.digest}) is None
    put(store, ONE)
    assert back(ONE.digest) == "three"


def test_old_versions_are_pruned(data: DataDir, store: VersionStore) -> None:
    """Each plugin keeps its newest versions, and those that are protected."""
    put(store, ONE, TWO, THREE, FOUR)
    put(store, ONE, name="rates")
    store.prune({ONE.digest})
    assert (kept(store), kept(store, "rates")) == (["four", "three", "one"], ["one"])
    store.prune()
    assert (kept(store), kept(store, "rates")) == (["four", "three"], ["one"])
    assert len(files(data)) == 3


def test_a_clock_that_steps_back_changes_no_order(data: DataDir) -> None:
    """What is put last is the newest, whatever the clock says."""
    clock = iter([1000, 2000, 10, 11])
    store = VersionStore(data, keep=3, clock_ns=lambda: next(clock) * SECOND)
    put(store, ONE, TWO, THREE, ONE)
    assert kept(store) == ["one", "three", "two"]


def test_versions_of_plugins_that_are_long_gone_are_pruned(data: DataDir) -> None:
    """A month after a plugin was there for the last time, all but what is protected goes."""
    now = [1_700_000_000 * SECOND]
    store = VersionStore(data, keep=2, clock_ns=lambda: now[0])
    put(store, ONE, TWO)
    put(store, ONE, name="rates")

    def later(days: int, there: set[str] | None, protected: Collection[str] = ()) -> list[str]:
        now[0] += days * 86400 * SECOND
        store.prune(protected, there)
        return kept(store)

    assert later(40, {"tax", "rates"}) == ["two", "one"]  # served all the time
    assert later(29, {"rates"}) == ["two", "one"]
    assert later(20, None) == ["two", "one"]  # by somebody who does not know
    assert later(0, {"tax", "rates"}) == ["two", "one"]  # back in time
    assert later(29, {"rates"}) == ["two", "one"]
    probation = data.path / "versions" / "tax.trial"
    probation.touch()
    assert later(2, {"rates"}, {ONE.digest}) == ["one"]
    assert later(0, {"rates"}) == []
    assert files(data) == ["rates.there", path_of(data, ONE, "rates").name]


def test_that_a_plugin_is_there_changes_no_order(data: DataDir) -> None:
    """Noting it leaves alone when each version was proven good, and writes once a day at most."""
    now = [1_700_000_000 * SECOND]
    store = VersionStore(data, keep=2, clock_ns=lambda: now[0])
    put(store, ONE, TWO)
    before = store.history("tax")
    now[0] += 2 * 86400 * SECOND
    store.prune((), {"tax"})
    noted = (data.path / "versions" / "tax.there").stat().st_ctime_ns
    store.prune((), {"tax"})
    assert store.history("tax") == before
    assert (data.path / "versions" / "tax.there").stat().st_ctime_ns == noted


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="uses pipes and links")
def test_links_are_not_followed_and_pipes_not_waited_for(
    data: DataDir, store: VersionStore, tmp_path: Path
) -> None:
    """Whose data directory it is, root that helps there must not open what that user likes."""
    put(store, ONE)
    (path,) = (data.path / "versions").glob("tax@*")
    shutil.move(path, tmp_path / "aside")
    path.symlink_to(tmp_path / "aside")
    os.mkfifo(path.with_name(f"tax@{TWO.digest}.plugin"))
    assert (store.history("tax"), store.get(ONE.digest)) == ([], None)


def test_foreign_files_are_left_alone(data: DataDir, store: VersionStore) -> None:
    """A file whose name is not one of ours is neither listed nor pruned."""
    for name in ("tax.plugin", f"tax@{'A' * 64}.plugin", "tax@abc.plugin", "notes"):
        (data.path / "versions" / name).write_text("")
    put(store, ONE)
    store.prune()
    assert kept(store) == ["one"]
    assert len(files(data)) == 5


def test_a_full_disk_is_told_once(
    data: DataDir,
    store: VersionStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """When a version cannot be kept that is one log line, nothing is left, and it recovers."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        assert [store.put(ONE, "tax", "1"), store.put(ONE, "tax", "1")] == [False, False]
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    message = caplog.records[0].getMessage()
    assert "tax 1 cannot be kept for a rollback: " in message
    assert "No space left on device" in message
    assert files(data) == []
    assert store.put(ONE, "tax", "1")


@pytest.mark.skipif(os.name != "posix", reason="needs locks")
def test_a_worker_that_hangs_is_waited_for_once(
    data: DataDir, store: VersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another holds the lock, a start with many plugins waits for the first one only."""
    lock, timeouts = DataDir.lock, []

    def noted(self: DataDir, name: str, timeout: float) -> AbstractContextManager[None]:
        timeouts.append(timeout)
        return lock(self, name, 0)

    monkeypatch.setattr(DataDir, "lock", noted)
    with lock(data, "versions"):
        assert not any(store.put(each, "tax", "1") for each in (ONE, TWO, THREE))
    assert [store.put(each, "tax", "1") for each in (ONE, TWO)] == [True, True]
    assert timeouts == [2, 0, 0, 0, 2]


@pytest.mark.skipif(os.name != "posix", reason="needs resource limits")
def test_a_write_that_stops_half_way_leaves_nothing(data: DataDir) -> None:
    """When the disk is full in the middle of a file there is no file."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
print(store.put(candidate, "tax", "1"), store.history("tax"))
"""
    args = [sys.executable, "-c", SETUP + code, str(data.path)]
    done = subprocess.run(args, capture_output=True, text=True, check=True)
    assert done.stdout == "False []\n"
    assert "cannot be kept for a rollback" in done.stderr
    assert files(data) == []


def test_an_unusable_folder_serves_nothing(
    data: DataDir, store: VersionStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the folder cannot be used nothing is kept and nothing raises."""
    (data.path / "versions").rmdir()
    (data.path / "versions").write_text("")
    assert not store.put(ONE, "tax", "1")
    assert (store.get(ONE.digest), store.history("tax")) == (None, [])
    store.prune()
    assert {r.levelno for r in caplog.records} == {logging.WARNING}


def test_a_removed_folder_is_made_again(data: DataDir, store: VersionStore) -> None:
    """When somebody removes everything, history starts anew."""
    put(store, ONE)
    shutil.rmtree(data.path)
    assert (kept(store), store.get(ONE.digest)) == ([], None)
    put(store, TWO)
    assert kept(store) == ["two"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs flock")
def test_hammer_the_same_version_at_once(data: DataDir) -> None:
    """Several processes that keep one version at once make one copy; nobody sees a part of it."""
    code = """
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    store.put(candidate, "tax", "1")
    found = store.get(candidate.digest)
    assert found == candidate, found
"""
    args = [sys.executable, "-c", SETUP + code, str(data.path)]
    pipe = subprocess.PIPE
    workers = [subprocess.Popen(args, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    digest = hashlib.sha256(b"x" * 1_000_000).hexdigest()
    store, sizes = VersionStore(data), set()
    while any(worker.poll() is None for worker in workers):
        found = store.get(digest)
        sizes.add(found and len(found.module))
    for worker in workers:
        worker.communicate()
    assert [worker.returncode for worker in workers] == [0] * 4
    assert sizes <= {None, 1_000_000}
    assert files(data) == [f"tax@{digest}.plugin"]
