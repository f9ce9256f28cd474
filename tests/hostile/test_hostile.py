"""Hostile guests in this process, in each way of calling: nothing that they do hurts the site."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from deploying import until
from flask import Flask
from guests import MakeApp

from plugin_host import PluginHost
from plugin_host.folder.settling import Timing
from tests.hostile import site
from tests.hostile.attack import HEADERS, Ask, Got, ask_neighbour, attack
from tests.hostile.guest import Guest, all_guests

GUESTS = all_guests()
#: Each in both ways of calling; once what is refused before it could be called, and what is hostile
#: only in the edits that it returns: these are read after the call.
CASES = [
    pytest.param(guest, fast, id=f"{'fast' if fast else 'public'}-{guest.name}")
    for guest in GUESTS
    for fast in ((True, False) if guest.attacks_calls else (True,))
]

#: Bytes by which the process may grow while it is attacked: what is mapped, freed and kept by the
#: allocator comes and goes; 40 hits that each leave a memory of 4 MiB behind would be far more.
ROOM = 48 << 20
#: Lines of the log that one guest may cause, whatever it does: bursts of 100 and of 20, and ours.
LINES = 150


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory for all sites, so that what is compiled once is mapped then."""
    return tmp_path_factory.mktemp("data")


class Held(NamedTuple):
    """What this process holds."""

    instances: int
    threads: set[str]
    files: list[str]

    @classmethod
    def now(cls) -> Held:
        live = site.instances()  # collects garbage, which has files open
        threads = {t.name for t in threading.enumerate() if t.name != "plugin-host-watchdog"}
        return cls(live, threads, sorted(_open_files()))

    def fits(self, before: Held) -> bool:
        """Whether this is no more than there was before."""
        more = Counter(self.files) - Counter(before.files)
        return not more and self[:2] == before[:2]


def _open_files() -> Iterator[str]:
    """What this process has open, if the system tells."""
    for number in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        with contextlib.suppress(OSError):  # the descriptor of this very listing
            yield os.readlink(f"/proc/self/fd/{number}")


def resident() -> int:
    """Bytes of this process that are in memory; 0 where that is not known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def asking(app: Flask) -> Ask:
    client = app.test_client()

    def ask(method: str, path: str, body: bytes | None) -> Got:
        answer = client.open(path, method=method, headers=HEADERS, data=body)
        return Got.of(answer.status_code, list(answer.headers), answer.data, method)

    return ask


def looked(app: Flask, plugins: PluginHost) -> dict[str, dict[str, Any]]:
    """Follow the folder now; return the status of what is there, by name."""
    host = app.extensions["plugin_host"]
    host._scanner._timing = Timing(**dict.fromkeys(Timing.__slots__, 0.0))
    host.reconcile(initial=True)
    with app.app_context():
        return {plugin["name"]: plugin for plugin in plugins.status()["plugins"]}


@pytest.mark.parametrize(("guest", "fast_call"), CASES)
def test_a_hostile_guest_hurts_only_itself(
    guest: Guest,
    fast_call: bool,
    make_app: MakeApp,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    data: Path,
) -> None:
    """Client, neighbour, log and process are as they must be, before, while and after it runs."""
    (folder / "neighbour.wat").write_bytes(site.NEIGHBOUR.read_bytes())
    app, plugins = make_app(**site.CONFIG, FAST_CALL=fast_call, DATA_DIR=str(data))
    site.add_views(app, plugins)
    ask = asking(app)
    ask_neighbour(ask, 1)
    before, memory, pid = Held.now(), resident(), os.getpid()
    for name in guest.files():
        (folder / name).write_text(guest.text)
    caplog.set_level(logging.INFO)
    states = looked(app, plugins)
    check_loaded(guest, states)
    if not guest.refused:
        attack(guest, ask)
    ask_neighbour(ask, 2)
    check_log(guest, [record.getMessage() for record in caplog.records])
    assert os.getpid() == pid
    assert resident() - memory < ROOM
    caplog.clear()
    for name in guest.files():
        (folder / name).unlink()
    assert looked(app, plugins).keys() == {"neighbour"}
    ask_neighbour(ask, 3)
    # A collection that another thread has begun makes ours do nothing: so it may take two.
    until(lambda: Held.now().fits(before))


def check_loaded(guest: Guest, states: dict[str, dict[str, Any]]) -> None:
    """Hold what is served to what is expected, and the reason of a refusal."""
    assert states["neighbour"]["state"] == "serving"
    for stem in (Path(name).stem for name in guest.files()):
        found = states.get(stem, {})
        if not guest.refused:
            assert (found.get("state"), found.get("load_error")) == ("serving", None), states
        else:
            assert found["state"] == "failed"
            assert any(text in found["load_error"] for text in guest.refused), found["load_error"]
            assert is_plain(found["load_error"])


def check_log(guest: Guest, lines: list[str]) -> None:
    """Hold the log to what it must say, to one line each, and to a bound."""
    assert not guest.log or any(text in line for line in lines for text in guest.log), lines
    assert [line for line in lines if not is_plain(line)] == []
    assert [line for line in lines if len(line) > 20_000] == []
    assert len(lines) <= LINES * guest.copies, lines


def is_plain(text: str) -> bool:
    """Whether a text is safe for a line of a log, and for the terminal that shows it."""
    return text.isprintable()


def test_every_guest_says_its_attack_and_what_must_come_of_it() -> None:
    """One file each: a sentence of its own, and either a refusal or an answer."""
    attacks = [guest.attack for guest in GUESTS]
    assert [attack for attack in attacks if not re.fullmatch(r"\S.*[.]", attack)] == []
    assert len(GUESTS) >= 60
