"""A real gevent worker: whatever greenlets do while guests' words are logged, no guest is running.

A switch of greenlets under a guest kills the process, or hangs it: of eight ways to leave a guest
in another order than it was entered, or by a trap, seven did. Each of them is tried here with a log
that switches at every record.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import sleep
from urllib.parse import urlencode

import guests
import pytest
from server import Answer, Site, serve

pytestmark = [pytest.mark.slow, pytest.mark.gevent]

#: Logs its payload twice and does what the payload's last byte says: answer, trap or loop. Its
#: start logs, too: a new instance is made when calls overlap.
SPEAKER = guests.module(
    {
        "speak": f"""(local $last i32)
          (call $say (local.get $len)) (call $say (local.get $len))
          (local.set $last (i32.load8_u
            (i32.add (i32.const {guests.HEAP - 1}) (local.get $len))))
          (if (i32.eq (local.get $last) (i32.const 116)) (then unreachable))
          (if (i32.eq (local.get $last) (i32.const 108)) (then (loop (br 0))))
          {guests.ECHO}"""
    },
    imports='(import "plugin_host" "log" (func $log (param i32 i32 i32)))',
    data=[(1024, b"5 ready")],
    extra=f"""(func $say (param $len i32)
        (call $log (i32.const 1) (i32.const {guests.HEAP}) (local.get $len)))
      (func (export "_initialize")
        (call $log (i32.const 1) (i32.const 1024) (i32.const 7)))""",
)
CAME = {"answer": None, "trap": "GuestTrap", "loop": "DeadlineExceeded"}
#: By their last letters, what the guest does.
THEN = {"answer": "a", "trap": "t", "loop": "l"}


@dataclass(frozen=True)
class Call:
    """One request: its plugin logs twice, for ``ms`` milliseconds each, and then ends ``then``.

    :param after: milliseconds after which it is made.
    :param patience: seconds after which the view gives it up.
    """

    ms: int
    then: str = "answer"
    after: int = 0
    patience: float = 60


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
_names = itertools.count()


@pytest.fixture(scope="module", params=["1", "0"], ids=["locks", "no-locks"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One gevent worker; a handler that holds a lock while it sleeps, or one that does not."""
    path = tmp_path_factory.mktemp("site")
    (path / "plugins").mkdir()
    (path / "plugins" / "speaker.wat").write_text(SPEAKER)
    (path / "plugins" / "speaker.toml").write_text('on_failure = "fail"')
    settings = {
        "SWITCH_LOCKS": request.param,
        "FLASK_PLUGIN_HOST_BREAKER_FAILURES": "0",
        "FLASK_PLUGIN_HOST_LOG_RATE": "100000",
        "FLASK_PLUGIN_HOST_RELOAD": "0",
    }
    arguments = ["--worker-class", "gevent", "--workers", "1", "--timeout", "60"]
    with serve(path, "gevent_switch_site:app", *arguments, **settings) as running:
        yield running


def speak(site: Site, name: str, call: Call) -> Answer:
    """Make one call of a scenario."""
    sleep(call.after / 1000)
    query = {"name": name, "ms": call.ms, "then": THEN[call.then], "patience": call.patience}
    return site.get("/speak?" + urlencode(query))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_greenlet_switches_under_a_guest(site: Site, scenario: str) -> None:
    """The worker lives on, every answer is right, and every line belongs to its own request."""
    calls = {f"call-{next(_names)}": call for call in SCENARIOS[scenario]}
    before = site.get("/heard").json["pid"]
    assert site.get("/status").json["patched"]
    with ThreadPoolExecutor(len(calls)) as pool:
        answers = dict(
            zip(calls, pool.map(lambda item: speak(site, *item), calls.items()), strict=True)
        )
    for name, call in calls.items():
        said = f"{call.ms} {name} {THEN[call.then]}"
        expected = "cut off" if call.patience < 1 else CAME[call.then] or said
        assert (answers[name].status, answers[name].json["came"]) == (200, expected)
    after = site.get("/heard").json
    assert {after["pid"], *(answer.json["pid"] for answer in answers.values())} == {before}
    lines = [(name, text) for name, text in after["heard"] if text != "5 ready"]
    assert all(text.split()[1] == name for name, text in lines)
    patient = {name for name, call in calls.items() if call.patience == 60}
    assert sorted(name for name, _ in lines if name in patient) == sorted([*patient, *patient])
