"""Every way of deploying, on the real file system, with events and by polling."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from deploying import HAS_LEASES, MODES, TIMING, Site, content, watched

PAUSE = 0.25
"""Seconds a slow writer stalls: longer than any wait of the scanner but the stale limit."""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="uses POSIX commands and links")


@pytest.fixture(params=MODES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with watched(tmp_path, request.param) as site:
        yield site


def run(*command: str | Path, cwd: Path | None = None) -> None:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    subprocess.run(command, check=True, cwd=cwd, capture_output=True, timeout=60)


def other_file_system(site: Site) -> Path:
    """Return a new folder on another file system than the site's."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == site.folder.stat().st_dev:
        pytest.skip("no second file system")
    folder = shm / f"deploy-ways-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    return folder


# Ways to replace plugins/x.wasm by `new`. Each is one function of the site and the new file.


def cp(site: Site, new: Path) -> None:
    run("cp", new, site.folder / "x.wasm")


def cp_preserving(site: Site, new: Path) -> None:
    run("cp", "-p", new, site.folder / "x.wasm")


def slow_write(site: Site, new: Path) -> None:
    data = new.read_bytes()
    with (site.folder / "x.wasm").open("wb", buffering=0) as file:
        for start in range(0, len(data), len(data) // 3):
            file.write(data[start : start + len(data) // 3])
            time.sleep(PAUSE)


def slow_overwrite(site: Site, new: Path) -> None:
    """What rsync --inplace and some editors do: old and new content mixed until the end."""
    data = new.read_bytes()
    with (site.folder / "x.wasm").open("r+b", buffering=0) as file:
        for start in range(0, len(data), len(data) // 3):
            file.write(data[start : start + len(data) // 3])
            time.sleep(PAUSE)
        file.truncate()


def write_through_mapping(site: Site, new: Path) -> None:
    data = new.read_bytes()
    with (site.folder / "x.wasm").open("r+b") as file:
        file.truncate(len(data))
        mapping = mmap.mmap(file.fileno(), len(data))
    with mapping:
        mapping[: len(data) // 2] = data[: len(data) // 2]
        time.sleep(PAUSE)
        mapping[len(data) // 2 :] = data[len(data) // 2 :]


def mv(site: Site, new: Path) -> None:
    run("mv", new, site.folder / "x.wasm")


def mv_from_temporary_name(site: Site, new: Path) -> None:
    run("cp", new, site.folder / ".x.wasm.part")
    os.replace(site.folder / ".x.wasm.part", site.folder / "x.wasm")


def mv_from_other_file_system(site: Site, new: Path) -> None:
    folder = other_file_system(site)
    try:
        shutil.copy(new, folder / "x.wasm")
        run("mv", folder / "x.wasm", site.folder / "x.wasm")
    finally:
        shutil.rmtree(folder)


def mv_out_and_in(site: Site, new: Path) -> None:
    os.rename(site.folder / "x.wasm", site.aside / "backup")
    os.rename(new, site.folder / "x.wasm")


def install(site: Site, new: Path) -> None:
    run("install", "-m", "644", new, site.folder / "x.wasm")


def rsync(site: Site, new: Path) -> None:
    run("rsync", "--ignore-times", new, site.folder / "x.wasm")


def rsync_inplace(site: Site, new: Path) -> None:
    run("rsync", "--ignore-times", "--inplace", new, site.folder / "x.wasm")


def rsync_delay_updates(site: Site, new: Path) -> None:
    run("rsync", "--ignore-times", "--delay-updates", new, site.folder / "x.wasm")


def delayed_update(site: Site, new: Path) -> None:
    """What rsync --delay-updates does: collect in a hidden folder, rename at the end."""
    hidden = site.folder / ".~tmp~"
    hidden.mkdir()
    os.rename(new, hidden / "x.wasm")
    os.rename(hidden / "x.wasm", site.folder / "x.wasm")
    hidden.rmdir()


def vim(site: Site, new: Path) -> None:
    edit = ("-c", f"%!cat {new}", "-c", "wq!")
    run("vim", "-u", "NONE", "-N", "-b", "-es", *edit, site.folder / "x.wasm")


def editor_with_backup(site: Site, new: Path) -> None:
    """Rename the old file to a backup name, write a new one, remove the backup."""
    os.rename(site.folder / "x.wasm", site.folder / "x.wasm~")
    (site.folder / "x.wasm").write_bytes(new.read_bytes())
    (site.folder / "x.wasm~").unlink()


def git_checkout(site: Site, new: Path) -> None:
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@example.org")
    run("git", "init", "-q", site.folder)
    run("git", "add", ".", cwd=site.folder)
    run(*git, "commit", "-qm", "1", cwd=site.folder)
    run("git", "checkout", "-qb", "next", cwd=site.folder)
    shutil.copy(new, site.aside / "blob")
    index = subprocess.run(
        ["git", "hash-object", "-w", site.aside / "blob"],
        check=True, cwd=site.folder, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    run("git", "update-index", "--cacheinfo", f"100644,{index},x.wasm", cwd=site.folder)
    run(*git, "commit", "-qm", "2", cwd=site.folder)
    run("git", "checkout", "-q", "-f", "next", cwd=site.folder)


def tar_x(site: Site, new: Path) -> None:
    with tarfile.open(site.aside / "new.tar", "w") as archive:
        archive.add(new, "x.wasm")
    run("tar", "-xf", site.aside / "new.tar", "-C", site.folder)


def unzip(site: Site, new: Path) -> None:
    with zipfile.ZipFile(site.aside / "new.zip", "w") as archive:
        archive.write(new, "x.wasm")
    run("unzip", "-oq", site.aside / "new.zip", "-d", site.folder)


def hard_link(site: Site, new: Path) -> None:
    run("ln", "-f", new, site.folder / "x.wasm")


def symlink_swap(site: Site, new: Path) -> None:
    run("ln", "-sfn", new, site.folder / "x.wasm")


def symlink_target_rewritten(site: Site, new: Path) -> None:
    target = site.aside / "target"
    shutil.copy(site.folder / "x.wasm", target)
    run("ln", "-sfn", target, site.folder / "x.wasm")
    site.settle()
    run("cp", new, target)


def kubernetes_data_swap(site: Site, new: Path) -> None:
    folder = site.folder
    (folder / "..1").mkdir()
    shutil.copy(folder / "x.wasm", folder / "..1" / "x.wasm")
    (folder / "..data").symlink_to("..1")
    run("ln", "-sfn", "..data/x.wasm", folder / "x.wasm")
    site.settle()
    (folder / "..2").mkdir()
    shutil.copy(new, folder / "..2" / "x.wasm")
    (folder / "..data_tmp").symlink_to("..2")
    os.replace(folder / "..data_tmp", folder / "..data")
    shutil.rmtree(folder / "..1")


def exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        pytest.skip("no renameat2")
    if libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) != 0:
        pytest.skip(os.strerror(ctypes.get_errno()))


def rename_exchange(site: Site, new: Path) -> None:
    exchange(new, site.folder / "x.wasm")


def delete_and_recreate(site: Site, new: Path) -> None:
    (site.folder / "x.wasm").unlink()
    (site.folder / "x.wasm").write_bytes(new.read_bytes())


def folder_replaced(site: Site, new: Path) -> None:
    (site.root / "next").mkdir()
    shutil.copy(new, site.root / "next" / "x.wasm")
    site.folder.rename(site.root / "old")
    (site.root / "next").rename(site.folder)


def folder_exchanged(site: Site, new: Path) -> None:
    (site.root / "next").mkdir()
    shutil.copy(new, site.root / "next" / "x.wasm")
    exchange(site.root / "next", site.folder)


def folder_removed_and_recreated(site: Site, new: Path) -> None:
    shutil.rmtree(site.folder)
    site.wait(lambda: site.last.folder_error is not None)
    site.folder.mkdir()
    time.sleep(TIMING.gone + 0.1)
    shutil.copy(new, site.folder / "x.wasm")


def folder_becomes_a_link(site: Site, new: Path) -> None:
    releases = site.root / "releases"
    releases.mkdir()
    shutil.copy(new, releases / "x.wasm")
    site.folder.rename(site.root / "old")
    site.folder.symlink_to(releases)


def same_size_and_time(site: Site, new: Path) -> None:
    path = site.folder / "x.wasm"
    status = path.stat()
    with path.open("r+b") as file:
        file.write(new.read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)


WAYS = [
    cp, cp_preserving, slow_write, slow_overwrite, write_through_mapping, mv,
    mv_from_temporary_name, mv_from_other_file_system, mv_out_and_in, install, rsync,
    rsync_inplace, rsync_delay_updates, delayed_update, vim, editor_with_backup, git_checkout,
    tar_x, unzip, hard_link, symlink_swap, symlink_target_rewritten, kubernetes_data_swap,
    rename_exchange, delete_and_recreate, same_size_and_time,
]  # fmt: skip
NEW_FOLDERS = [
    folder_replaced, folder_exchanged, folder_removed_and_recreated, folder_becomes_a_link,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS + NEW_FOLDERS, ids=lambda way: way.__name__)
def test_new_version_is_handed_out_whole_and_once(
    site: Site, way: Callable[[Site, Path], None]
) -> None:
    """However a file is replaced, only the whole new content is handed out, and only once."""
    if way in (slow_write, slow_overwrite, write_through_mapping) and not HAS_LEASES:
        pytest.skip("nothing tells of a writer that stalls")
    site.start(x=content("v1"), other=content("o1"))
    new = site.aside / "new.wasm"
    new.write_bytes(content("v2"))
    if way in NEW_FOLDERS:
        way(site, new)
        site.wait(lambda: site.removed == ["other"])
    else:
        way(site, new)
        assert site.removed == []
    site.expect("v2")
    assert site.versions("other") == []


def test_unchanged_content_is_not_handed_out(site: Site) -> None:
    """Touching a file, or replacing it by an equal one, changes nothing."""
    site.start(x=content("v1"))
    (site.folder / "x.wasm").touch()
    site.settle(looks=3)
    (site.aside / "same").write_bytes(content("v1"))
    os.replace(site.aside / "same", site.folder / "x.wasm")
    site.settle(looks=3)
    assert (site.handed, site.removed) == ([], [])


def test_new_plugin_is_handed_out(site: Site) -> None:
    """A file that appears by copy or by link becomes a plugin."""
    site.start()
    (site.folder / "x.wasm").write_bytes(content("v1"))
    site.expect("v1")
    (site.aside / "y").write_bytes(content("v1"))
    os.link(site.aside / "y", site.folder / "y.wasm")
    site.expect("v1", stem="y")


def test_deleted_plugin_is_removed(site: Site) -> None:
    """A deleted file is removed, once."""
    site.start(x=content("v1"), y=content("w1"))
    (site.folder / "x.wasm").unlink()
    site.wait(lambda: site.removed == ["x"])
    site.settle(looks=2)
    assert (site.handed, site.removed, site.last.present) == ([], ["x"], {"y"})


def test_renamed_plugin_changes_in_one_scan(site: Site) -> None:
    """A renamed plugin is never present under both names, nor under none."""
    site.start(x=content("v1"))
    os.rename(site.folder / "x.wasm", site.folder / "y.wasm")
    site.wait(lambda: bool(site.handed))
    assert ([c.stem for c in site.handed], site.removed) == (["y"], ["x"])


def test_manifest_alone_is_a_change(site: Site) -> None:
    """A manifest that appears, changes or goes hands the plugin out with its module."""
    site.start(x=content("v1"))
    manifest = site.folder / "x.toml"
    manifest.write_text("a = 1")
    site.wait(lambda: [c.manifest for c in site.handed] == [b"a = 1"])
    manifest.write_text("a = 2")
    site.wait(lambda: [c.manifest for c in site.handed][1:] == [b"a = 2"])
    manifest.unlink()
    site.wait(lambda: [c.manifest for c in site.handed][2:] == [None])
    assert site.versions() == ["v1"] * 3


@pytest.mark.parametrize("order", [(".wasm", ".toml"), (".toml", ".wasm")], ids=" then ".join)
def test_module_and_manifest_together_are_one_change(site: Site, order: tuple[str, str]) -> None:
    """Copying a new module and a new manifest hands both out together, once."""
    site.start()
    (site.folder / "x.toml").write_text("version = 1")
    (site.folder / "x.wasm").write_bytes(content("v1"))
    site.expect("v1")
    site.clear()
    new = {".wasm": content("v2"), ".toml": b"version = 2"}
    for suffix in order:
        (site.folder / f"x{suffix}").write_bytes(new[suffix])
    site.expect("v2")
    assert [c.manifest for c in site.handed] == [b"version = 2"]


def test_many_files_are_one_scan(site: Site) -> None:
    """Fifty plugins moved there between two looks are handed out by one scan."""
    site.start()
    for number in range(50):
        (site.aside / f"p{number:02}.wasm").write_bytes(content(f"v{number}", 1000))
    with site.looking:
        run("mv", *sorted(site.aside.glob("p*.wasm")), site.folder)
    site.wait(lambda: bool(site.handed))
    assert len(site.handed) == 50


@pytest.mark.skipif(not HAS_LEASES, reason="nothing tells of a writer that stalls")
def test_dead_stream_is_held_back_until_it_is_closed(site: Site) -> None:
    """While a stalled writer lives nothing is handed out; then it is, and a second try heals it."""
    site.start(x=content("v1"))
    half = content("v2")[:50_000]
    with (site.folder / "x.wasm").open("wb", buffering=0) as stream:
        stream.write(half)
        stalled = site.scans
        site.wait(lambda: site.scans > stalled + 5)
        time.sleep(3 * PAUSE)
        assert site.handed == []
    site.wait(lambda: bool(site.handed))
    assert [c.module for c in site.handed] == [half]
    site.clear()
    (site.folder / "x.wasm").write_bytes(content("v2"))
    site.expect("v2")


def test_strange_files_are_errors_or_ignored(site: Site) -> None:
    """FIFOs, folders, dangling links and oversized files are errors; none of them blocks."""
    site.start(x=content("v1"))
    os.mkfifo(site.folder / "fifo.wasm")
    (site.folder / "sub.wasm").mkdir()
    (site.folder / "sub").mkdir()
    (site.folder / "sub" / "deep.wasm").write_bytes(content("v1"))
    (site.folder / "link.wasm").symlink_to("nowhere")
    with (site.folder / "large.wasm").open("wb") as file:
        file.truncate((1 << 24) + 1)
    site.wait(lambda: len(site.last.errors) == 4)
    assert [error.stem for error in site.last.errors] == ["fifo", "large", "link", "sub"]
    (site.folder / "x.wasm").write_bytes(content("v2"))
    site.wait(lambda: site.versions() == ["v2"])
    assert (len(site.handed), site.removed) == (1, [])


def test_every_content_handed_out_is_whole(site: Site) -> None:
    """Through a hundred replacements in all manners, quick and slow, no partial content is seen."""
    site.start(x=content("v0"))
    path = site.folder / "x.wasm"
    for number in range(1, 101):
        data = content(f"v{number}")
        match number % 4:
            case 0:
                path.write_bytes(data)
            case 1:
                (site.aside / "new").write_bytes(data)
                os.replace(site.aside / "new", path)
            case 2:
                with path.open("r+b", buffering=0) as file:
                    for start in range(0, len(data), 10_000):
                        file.write(data[start : start + 10_000])
                    file.truncate()
            case 3:
                path.unlink()
                path.write_bytes(data)
        if number % 10 == 0:
            site.wait(lambda wanted=f"v{number}": site.versions()[-1:] == [wanted])
    site.settle()
    assert [v for v in site.versions() if v.startswith("not whole")] == []
    assert (site.versions()[-1], site.removed) == ("v100", [])
