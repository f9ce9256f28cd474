"""A real gevent worker whose plugins ask the app: its answers may switch greenlets as they like."""

from __future__ import annotations

from collections.abc import Iterator

import asking
import guests
import pytest
from asking import DATA, LEN, NAME, OUT, calling
from overlapping import DO_LAST, SCENARIOS, Call, one_worker, overlap
from server import Site

pytestmark = [pytest.mark.slow, pytest.mark.gevent]

#: Emits its payload, asks the app with it, and does what its last byte says.
ASKER = asking.guest(
    {
        "ask": f"""(local $last i32) (local $n i32)
          (drop {calling("emit", NAME, 4, DATA, LEN)})
          (local.set $n {calling("call", NAME, 4, DATA, LEN, OUT, 4096)})
          (if (i32.lt_s (local.get $n) (i32.const 0)) (then unreachable))
          {DO_LAST}
          (i64.or (i64.const {guests.packed(OUT, 0)}) (i64.extend_i32_u (local.get $n)))"""
    },
    "call",
    "emit",
    text=b"wait",
)
#: Beside the others: the app calls a plugin to answer.
ALL = {
    **SCENARIOS,
    "a guest for a guest": [Call(0), Call(20), Call(0, after=5), Call(0, "trap"), Call(10, "loop")],
}


@pytest.fixture(scope="module", params=["shared", "request"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One gevent worker; instances are put back after each call, or not."""
    settings = {
        "FLASK_PLUGIN_HOST_GRANTS": '["call", "emit"]',
        "FLASK_PLUGIN_HOST_MAX_INSTANCES": "128",
        "FLASK_PLUGIN_HOST_TIMEOUT": "3",
    }
    manifest = f'isolation = "{request.param}"'
    path = tmp_path_factory.mktemp("site")
    with one_worker(path, "gevent_ask_site:app", ASKER, manifest, **settings) as running:
        yield running


@pytest.mark.parametrize("scenario", ALL)
def test_an_answer_may_switch_greenlets(site: Site, scenario: str) -> None:
    """The worker lives on, every answer is the right one, from the context of its own request."""
    calls = {f"call-{number}": call for number, call in enumerate(ALL[scenario])}
    came, heard = overlap(site, calls)
    assert came == {name: call.outcome(f"{name} True") for name, call in calls.items()}
    good = {name for name, call in calls.items() if call.then == "answer" and call.patience == 60}
    assert {name for name, _ in heard} >= good
    assert [who for who, _ in heard] == [said for _, said in heard]
