"""The shop with one of its plugins under many workers, and crowds that all want something."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from server import PATIENCE, ROOT, Answer, Site, serve

T = TypeVar("T")
R = TypeVar("R")

#: How many ask at the same time.
AT_ONCE = 24
#: Seconds between the deaths of two workers.
PAUSE = 0.3


@contextlib.contextmanager
def open_shop(
    tmp_path: Path, plugin: str, changes: dict[str, str], state: str, workers: int = 8
) -> Iterator[Site]:
    """The shop with one of its plugins, whose manifest is changed, and with its state there.

    :param changes: lines of the manifest, by what they begin with.
    """
    folder = tmp_path / "plugins"
    folder.mkdir(parents=True)
    lines = (ROOT / "plugins" / f"{plugin}.toml").read_text().splitlines()
    head = list(itertools.takewhile(lambda line: line != "[config_schema]", lines))
    # The machine is busy, and the crowd is large.
    for key, line in (changes | {"timeout_ms": "20000"}).items():
        (index,) = (i for i, old in enumerate(head) if old.startswith(f"{key} = "))
        head[index] = f"{key} = {line}"
    (folder / f"{plugin}.toml").write_text("\n".join([*head, *lines[len(head) :]]))
    shutil.copy(ROOT / "plugins" / f"{plugin}.wasm", folder)
    settings = {
        "FLASK_DATABASE": str(tmp_path / "shop.sqlite3"),
        "FLASK_SECRET_KEY": "for tests",
        "FLASK_PLUGIN_HOST_STATE": state,
        "FLASK_PLUGIN_HOST_TIMEOUT": "20.0",
    }
    arguments = ["--workers", str(workers), "--preload", "--backlog", "2048"]
    with serve(tmp_path, "wsgi:app", *arguments, chdir=ROOT, **settings) as site:
        (status,) = site.get("/api/plugins").json["plugins"]
        assert (status["name"], status["state"]) == (plugin, "serving"), status["load_error"]
        yield site


def sql(tmp_path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Ask or change the shop's database."""
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.sqlite3", timeout=PATIENCE)) as db:
        rows = db.execute(statement).fetchall()
        db.commit()
        return rows


def ask(
    site: Site,
    method: str,
    path: str,
    body: Any = None,
    cookie: str = "",
    address: str = "127.0.0.1",
) -> Answer:
    """Ask, and again when the worker that had the request has died, until there is an answer."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Connection": "close", "Content-Type": "application/json", "Cookie": cookie}
    deadline = time.monotonic() + PATIENCE
    while True:
        connection = http.client.HTTPConnection(
            "127.0.0.1", site.port, timeout=PATIENCE, source_address=(address, 0)
        )
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < deadline, site.log.read_text()
        finally:
            connection.close()


def all_at_once(work: Callable[[T], R], asked: Iterable[T]) -> list[R]:
    """What came of each, in order."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, asked))


@contextlib.contextmanager
def dying_workers(*sites: Site) -> Iterator[list[int]]:
    """During the block workers are killed, one after the other; their heirs go on."""
    killed: list[int] = []
    ended = threading.Event()

    def kill_on() -> None:
        turns = itertools.cycle(sites)
        while not ended.wait(PAUSE):
            # The oldest: those that were just born may not have served anybody.
            for pid in sorted(next(turns).workers())[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    thread = threading.Thread(target=kill_on)
    thread.start()
    try:
        yield killed
    finally:
        ended.set()
        thread.join()
