"""Hot reload in one process, over the real file system."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import sleep

import guests
import pytest
from deploying import DEADLINE, put, until
from flask import Flask, request
from guests import MakeApp

from plugin_host.host.host import Host


def version(number: str) -> str:
    return guests.adding("x-version", number)


Site = tuple[Flask, Callable[[], str | None], Host]


@pytest.fixture(params=["auto", "poll"])
def site(make_app: MakeApp, folder: Path, request: pytest.FixtureRequest) -> Site:
    """A reloading app with one plugin, and what its pages say of the plugin's version."""
    put(folder / "v.wat", version("1"))
    app, _ = make_app(RELOAD=True, WATCHER=request.param, POLL_INTERVAL=0.05)
    app.add_url_rule("/", view_func=lambda: "ok")
    client = app.test_client()
    return app, lambda: client.get("/").headers.get("x-version"), app.extensions["plugin_host"]


def test_a_changed_plugin_serves_without_restart(site: Site, folder: Path) -> None:
    """Replacing the file replaces the version."""
    _, served, _ = site
    assert served() == "1"
    put(folder / "v.wat", version("2"))
    until(lambda: served() == "2")


def test_a_new_plugin_serves_and_a_deleted_one_stops(site: Site, folder: Path) -> None:
    """The folder's content is what serves."""
    app, served, host = site
    served()
    put(folder / "other.wat", guests.adding("x-other", "1"))
    until(lambda: "x-other" in app.test_client().get("/").headers)
    (folder / "v.wat").unlink()
    until(lambda: served() is None)
    assert [p.name for p in host.snapshot.plugins] == ["other"]


def test_a_renamed_plugin_goes_on_under_its_new_name(site: Site, folder: Path) -> None:
    """A rename is one swap: no request is without the plugin."""
    _, served, host = site
    served()
    (folder / "v.wat").rename(folder / "w.wat")
    seen = set()
    until(lambda: seen.add(served()) or [p.name for p in host.snapshot.plugins] == ["w"])
    assert seen == {"1"}


def test_a_changed_manifest_alone_takes_effect(site: Site, folder: Path) -> None:
    """The .toml is part of the plugin."""
    _, served, host = site
    assert served() == "1"
    put(folder / "v.toml", 'version = "9"\nmatch = { paths = ["/elsewhere"] }')
    until(lambda: served() is None)
    (plugin,) = host.snapshot.plugins
    assert plugin.version == "9"


@pytest.mark.parametrize(
    "bad",
    [
        "(module",
        guests.module({"on_response": guests.UNCHANGED, "ph_init": guests.TRAP}),
        guests.module({"on_response": guests.UNCHANGED}, version=2),
    ],
    ids=["syntax", "init traps", "unknown ABI"],
)
def test_a_bad_version_never_unloads_the_good_one(site: Site, folder: Path, bad: str) -> None:
    """The failure is visible, the last good version serves, and a good file heals it."""
    _, served, host = site
    assert served() == "1"
    put(folder / "v.wat", bad)
    until(lambda: host.status()["plugins"][0]["load_error"])
    assert served() == "1"
    put(folder / "v.wat", version("3"))
    until(lambda: served() == "3")
    assert host.status()["plugins"][0]["load_error"] is None


def test_a_failing_self_test_leaves_the_old_version_serving(
    site: Site, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A version that does not do what its manifest records is refused; a corrected one serves."""
    _, served, host = site
    assert served() == "1"
    recorded = '[[selftest]]\nhook = "on_response"\nexpect = { headers = { x-version = "2" } }'
    put(folder / "v.toml", recorded)
    until(lambda: host.status()["plugins"][0]["load_error"])
    assert served() == "1"
    reason = "selftest[0] of on_response: headers.x-version: expected '2', got '1'"
    (line,) = {r.getMessage() for r in caplog.records if reason in r.getMessage()}
    assert "version 0 (" in line
    assert line.endswith("keeps serving")
    put(folder / "v.wat", version("2"))
    until(lambda: served() == "2")
    assert host.status()["plugins"][0]["load_error"] is None


def test_restoring_the_serving_version_clears_the_error(site: Site, folder: Path) -> None:
    """Putting back what serves is no swap."""
    _, served, host = site
    served()
    put(folder / "v.wat", "(module")
    until(lambda: host.status()["plugins"][0]["load_error"])
    generation = host.snapshot.generation
    put(folder / "v.wat", version("1"))
    until(lambda: not host.status()["plugins"][0]["load_error"])
    assert (served(), host.snapshot.generation) == ("1", generation)


def test_a_taken_name_is_free_again_when_its_holder_goes(site: Site, folder: Path) -> None:
    """A plugin that was refused for its name is loaded once the name is free."""
    _, served, host = site
    served()
    put(folder / "rival.wat", version("rival"))
    put(folder / "rival.toml", 'name = "v"')
    until(lambda: any(p["state"] == "failed" for p in host.status()["plugins"]))
    (folder / "v.wat").unlink()
    until(lambda: served() == "rival")


def test_a_request_keeps_the_snapshot_it_started_with(make_app: MakeApp, folder: Path) -> None:
    """From on_request to on_response, business hooks included, one request meets one version."""

    def both(number: int) -> str:
        value = str(number).encode()
        mark = guests.edits(guests.edit(guests.SET_HEADER, b"x-in", value))
        out = guests.edits(guests.edit(guests.SET_HEADER, b"x-out", value))
        return guests.module(
            {
                "on_request": f"(i64.const {guests.packed(1024, len(mark))})",
                "on_response": f"(i64.const {guests.packed(1536, len(out))})",
                "which": f"(i64.const {guests.packed(1900, 1)})",
            },
            data=[(1024, mark), (1536, out), (1900, value)],
        )

    put(folder / "v.wat", both(1))
    app, plugins = make_app(RELOAD=True, POLL_INTERVAL=0.05)
    plugins.hookspec("which")
    arrived, go_on = threading.Event(), threading.Event()

    @app.get("/slow")
    def slow() -> str:
        arrived.set()
        assert go_on.wait(DEADLINE)
        return f"{request.headers['x-in']}{plugins.call('which')}"

    app.add_url_rule("/", view_func=lambda: str(plugins.call("which")))
    answers: list[tuple[str, str]] = []

    def get() -> None:
        response = app.test_client().get("/slow")
        answers.append((response.text, response.headers["x-out"]))

    thread = threading.Thread(target=get)
    thread.start()
    assert arrived.wait(DEADLINE)
    put(folder / "v.wat", both(2))
    until(lambda: app.test_client().get("/").text == "2")
    go_on.set()
    thread.join(DEADLINE)
    assert answers == [("11", "1")]


def test_init_app_leaves_no_thread(folder: Path) -> None:
    """In a new process nothing runs beside the main thread until the first request."""
    put(folder / "v.wat", version("1"))
    script = f"""
import threading
from flask import Flask
from plugin_host import PluginHost
app = Flask("shop")
app.config.update(PLUGIN_HOST_DIR={str(folder)!r}, PLUGIN_HOST_DATA_DIR="")
PluginHost(app)
assert app.extensions["plugin_host"].snapshot.plugins
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
app.test_client().get("/")
assert app.extensions["plugin_host"].status()["watcher"]["alive"]
assert len(threading.enumerate()) > 1
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)


def test_old_versions_leave_nothing_behind(site: Site, folder: Path) -> None:
    """Instances of a replaced version are gone with it."""
    _, served, host = site
    for number in range(2, 8):
        served()
        put(folder / "v.wat", version(str(number)))
        until(lambda number=number: served() == str(number))
    assert host.status()["plugins"][0]["instances"] == 1


@pytest.mark.slow
def test_hammer_requests_never_fail_or_mix_versions_while_plugins_change(
    make_app: MakeApp, folder: Path
) -> None:
    """Under load, through good and bad replacements, every answer is whole and of one version."""

    def pair(number: int) -> str:
        value = b"%04d" % number
        mark = guests.edits(guests.edit(guests.SET_HEADER, b"x-in", value))
        out = guests.edits(guests.edit(guests.SET_HEADER, b"x-out", value))
        return guests.module(
            {
                "on_request": f"(i64.const {guests.packed(1024, len(mark))})",
                "on_response": f"(i64.const {guests.packed(1536, len(out))})",
            },
            data=[(1024, mark), (1536, out)],
        )

    put(folder / "v.wat", pair(0))
    app, _ = make_app(RELOAD=True, POLL_INTERVAL=0.05)
    app.add_url_rule("/", view_func=lambda: request.headers["x-in"])
    stop, wrong, count = threading.Event(), [], [0] * 4

    def load(worker: int) -> None:
        client = app.test_client()
        while not stop.is_set():
            response = client.get("/")
            count[worker] += 1
            sleep(0.001)  # a client that never waits would keep Python's lock from the reload
            if response.status_code != 200 or response.text != response.headers.get("x-out"):
                wrong.append((response.status_code, response.text, dict(response.headers)))

    threads = [threading.Thread(target=load, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 41):
            put(folder / "v.wat", "(module" if number % 10 == 5 else pair(number))
            sleep(0.02)
        put(folder / "v.wat", pair(9999))
        until(lambda: app.test_client().get("/").text == "9999")
    finally:
        stop.set()
        for thread in threads:
            thread.join(DEADLINE)
    assert (wrong, min(count) > 0) == ([], True)
