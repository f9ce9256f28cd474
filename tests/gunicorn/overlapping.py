"""Calls in one gevent worker that overlap, and leave their guests in every way and order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import urlencode

import guests
from server import Site, serve

#: By their last letters, what the guest does, and what becomes of its call.
THEN = {"answer": "a", "trap": "t", "loop": "l"}
CAME = {"answer": None, "trap": "GuestTrap", "loop": "DeadlineExceeded"}
#: For a hook: does what the last byte of its payload says.
DO_LAST = f"""
  (local.set $last (i32.load8_u (i32.add (i32.const {guests.HEAP - 1}) (local.get $len))))
  (if (i32.eq (local.get $last) (i32.const {ord("t")})) (then unreachable))
  (if (i32.eq (local.get $last) (i32.const {ord("l")})) (then (loop (br 0))))"""


@dataclass(frozen=True)
class Call:
    """One request: its plugin waits, for ``ms`` milliseconds each time, and then ends ``then``.

    :param after: milliseconds after which it is made.
    :param patience: seconds after which the view gives it up.
    """

    ms: int
    then: str = "answer"
    after: int = 0
    patience: float = 60

    def payload(self, name: str) -> str:
        """What its plugin is called with."""
        return f"{self.ms} {name} {THEN[self.then]}"

    def outcome(self, answer: str) -> str:
        """What becomes of it, if its plugin answers that."""
        return "cut off" if self.patience < 1 else CAME[self.then] or answer


#: By name: which calls overlap, and how they end.
SCENARIOS = {
    "the first leaves first": [Call(40), Call(80, after=20)],
    "the last leaves first": [Call(120), Call(10, after=20)],
    "a trap while another is parked": [Call(100), Call(5, "trap", after=20)],
    "a trap of the parked one": [Call(60, "trap"), Call(5, after=20), Call(100, after=20)],
    "a missed deadline while others are parked": [Call(100), Call(5, "loop", after=20), Call(90)],
    "traps and deadlines only": [Call(20, "trap"), Call(30, "loop"), Call(10, "trap", after=10)],
    "cut off while it is parked": [Call(300, patience=0.1), Call(80, after=20), Call(5, "trap")],
    "a crowd": [
        Call(1 + 7 * n % 23, ("answer", "answer", "trap", "answer", "loop")[n % 5], after=3 * n)
        for n in range(40)
    ],
}


@contextlib.contextmanager
def one_worker(
    path: Path, application: str, guest: str, manifest: str = "", **settings: str
) -> Iterator[Site]:
    """Run a site with one gevent worker and one plugin, whose failures the views see."""
    (path / "plugins").mkdir()
    (path / "plugins" / "guest.wat").write_text(guest)
    (path / "plugins" / "guest.toml").write_text(f'on_failure = "fail"\n{manifest}')
    settings["FLASK_PLUGIN_HOST_BREAKER_FAILURES"] = "0"
    settings["FLASK_PLUGIN_HOST_RELOAD"] = "0"
    arguments = ["--worker-class", "gevent", "--workers", "1", "--timeout", "60"]
    with serve(path, application, *arguments, **settings) as site:
        yield site


def overlap(site: Site, calls: dict[str, Call]) -> tuple[dict[str, str], list[list[str]]]:
    """Make calls; return what came of each, and what the site heard meanwhile.

    One worker, which is patched, answers all of them, and is there afterwards.
    """

    def make(item: tuple[str, Call]) -> tuple[str, dict[str, Any]]:
        name, call = item
        sleep(call.after / 1000)
        query = {"name": name, "said": call.payload(name), "patience": call.patience}
        return name, site.get("/call?" + urlencode(query)).json

    before = site.get("/heard").json["pid"]
    assert site.get("/status").json["patched"]
    with ThreadPoolExecutor(len(calls)) as pool:
        answers = dict(pool.map(make, calls.items()))
    after = site.get("/heard").json
    assert {after["pid"], *(answer["pid"] for answer in answers.values())} == {before}
    return {name: answer["came"] for name, answer in answers.items()}, after["heard"]
