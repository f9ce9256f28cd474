"""Clients that ask all the time and judge every answer, and the plugin whose answers they judge."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import guests
import pytest
from server import PATIENCE, Answer, Site, is_running

from plugin_host.machine.datadir import DataDir
from plugin_host.machine.fleet import fleet

#: The kinds of workers, and whether the master loads the app.
kinds = pytest.mark.parametrize(
    "kind", ["sync", "gthread", pytest.param("gevent", marks=pytest.mark.gevent)]
)
preloads = pytest.mark.parametrize("preload", [False, True], ids=["each", "preload"])

#: Each kind of worker with and without preloading, for a server that a module's tests share.
shared_kinds = pytest.mark.parametrize(
    ("kind", "preload"),
    [
        pytest.param(
            kind,
            preload,
            id=kind + ("-preload" if preload else ""),
            marks=[pytest.mark.gevent] if kind == "gevent" else [],
        )
        for kind in ("sync", "gthread", "gevent")
        for preload in (False, True)
    ],
    scope="module",
)

CLIENTS = 3
#: Seconds that a client waits before it asks again: the load is steady, and leaves others room.
PAUSE = 0.01


class Seen(NamedTuple):
    """An answer: when it was asked for, who gave it, and the version that both hooks said."""

    began: float
    ended: float
    pid: int
    version: int


def versioned(version: int) -> str:
    """A plugin that says its version on the way in, on ``g``, and on the way out, in a header."""
    said = str(version).encode()
    way_in = guests.edits(guests.edit(guests.SET_G, b"version", said))
    way_out = guests.edits(guests.edit(guests.SET_HEADER, b"x-version", said))
    at_in, at_out = 1024, 2048
    return guests.module(
        {
            "on_request": f"(i64.const {guests.packed(at_in, len(way_in))})",
            "on_response": f"(i64.const {guests.packed(at_out, len(way_out))})",
        },
        data=[(at_in, way_in), (at_out, way_out)],
    )


def deploy(site: Site, version: int) -> None:
    """Put that version of the one plugin in place."""
    site.put("v.wat", versioned(version))


def start_with(tmp_path: Path, version: int) -> None:
    """Have that version of the plugin in the folder before the server starts."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "v.wat").write_text(versioned(version))


def says(version: int) -> Callable[[Answer], bool]:
    """Whether an answer is of that version."""
    return lambda answer: answer.headers.get("x-version") == str(version)


def worker_arguments(kind: str, preload: bool = False, *more: str) -> list[str]:
    """gunicorn's command line for workers of that kind."""
    threads = ["--threads", "4"] if kind == "gthread" else []
    return ["--worker-class", kind, *threads, *(["--preload"] if preload else []), *more]


def shown(tmp_path: Path) -> set[int]:
    """The workers that the fleet of a server in that folder shows."""
    return {state.pid for state in fleet(DataDir.open(tmp_path / "data"))}


class Load:
    """Clients that ask ``/`` until the block ends.

    :param clients: how many.
    :ivar seen: the answers: each a 200 of one version.
    :ivar broken: what is anything else: lost, refused, of two versions, without the plugin.
    """

    def __init__(self, site: Site, clients: int = CLIENTS) -> None:
        self.seen: list[Seen] = []
        self.broken: list[str] = []
        self._site = site
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self) -> None:
        while not self._stop.wait(PAUSE):
            began = time.monotonic()
            try:
                self._ask(began)
            except (OSError, http.client.HTTPException) as exc:
                self.broken.append(f"{time.strftime('%X')} {type(exc).__name__}: {exc}")

    def _ask(self, began: float) -> None:
        answer = self._site.get()
        if answer.status != 200:
            self.broken.append(f"{time.strftime('%X')} {answer}")
            return
        pid, way_in = answer.json["pid"], answer.json["version"]
        way_out = answer.headers.get("x-version")
        if way_in is None or way_in != way_out:
            self.broken.append(f"{time.strftime('%X')} {pid}: {way_in} in, {way_out} out")
            return
        self.seen.append(Seen(began, time.monotonic(), pid, int(way_in)))

    def wait_for(self, count: int) -> None:
        """Wait until so many more answers have come, good or not."""
        enough = len(self.seen) + len(self.broken) + count
        deadline = time.monotonic() + PATIENCE
        while len(self.seen) + len(self.broken) < enough:
            assert time.monotonic() < deadline, self._site.log.read_text()
            time.sleep(0.01)

    def wait_until_seen(self, version: int) -> None:
        """Wait until a client has got an answer of that version."""
        self._site.until(
            lambda: any(seen.version == version for seen in self.seen),
            f"version {version} answers a client",
        )

    def wait_until_followed(self, version: int) -> float:
        """Wait until no living worker's latest answer is of another version; return when."""

        def followed() -> bool:
            latest = {seen.pid: seen.version for seen in sorted(self.seen)}
            return {v for pid, v in latest.items() if is_running(pid)} == {version}

        self._site.until(followed, f"all follow version {version}")
        return time.monotonic()

    def stale(self, version: int, since: float) -> list[Seen]:
        """The answers of older versions that were asked for after that moment."""
        return [seen for seen in self.seen if seen.began > since and seen.version < version]
