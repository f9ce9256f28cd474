"""A version that one worker has refused and another serves: the machine was busy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn, cast

import guests
import pytest
from clocks import Clock
from deploying import put, until
from flask import Flask
from guests import MakeApp

from plugin_host.errors import InitError
from plugin_host.host.host import Host
from plugin_host.host.naming import NameTaken
from plugin_host.host.retrying import FIRST, Retries
from plugin_host.host.status import Refusal
from plugin_host.machine.datadir import DataDirError
from plugin_host.machine.depot import Depot

PATH = Path("v.wat")

#: A `ph_init` of some tenths of a second.
SLOW = """(local $n i32) (local.set $n (i32.const 300000000))
  (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))) (i64.const 0)"""


def version(number: str) -> str:
    out = guests.edits(guests.edit(guests.SET_HEADER, b"x-version", number.encode()))
    answer = f"(i64.const {guests.packed(1024, len(out))})"
    return guests.module({"on_response": answer, "ph_init": SLOW}, data=[(1024, out)])


class Worker:
    """An app that looks at the folder when it is told to."""

    def __init__(self, make_app: MakeApp, clock: Clock, init_timeout: float) -> None:
        self.app: Flask = make_app(INIT_TIMEOUT=init_timeout)[0]
        self.app.add_url_rule("/", view_func=lambda: "ok")
        self.host: Host = self.app.extensions["plugin_host"]
        self.host._retries = Retries(self.host.depot, clock)

    def served(self) -> str | None:
        return self.app.test_client().get("/").headers.get("x-version")

    def refuses(self) -> bool:
        self.host.reconcile()
        return "v" in self.host._lineup.refused

    def recovers(self) -> None:
        lineup = self.host._lineup
        lineup._settings = replace(lineup._settings, init_timeout=30.0)


def test_what_another_worker_serves_is_tried_again(
    make_app: MakeApp, folder: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A deadline that passed here and not there leaves no worker behind; one line says so."""
    put(folder / "v.wat", guests.adding("x-version", "1"))
    quick, busy = Worker(make_app, clock, 30.0), Worker(make_app, clock, 0.02)
    assert (quick.served(), busy.served()) == ("1", "1")
    put(folder / "v.wat", version("2"))
    until(busy.refuses)
    assert isinstance(busy.host._lineup.refused["v"].error, InitError)
    busy.recovers()
    for _ in range(3):  # nobody serves it: the file may well be bad
        clock.now += FIRST
        assert busy.refuses()
    until(lambda: not quick.refuses() and quick.served() == "2")
    assert busy.served() == "1"
    clock.now += 8 * FIRST
    until(lambda: not busy.refuses())
    assert busy.served() == "2"
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert [line[:18] for line in errors] == ["plugin not loaded:"]


def test_it_is_tried_ever_less_often_while_another_serves_it(clock: Clock) -> None:
    """By its digest, whatever it says; what nobody serves, and what waits for a name, is not."""
    depot = SimpleNamespace()
    retries = Retries(cast(Depot, depot), clock)
    bad = InitError(PATH, "its initialisation missed its deadline")
    refused = {
        "v": Refusal(bad, 0.0, "d"),
        "other": Refusal(bad, 0.0, "e"),
        "unread": Refusal(bad, 0.0, None),
        "named": Refusal(NameTaken(PATH, "v", "v.wasm"), 0.0, "d"),
    }
    due = []
    none, failed = {"digest": None, "state": "failed"}, {"digest": "d", "state": "failed"}
    for served in [none, failed], [{"digest": "d", "state": "serving"}], []:
        depot.plugins = lambda said=served: said
        for _ in range(8):
            refused["v"] = Refusal(InitError(PATH, f"was late, at {clock.now}"), clock.now, "d")
            due.append(retries.due(refused))
            clock.now += FIRST
    assert [n for n, stems in enumerate(due) if stems] == [15]
    assert due[15] == ["v"]


def test_what_no_worker_serves_is_not_tried(make_app: MakeApp, folder: Path, clock: Clock) -> None:
    """A bad first version is in the state of every worker that refuses it, and is left alone."""
    worker = Worker(make_app, clock, 0.02)
    put(folder / "v.wat", version("1"))
    until(worker.refuses)
    for _ in range(8):
        clock.now += FIRST
        worker.host._published = float("-inf")  # its state is known
        assert worker.host._retries.due(worker.host._lineup.refused) == []
        assert worker.refuses()


def test_it_is_not_tried_while_nothing_is_known_of_the_others(clock: Clock) -> None:
    """A data directory that fails, or none, is no reason."""

    def fails() -> NoReturn:
        raise DataDirError(PATH, "is away", "mount it")

    refused = {"v": Refusal(InitError(PATH, "was late"), 0.0, "d")}
    for depot in None, cast(Depot, SimpleNamespace(plugins=fails)):
        retries = Retries(depot, clock)
        assert retries.due(refused) == []
        clock.now += FIRST
        assert retries.due(refused) == []
