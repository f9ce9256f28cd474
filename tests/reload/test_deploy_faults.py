"""What goes wrong while files are deployed, on the real file system: nothing of it stays."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import guests
import pytest
from deploying import MODES, Site, content, permissions_count, put, until, watched
from guests import MakeApp

from plugin_host.folder import notifier
from plugin_host.host.host import Host
from plugin_host.wasm.engine import wat_to_wasm

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes, mounts and limits of POSIX")


@pytest.fixture(params=MODES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with watched(tmp_path, request.param) as site:
        yield site


@pytest.fixture
def ordinary() -> Iterator[None]:
    """The test's user may not do everything, as root may."""
    with permissions_count():
        yield


# Permissions


@pytest.mark.parametrize("name", ["x.wasm", "x.toml"])
def test_unreadable_file_keeps_what_was_there(ordinary: None, site: Site, name: str) -> None:
    """A file whose permission is taken away is an error that unloads nothing; given back, none."""
    (site.folder / "x.toml").write_text("a = 1")
    site.start(x=content("v1"))
    (site.folder / name).chmod(0)
    site.wait(lambda: bool(site.last.errors))
    assert "Permission denied" in str(site.last.errors[0].error)
    assert (site.removed, site.last.present) == ([], {"x"})
    (site.folder / name).chmod(0o644)
    site.wait(lambda: not site.last.errors)
    assert site.handed == []


def test_version_that_cannot_be_read_yet_is_handed_out_later(ordinary: None, site: Site) -> None:
    """What was deployed without permission is taken as soon as it may be read."""
    site.start(x=content("v1"))
    new = site.aside / "new"
    new.write_bytes(content("v2"))
    new.chmod(0)
    os.replace(new, site.folder / "x.wasm")
    site.wait(lambda: bool(site.last.errors))
    assert site.handed == []
    (site.folder / "x.wasm").chmod(0o600)
    site.expect("v2")


@pytest.mark.parametrize("mode", [0o000, 0o600], ids=["not listed", "not entered"])
def test_unreadable_folder_keeps_everything(ordinary: None, site: Site, mode: int) -> None:
    """While the folder shuts us out nothing changes; what changed meanwhile is found then."""
    site.start(x=content("v1"), y=content("w1"))
    (site.folder / "x.wasm").write_bytes(content("v2"))
    site.folder.chmod(mode)
    shut = site.scans
    site.wait(lambda: site.scans > shut + 3)
    assert site.last.folder_error or len(site.last.errors) == 2
    assert (site.versions("y"), site.removed, site.last.present) == ([], [], {"x", "y"})
    site.folder.chmod(0o700)
    site.expect("v2")
    site.wait(lambda: not site.last.errors and site.last.folder_error is None)
    assert (site.versions("y"), site.removed) == ([], [])


# Clocks


@pytest.mark.parametrize("year", [1971, 2100])
def test_stamps_from_another_time_are_stamps(site: Site, year: int) -> None:
    """A file that is older than the one before it, or from the future, is another file."""
    site.start(x=content("v1"))
    stamp = (year - 1970) * 31_556_952
    for number in (2, 3, 4):
        (site.aside / "new").write_bytes(content(f"v{number}"))
        os.utime(site.aside / "new", (stamp, stamp))
        os.replace(site.aside / "new", site.folder / "x.wasm")
        site.expect(*(f"v{n}" for n in range(2, number + 1)))
    (site.folder / "x.wasm").unlink()
    site.wait(lambda: site.removed == ["x"])


@pytest.mark.parametrize("step", [-1e8, 1e8], ids=["back", "forth"])
def test_clock_that_steps_holds_nothing_up(
    site: Site, step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes are followed, and whole, while the wall clock jumps by years."""
    site.start(x=content("v1"))
    real, jump = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + jump[0])
    monkeypatch.setattr(site.scanner, "_wall", lambda: real() + jump[0])
    for number in (2, 3, 4):
        jump[0] += step
        with (site.folder / "x.wasm").open("wb", buffering=0) as file:
            for piece in (content(f"v{number}")[:70_000], content(f"v{number}")[70_000:]):
                file.write(piece)
                jump[0] -= step / 2
        site.expect(*(f"v{n}" for n in range(2, number + 1)))


# Streams that die


def test_resumed_stream_is_handed_out_whole(site: Site) -> None:
    """What a stream left when it died is one content, and the whole file is the next."""
    whole = content("v2")
    site.start(x=content("v1"))
    (site.folder / "x.wasm").write_bytes(whole[:50_000])
    site.wait(lambda: [c.module for c in site.handed] == [whole[:50_000]])
    with (site.folder / "x.wasm").open("ab", buffering=0) as file:
        for start in range(50_000, len(whole), 50_000):
            file.write(whole[start : start + 50_000])
    site.wait(lambda: site.handed[-1].module == whole)
    site.settle()
    assert [len(c.module) for c in site.handed] == [50_000, len(whole)]


def module(version: str) -> bytes:
    return wat_to_wasm(guests.adding("x-version", version).encode(), Path("v.wat"))


def test_half_a_module_never_serves(make_app: MakeApp, folder: Path) -> None:
    """After a stream died at any of many places the old version serves; resumed, the new one."""
    put(folder / "v.wasm", module("1"))
    app, _ = make_app(RELOAD=True, POLL_INTERVAL=0.05)
    host: Host = app.extensions["plugin_host"]
    app.add_url_rule("/", view_func=lambda: "ok")

    def served() -> str | None:
        return app.test_client().get("/").headers.get("x-version")

    assert served() == "1"
    for number, share in enumerate((0.1, 0.5, 0.9, 0.99), start=2):
        new = module(str(number))
        half = round(len(new) * share)
        (folder / "v.wasm").write_bytes(new[:half])
        until(lambda: host.status()["plugins"][0]["load_error"])
        assert served() == str(number - 1)
        with (folder / "v.wasm").open("ab") as file:
            file.write(new[half:])
        until(lambda number=number: served() == str(number))
        assert host.status()["plugins"][0]["load_error"] is None


# Module and manifest


@pytest.mark.parametrize("watcher", ["auto", "poll"])
def test_module_and_manifest_together_are_one_swap(
    make_app: MakeApp, folder: Path, watcher: str
) -> None:
    """No request meets a new module with an old manifest, or the other way round."""

    def deploy(number: int) -> None:
        pair = [("v.wasm", module(str(number))), ("v.toml", f'version = "{number}"'.encode())]
        for name, data in pair if number % 2 else reversed(pair):
            put(folder / name, data)

    deploy(1)
    app, _ = make_app(RELOAD=True, POLL_INTERVAL=0.05, WATCHER=watcher)
    host: Host = app.extensions["plugin_host"]
    app.add_url_rule("/", view_func=lambda: "ok")
    seen = set()

    def served() -> str:
        snapshot = host.snapshot
        answer = app.test_client().get("/").headers["x-version"]
        if host.snapshot is snapshot:
            seen.add((answer, snapshot.plugins[0].version))
        return answer

    served()
    for number in range(2, 8):
        generation = host.snapshot.generation
        with host._lock:  # between two looks, however slow this machine is
            deploy(number)
        until(lambda number=number: served() == str(number))
        assert host.snapshot.generation == generation + 1
    assert seen == {(str(number), str(number)) for number in range(1, 8)}


# Folders that tell nothing


@pytest.mark.parametrize("way", ["copy", "rename", "new", "delete"])
def test_folder_without_events_is_polled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A network file system accepts a watch and tells nothing: the interval brings every change."""
    monkeypatch.setattr(notifier._Handler, "dispatch", lambda self, event: None)
    with watched(tmp_path, "events") as site:
        site.start(x=content("v1"))
        match way:
            case "copy":
                (site.folder / "x.wasm").write_bytes(content("v2"))
                site.expect("v2")
            case "rename":
                (site.aside / "x").write_bytes(content("v2"))
                os.replace(site.aside / "x", site.folder / "x.wasm")
                site.expect("v2")
            case "new":
                (site.folder / "y.wasm").write_bytes(content("w1"))
                site.expect("w1", stem="y")
            case "delete":
                (site.folder / "x.wasm").unlink()
                site.wait(lambda: site.removed == ["x"])


HEAD = """
    import logging, subprocess, sys
    from pathlib import Path
    from deploying import content, until, watched
    from plugin_host.folder import notifier
    def run(*command):
        subprocess.run(command, check=True)
    root, mode = Path(sys.argv[1]), sys.argv[2]
"""


def unshared(script: str, *args: object) -> list[str]:
    """What a script says in a world of its own mounts and limits."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no name spaces for users and mounts here")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", textwrap.dedent(HEAD) + textwrap.dedent(script)]
        + [str(arg) for arg in args],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.parametrize("mode", MODES)
def test_bind_mounts_are_followed(tmp_path: Path, mode: str, what: str) -> None:
    """A file or a folder that is mounted over, and the mount's end, are changes like others."""
    script = """
        with watched(root, mode) as site:
            site.start(x=content("v1"))
            new = site.aside / "x.wasm"
            new.write_bytes(content("v2"))
            target = site.folder / "x.wasm" if WHAT == "file" else site.folder
            run("mount", "--bind", new if WHAT == "file" else site.aside, target)
            site.expect("v2")
            new.write_bytes(content("v3"))
            site.expect("v2", "v3")
            run("umount", "--lazy", target)
            site.expect("v2", "v3", "v1")
            assert site.removed == []
            print("followed")
    """
    assert unshared(script.replace("WHAT", repr(what)), tmp_path, mode) == ["followed"]


@pytest.mark.skipif(not notifier.is_available(), reason="watchdog not installed")
@pytest.mark.parametrize("limit", ["max_inotify_instances", "max_inotify_watches"])
def test_used_up_inotify_limit_is_one_line_and_polling(tmp_path: Path, limit: str) -> None:
    """Without a free watch the folder is polled, the log says so once, and events come back."""
    script = """
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        limit = Path("/proc/sys/user") / sys.argv[3]
        before = limit.read_text()
        limit.write_text("0")
        notifier._RETRY = 0.05
        with watched(root, mode) as site:
            site.start(x=content("v1"))
            for number in range(2, 5):
                (site.folder / "x.wasm").write_bytes(content(f"v{number}"))
                site.expect(*(f"v{n}" for n in range(2, number + 1)))
            print(site.watcher.health()["mode"])
            limit.write_text(before)
            until(lambda: site.watcher.health()["mode"] == "watchdog")
            (site.folder / "x.wasm").write_bytes(content("v5"))
            site.expect("v2", "v3", "v4", "v5")
    """
    line, mode = unshared(script, tmp_path, "events", limit)
    assert line.startswith(f"plugins folder {tmp_path / 'plugins'}: no file events (")
    assert line.endswith("); polling")
    assert "raise fs.inotify.max_user_" in line
    assert mode == "poll"
