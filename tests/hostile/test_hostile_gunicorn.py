"""Hostile guests under a real gunicorn: all of them, one after the other, in one worker."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from load import kinds, worker_arguments
from server import PATIENCE, ROOT, Site, serve

from benchmarks.servers import Process, holdings
from tests.hostile.attack import HEADERS, Ask, Got, ask_neighbour, attack
from tests.hostile.guest import Guest, all_guests
from tests.hostile.site import CONFIG, NEIGHBOUR

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: KiB by which the worker may have grown when all have been there.
ROOM_KIB = 64 << 10
#: Guests for which things are made that the process keeps: another engine, what isolation needs,
#: and what gevent needs to be woken by another thread.
_FIRST = (
    "app_question_with_a_forged_name",
    "fuel",
    "remembers_in_memory",
    "text_of_three_thousand_functions",
)
#: What must not be in the server's log.
_NEVER = ("Traceback", "WORKER TIMEOUT", "Worker failed", "Fatal Python error")


@contextmanager
def asking(site: Site) -> Iterator[Ask]:
    """A client whose connection is kept, if the server keeps it: one response must not reach into
    the next.
    """
    with closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE)) as client:

        def ask(method: str, path: str, body: bytes | None) -> Got:
            client.request(method, path, body, HEADERS)
            answer = client.getresponse()
            return Got.of(answer.status, answer.getheaders(), answer.read(), method)

        yield ask


class Bystander:
    """Asks the neighbour all the time, until the block ends.

    :ivar wrong: what was not as it must be.
    """

    def __init__(self, site: Site) -> None:
        self.wrong: list[str] = []
        self.asked = 0
        self._site, self._stop = site, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            try:
                with asking(self._site) as ask:
                    ask_neighbour(ask, 5)
            except (AssertionError, OSError, http.client.HTTPException) as exc:
                self.wrong.append(repr(exc))
            self.asked += 1


def plugins(site: Site) -> list[dict[str, Any]]:
    """The status of all plugins of the worker."""
    found: list[dict[str, Any]] = site.get("/status").json["plugins"]
    return found


def place(site: Site, guest: Guest) -> list[Path]:
    """Copy a guest over the one before, as a new version of a plugin; return its files.

    What the app grants goes by names.
    """
    prefix, _, _ = guest.name.partition("_")
    stem = f"{prefix}_hostile" if f"{prefix}_*" in CONFIG["GRANTS"] else "hostile"
    paths = [site.folder / f"{stem}{n or ''}.wat" for n in range(guest.copies)]
    for path in sorted(site.folder.glob("*hostile*.wat")):
        if path not in paths:
            path.unlink()
    gone = {path.name for path in paths} | {NEIGHBOUR.name}
    site.until(lambda: {each["file"] for each in plugins(site)} <= gone, "others are unloaded")
    for path in paths:
        site.put(path.name, guest.text)
    return paths


def deploy(site: Site, guest: Guest) -> None:
    """Deploy a guest, and wait until it serves or is refused as it must be."""
    before = {each["file"]: each["digest"] for each in plugins(site)}
    names = {path.name for path in place(site, guest)}

    def is_there() -> bool:
        states = [each for each in plugins(site) if each["file"] in names]
        if guest.refused:
            return any(
                text in (each["load_error"] or "") for each in states for text in guest.refused
            )
        new = [each for each in states if each["digest"] != before.get(each["file"])]
        return len(new) == guest.copies and not any(each["load_error"] for each in new)

    site.until(is_there, f"{guest.name} is {'refused' if guest.refused else 'loaded'}")


def settled(site: Site, pid: int, most: Process | None = None) -> Process:
    """What the worker holds, when it has put away what it needed."""

    def is_settled() -> bool:
        site.get("/holds")  # collects garbage, which has files open
        held = holdings(pid)
        return most is None or (held.fds <= most.fds and held.threads <= most.threads)

    site.until(is_settled, f"the worker holds no more than {most}")
    return holdings(pid)


@kinds
def test_no_hostile_guest_hurts_the_worker(tmp_path: Path, kind: str) -> None:
    """Whatever is deployed: every answer whole, the neighbour well, one worker, nothing left."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / NEIGHBOUR.name).write_bytes(NEIGHBOUR.read_bytes())
    arguments = worker_arguments(kind, False, "--workers", "1", "--keep-alive", "30")
    often = {"FLASK_PLUGIN_HOST_POLL_INTERVAL": "0.05"}  # with gevent there are no events
    with serve(tmp_path, "tests.hostile.site:create()", *arguments, chdir=ROOT, **often) as site:
        (pid,) = site.workers()
        with Bystander(site) as bystander, asking(site) as ask:
            run(site, ask, [guest for guest in all_guests() if guest.name in _FIRST])
            clear(site)
            before = settled(site, pid)
            run(site, ask, all_guests())
            clear(site)
        after = settled(site, pid, before)
        assert (bystander.wrong, bystander.asked > 0) == ([], True)
        (neighbour,) = plugins(site)
        assert site.get("/holds").json == {"pid": pid, "instances": neighbour["instances"]}
        assert site.workers() == {pid}
        assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == "", "a compile was left"
        assert after.rss_kib - before.rss_kib < ROOM_KIB
        log = site.log.read_text()
    assert [word for word in _NEVER if word in log] == []
    assert [line for line in log.splitlines() if not line.isprintable()] == []


def clear(site: Site) -> None:
    """Take all hostile guests away, and wait until they are gone."""
    for path in site.folder.glob("*hostile*.wat"):
        path.unlink()
    site.until(lambda: [each["file"] for each in plugins(site)] == [NEIGHBOUR.name], "all are gone")


def run(site: Site, ask: Ask, guests: list[Guest]) -> None:
    """Deploy and attack one after the other, and look for what the log must say of each."""
    for guest in guests:
        said = site.log.stat().st_size
        deploy(site, guest)
        if not guest.refused:
            attack(guest, ask)
        ask_neighbour(ask, 9)
        lines = site.log.read_text()[said:]
        found = any(text in lines for text in guest.log)
        assert found or not guest.log, f"{guest.name}: {lines}"
