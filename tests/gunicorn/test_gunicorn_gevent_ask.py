"""A real gevent worker whose plugins ask the app: its answers may switch greenlets as they like.

The ways to leave a guest are those of ``test_gunicorn_gevent_switch``.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from urllib.parse import urlencode

import asking
import guests
import pytest
from asking import DATA, LEN, NAME, OUT, calling
from server import Answer, Site, serve
from test_gunicorn_gevent_switch import CAME, SCENARIOS, THEN, Call

pytestmark = [pytest.mark.slow, pytest.mark.gevent]

#: Emits its payload, asks the app with it, and does what its last byte says.
ASKER = asking.guest(
    {
        "ask": f"""(local $last i32) (local $n i32)
          (local.set $last (i32.load8_u
            (i32.add (i32.const {guests.HEAP - 1}) (local.get $len))))
          (drop {calling("emit", NAME, 4, DATA, LEN)})
          (local.set $n {calling("call", NAME, 4, DATA, LEN, OUT, 4096)})
          (if (i32.lt_s (local.get $n) (i32.const 0)) (then unreachable))
          (if (i32.eq (local.get $last) (i32.const 116)) (then unreachable))
          (if (i32.eq (local.get $last) (i32.const 108)) (then (loop (br 0))))
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
    path = tmp_path_factory.mktemp("site")
    (path / "plugins").mkdir()
    (path / "plugins" / "asker.wat").write_text(ASKER)
    (path / "plugins" / "asker.toml").write_text(
        f'on_failure = "fail"\nisolation = "{request.param}"'
    )
    settings = {
        "FLASK_PLUGIN_HOST_BREAKER_FAILURES": "0",
        "FLASK_PLUGIN_HOST_GRANTS": '["call", "emit"]',
        "FLASK_PLUGIN_HOST_MAX_INSTANCES": "128",
        "FLASK_PLUGIN_HOST_RELOAD": "0",
        "FLASK_PLUGIN_HOST_TIMEOUT": "3",
    }
    arguments = ["--worker-class", "gevent", "--workers", "1", "--timeout", "60"]
    with serve(path, "gevent_ask_site:app", *arguments, **settings) as running:
        yield running


def ask(site: Site, name: str, call: Call) -> Answer:
    """Make one call of a scenario."""
    sleep(call.after / 1000)
    query = {"name": name, "ms": call.ms, "then": THEN[call.then], "patience": call.patience}
    return site.get("/ask?" + urlencode(query))


@pytest.mark.parametrize("scenario", ALL)
def test_an_answer_may_switch_greenlets(site: Site, scenario: str) -> None:
    """The worker lives on, every answer is the right one, from the context of its own request."""
    calls = {f"call-{number}": call for number, call in enumerate(ALL[scenario])}
    before = site.get("/heard").json["pid"]
    assert site.get("/status").json["patched"]
    with ThreadPoolExecutor(len(calls)) as pool:
        answers = dict(
            zip(calls, pool.map(lambda item: ask(site, *item), calls.items()), strict=True)
        )
    for name, call in calls.items():
        expected = "cut off" if call.patience < 1 else CAME[call.then] or f"{name} True"
        assert (name, answers[name].json["came"]) == (name, expected)
    after = site.get("/heard").json
    assert {after["pid"], *(answer.json["pid"] for answer in answers.values())} == {before}
    good = {name for name, call in calls.items() if call.then == "answer" and call.patience == 60}
    assert {name for name, _ in after["heard"]} >= good
    assert all(who == said for who, said in after["heard"])
