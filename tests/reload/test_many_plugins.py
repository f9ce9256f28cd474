"""Two hundred plugins in one folder, and fifty that change at once."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from types import FrameType
from typing import Any

import guests
import pytest
from deploying import until
from flask import Flask
from guests import MakeApp

from plugin_host.host.host import Host

ALL, SHOWN = 200, 50

pytestmark = pytest.mark.slow
watchers = pytest.mark.parametrize("watcher", ["auto", "poll"])


def stem(number: int) -> str:
    return f"p{number:03}"


def write(folder: Path, number: int, version: str) -> None:
    """Write a plugin that shows its version on the page, if it is one of the first fifty."""
    (folder / f"{stem(number)}.wat").write_text(guests.adding(f"x-{stem(number)}", version))
    if number >= SHOWN:
        (folder / f"{stem(number)}.toml").write_text('match = { paths = ["/elsewhere"] }')


def move_in(host: Host, aside: Path, folder: Path) -> None:
    """Move everything there between two looks at the folder."""
    with host._lock:
        for path in sorted(aside.iterdir()):
            path.rename(folder / path.name)


class Site:
    """A reloading app with many plugins."""

    def __init__(self, make_app: MakeApp, **config: Any) -> None:
        self.app: Flask = make_app(RELOAD=True, **config)[0]
        self.app.add_url_rule("/", view_func=lambda: "ok")
        self.host: Host = self.app.extensions["plugin_host"]

    def shown(self) -> tuple[str | None, ...]:
        headers = self.app.test_client().get("/").headers
        return tuple(headers.get(f"x-{stem(number)}") for number in range(SHOWN))

    @contextmanager
    def asked(self) -> Iterator[set[tuple[str | None, ...]]]:
        """Ask all the time; gives the set of all answers."""
        answers: set[tuple[str | None, ...]] = set()
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                answers.add(self.shown())
                sleep(0.005)  # a client that never waits would keep Python's lock from the reload

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield answers
        finally:
            stop.set()
            for thread in threads:
                thread.join()


@pytest.fixture
def aside(tmp_path: Path) -> Path:
    path = tmp_path / "aside"
    path.mkdir()
    return path


@pytest.fixture
def site(make_app: MakeApp, folder: Path) -> Callable[..., Site]:
    """Start a site with all plugins, version 1."""

    def start(**config: Any) -> Site:
        for number in range(ALL):
            write(folder, number, "1")
        return Site(make_app, POLL_INTERVAL=0.05, **config)

    return start


@watchers
def test_one_of_many_changes_alone(
    site: Callable[..., Site], folder: Path, aside: Path, watcher: str
) -> None:
    """All serve and are listed; a new version of one is one swap, and the others stay."""
    many = site(WATCHER=watcher)
    before = many.host.snapshot
    assert many.shown() == ("1",) * SHOWN
    listed = [(p["name"], p["state"]) for p in many.host.status()["plugins"]]
    assert listed == [(stem(number), "serving") for number in range(ALL)]
    write(aside, 7, "2")
    move_in(many.host, aside, folder)
    until(lambda: many.shown()[7] == "2")
    after = many.host.snapshot
    assert after.generation == before.generation + 1
    pairs = zip(before.plugins, after.plugins, strict=True)
    changed = [new.name for old, new in pairs if old is not new]
    assert changed == [stem(7)]


@watchers
def test_fifty_replaced_at_once_are_one_swap(
    site: Callable[..., Site], folder: Path, aside: Path, watcher: str
) -> None:
    """Every request meets the fifty old versions, or the fifty new ones."""
    many = site(WATCHER=watcher)
    with many.asked() as answers:
        until(lambda: answers)
        for version in ("2", "3"):
            generation = many.host.snapshot.generation
            for number in range(SHOWN):
                write(aside, number, version)
            move_in(many.host, aside, folder)
            until(lambda version=version: (version,) * SHOWN in answers)
            assert many.host.snapshot.generation == generation + 1
    assert answers == {(version,) * SHOWN for version in "123"}


@watchers
def test_fifty_removed_at_once_are_one_swap(
    site: Callable[..., Site], folder: Path, watcher: str
) -> None:
    """Every request meets all fifty, or none; the others go on."""
    many = site(WATCHER=watcher)
    with many.asked() as answers:
        until(lambda: answers)
        generation = many.host.snapshot.generation
        with many.host._lock:
            for number in range(SHOWN):
                (folder / f"{stem(number)}.wat").unlink()
        until(lambda: (None,) * SHOWN in answers)
    assert answers == {("1",) * SHOWN, (None,) * SHOWN}
    assert many.host.snapshot.generation == generation + 1
    assert [p.name for p in many.host.snapshot.plugins] == [stem(n) for n in range(SHOWN, ALL)]


def test_requests_do_not_look_at_files(site: Callable[..., Site]) -> None:
    """Whatever the number of plugins, a request makes no system call for their files."""
    many = site(WATCHER="poll")
    many.shown()  # the first one starts the watcher, and finds its plan
    calls: list[str] = []

    def note(frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and getattr(function, "__module__", "") in (os.stat.__module__, "_io"):
            calls.append(function.__qualname__)

    with many.app.test_client() as client:
        sys.setprofile(note)
        try:
            response = client.get("/")
        finally:
            sys.setprofile(None)
    assert response.headers["x-p000"] == "1"
    files = {"open", "stat", "lstat", "listdir", "scandir", "readlink", "fstat"}
    assert files.isdisjoint(calls)
