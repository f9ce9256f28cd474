"""A real gevent worker: whatever greenlets do while guests' words are logged, no guest is running.

A switch of greenlets under a guest kills the process, or hangs it: of eight ways to leave a guest
in another order than it was entered, or by a trap, seven did. Each of them is tried here with a log
that switches at every record.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import guests
import pytest
from overlapping import DO_LAST, SCENARIOS, one_worker, overlap
from server import Site

pytestmark = [pytest.mark.slow, pytest.mark.gevent]

#: Logs its payload twice and does what the payload's last byte says: answer, trap or loop. Its
#: start logs, too: a new instance is made when calls overlap.
SPEAKER = guests.module(
    {
        "speak": f"""(local $last i32)
          (call $say (local.get $len)) (call $say (local.get $len))
          {DO_LAST}
          {guests.ECHO}"""
    },
    imports='(import "plugin_host" "log" (func $log (param i32 i32 i32)))',
    data=[(1024, b"5 ready")],
    extra=f"""(func $say (param $len i32)
        (call $log (i32.const 1) (i32.const {guests.HEAP}) (local.get $len)))
      (func (export "_initialize")
        (call $log (i32.const 1) (i32.const 1024) (i32.const 7)))""",
)
_names = itertools.count()


@pytest.fixture(scope="module", params=["1", "0"], ids=["locks", "no-locks"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One gevent worker; a handler that holds a lock while it sleeps, or one that does not."""
    settings = {"SWITCH_LOCKS": request.param, "FLASK_PLUGIN_HOST_LOG_RATE": "100000"}
    path = tmp_path_factory.mktemp("site")
    with one_worker(path, "gevent_switch_site:app", SPEAKER, **settings) as running:
        yield running


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_greenlet_switches_under_a_guest(site: Site, scenario: str) -> None:
    """The worker lives on, every answer is right, and every line belongs to its own request."""
    calls = {f"call-{next(_names)}": call for call in SCENARIOS[scenario]}
    came, heard = overlap(site, calls)
    assert came == {name: call.outcome(call.payload(name)) for name, call in calls.items()}
    lines = [(name, text) for name, text in heard if text != "5 ready"]
    assert [name for name, _ in lines] == [text.split()[1] for _, text in lines]
    patient = {name for name, call in calls.items() if call.patience == 60}
    assert sorted(name for name, _ in lines if name in patient) == sorted([*patient, *patient])
