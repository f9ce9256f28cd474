"""The circuit breaker: alone with a clock set by hand, and in front of a plugin."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guests
import pytest
from clocks import Clock
from flask import Flask
from guests import MakeApp

from plugin_host import CircuitOpen, GuestTrap, HookError, PluginHost
from plugin_host.serving.breaker import Breaker, Limits
from plugin_host.serving.plugin import Plugin

LIMITS = Limits(failures=3, window=10.0, first=1.0, longest=5.0)


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    """One without jitter: it opens for half of what it might."""
    return Breaker("plugin x 1", LIMITS, clock, lambda: 0.0)


def fail(breaker: Breaker, times: int, first: int = 1, step: int = 1) -> list[bool]:
    """Let calls fail; ``step`` calls for each failure."""
    return [breaker.failed(first + step * n, "boom") for n in range(times)]


def test_it_opens_at_the_last_of_so_many_failures(breaker: Breaker) -> None:
    """Closed until as many failures came within the window as it takes."""
    assert fail(breaker, 3) == [False, False, True]
    assert (breaker.status()["state"], breaker.status()["opened"]) == ("open", 1)
    assert breaker.admits() is False


def test_failures_further_apart_than_the_window_do_not_open_it(
    breaker: Breaker, clock: Clock
) -> None:
    """Only failures within the window count together."""
    for calls in range(1, 20):
        assert breaker.failed(calls, "boom") is False
        clock.now += 5.1


@pytest.mark.parametrize(("step", "opens"), [(2, True), (3, False)])
def test_it_opens_only_if_half_of_the_calls_fail(breaker: Breaker, step: int, opens: bool) -> None:
    """Somebody who makes some calls fail does not turn the plugin off for everybody."""
    assert any(fail(breaker, 20, step=step)) is opens


def test_no_failures_allowed_is_off(clock: Clock) -> None:
    """With 0 it never opens."""
    breaker = Breaker("x", Limits(0, 10.0, 1.0, 5.0), clock)
    assert not any(fail(breaker, 1000))
    assert breaker.status()["state"] == "off"


def test_one_call_is_let_through_when_its_time_is_over(breaker: Breaker, clock: Clock) -> None:
    """Half-open, one call at a time is tried; the others are refused and counted."""
    fail(breaker, 3)
    clock.now += 0.49
    assert breaker.admits() is False
    clock.now += 0.01
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    assert (breaker.status()["state"], breaker.status()["refused"]) == ("half-open", 3)
    breaker.undecided()
    assert breaker.admits() is True
    breaker.proved()
    assert breaker.is_closed


def test_a_refusal_can_be_known_before_the_call(breaker: Breaker, clock: Clock) -> None:
    """What would be refused is counted as refused; asking admits nothing."""
    assert breaker.refuses() is False
    fail(breaker, 3)
    assert breaker.refuses() is True
    clock.now += 0.5
    assert [breaker.refuses(), breaker.admits(), breaker.refuses()] == [False, True, True]
    assert (breaker.status()["state"], breaker.status()["refused"]) == ("half-open", 2)


def test_it_opens_for_twice_as_long_each_time_up_to_the_longest(
    breaker: Breaker, clock: Clock
) -> None:
    """The back-off is exponential and bounded."""
    fail(breaker, 3)
    pauses = []
    for _ in range(5):
        pauses.append(breaker.seconds_left())
        clock.now += breaker.seconds_left()
        assert breaker.admits()
        breaker.failed_again("boom")
    assert pauses == [0.5, 1.0, 2.0, 2.5, 2.5]


def test_a_relapse_goes_on_where_it_was_and_a_new_failure_begins_afresh(
    breaker: Breaker, clock: Clock
) -> None:
    """Only a plugin that was well for a whole window starts again with the first pause."""
    pauses = []
    for well in (1.0, 11.0, 0.0):
        fail(breaker, 3)
        pauses.append(breaker.seconds_left())
        clock.now += 10
        assert breaker.admits()
        breaker.proved()
        clock.now += well
    assert pauses == [0.5, 1.0, 0.5]


def test_jitter_spreads_the_tries(clock: Clock) -> None:
    """A pause is between half and all of what it may be."""
    chance = iter([0.0, 0.5, 0.999])
    pauses = []
    for _ in range(3):
        breaker = Breaker("x", LIMITS, clock, lambda: next(chance))
        fail(breaker, 3)
        pauses.append(round(breaker.seconds_left(), 3))
    assert pauses == [0.5, 0.75, 1.0]


def test_each_transition_is_one_line(
    breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Opening, trying, opening again and closing are said once each; refusals are not."""
    caplog.set_level(logging.INFO)
    fail(breaker, 3)
    for _ in range(100):
        breaker.admits()
    clock.now += 1
    breaker.admits()
    breaker.failed_again("crash")
    clock.now += 1
    breaker.admits()
    breaker.proved()
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        (
            "ERROR",
            "plugin x 1: 3 of 3 calls failed within 0 s; not called for 0.5 s, its failure policy"
            " holds instead; the latest: boom",
        ),
        ("INFO", "plugin x 1: one call is tried; 100 were refused"),
        ("WARNING", "plugin x 1: fails still, not called for 1 s: crash"),
        ("INFO", "plugin x 1: one call is tried; 100 were refused"),
        ("INFO", "plugin x 1: works again and is called, after 2 s and 100 refused calls"),
    ]


def test_calls_that_decide_nothing_are_one_line(
    breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """While no call reaches a guest every request is the next try; the log has the first."""
    caplog.set_level(logging.INFO)
    fail(breaker, 3)
    clock.now += 1
    for _ in range(100):
        assert breaker.admits()
        breaker.undecided()
    assert len(caplog.records) == 2
    assert breaker.admits()
    breaker.failed_again("crash")
    clock.now += 1
    assert breaker.admits()
    assert caplog.messages[-1] == "plugin x 1: one call is tried; 0 were refused"


# In front of a plugin

#: Traps if the payload's length is odd, otherwise leaves the answer to others; counts its calls.
MOODY = guests.module(
    {
        "ask": "(if (i32.and (local.get $len) (i32.const 1)) (then unreachable)) (i64.const 0)",
        "polite": f"(i64.const {guests.packed(1024, 2, error=True)})",
    },
    data=[(1024, b"no")],
)
GOOD, BAD = b"even", b"odd"


class Site:
    """An app with the plugin, and the plugin's own clock."""

    def __init__(self, app: Flask, plugins: PluginHost) -> None:
        self.app, self.plugins = app, plugins

    @property
    def plugin(self) -> Plugin:
        """What serves now."""
        plugin: Plugin = self.app.extensions["plugin_host"].snapshot.plugins[0]
        return plugin

    def status(self) -> dict[str, Any]:
        """What the plugin's status says."""
        status: dict[str, Any] = self.plugins.status()["plugins"][0]
        return status

    def outcomes(self, *payloads: bytes, hook: str = "ask") -> list[str]:
        """What came of calls: the name of an error, or nothing."""
        outcomes = []
        for payload in payloads:
            try:
                self.plugins.call(hook, payload)
                outcomes.append("")
            except HookError as exc:
                outcomes.append(type(exc).__name__)
        return outcomes


@pytest.fixture
def site(make_app: MakeApp, folder: Path) -> Iterator[Site]:
    """A plugin whose breaker opens at the third failure, and reports every failure."""
    (folder / "moody.wat").write_text(MOODY)
    (folder / "moody.toml").write_text('on_failure = "fail"')
    app, plugins = make_app(BREAKER_FAILURES=3, MAX_INSTANCES=1, TIMEOUT=0.02)
    plugins.hookspec("ask", input=bytes)
    plugins.hookspec("polite", input=bytes)
    with app.app_context():
        yield Site(app, plugins)


def test_an_open_breaker_applies_the_policy_without_calling_the_guest(site: Site) -> None:
    """After the third failure calls are refused, and cost the guest nothing."""
    assert site.outcomes(BAD, BAD, BAD, GOOD, BAD) == ["GuestTrap"] * 3 + ["CircuitOpen"] * 2
    status = site.status()
    assert (status["calls"], status["errors"], status["faults"]) == (3, 3, 3)
    breaker = status["breaker"]
    assert (breaker["state"], breaker["opened"], breaker["refused"]) == ("open", 1, 2)
    assert breaker["until"] > status["loaded_at"]


def test_the_refusal_says_when_it_is_tried_again(site: Site) -> None:
    """Whoever gets the refusal learns plugin, hook and time."""
    site.outcomes(BAD, BAD, BAD)
    with pytest.raises(CircuitOpen, match="plugin 'moody', hook 'ask': not called: it failed too"):
        site.plugins.call("ask", GOOD)


def due(site: Site) -> None:
    """Let the time of an open breaker be over."""
    site.plugin.breaker._until = 0.0


@pytest.mark.parametrize("asked", ["admits", "refuses"])
def test_a_call_may_be_refused_while_another_closes_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """Whoever was refused at the last moment gets the refusal, and the next call goes through."""
    site.outcomes(BAD, BAD, BAD)
    plugin = site.plugin

    def closed_meanwhile() -> bool:  # by the thread whose call was tried
        plugin.__class__ = Plugin
        plugin.breaker.proved()
        return asked == "refuses"

    monkeypatch.setattr(plugin.breaker, asked, closed_meanwhile)
    calls = {
        "admits": lambda: site.plugins.call("ask", GOOD),
        "refuses": lambda: plugin.encode_request({}),
    }
    with pytest.raises(CircuitOpen):
        calls[asked]()
    assert site.outcomes(GOOD) == [""]


def test_a_call_that_works_closes_it(site: Site) -> None:
    """Half-open, one success is enough, and then calls go straight to the guest again."""
    site.outcomes(BAD, BAD, BAD)
    assert type(site.plugin) is not Plugin
    due(site)
    assert site.outcomes(GOOD, GOOD, BAD, GOOD) == ["", "", "GuestTrap", ""]
    assert site.status()["breaker"]["state"] == "closed"
    assert type(site.plugin) is Plugin


def test_a_call_that_fails_opens_it_again(site: Site) -> None:
    """Half-open, one failure is enough."""
    site.outcomes(BAD, BAD, BAD)
    due(site)
    assert site.outcomes(BAD, GOOD) == ["GuestTrap", "CircuitOpen"]
    assert site.status()["breaker"]["opened"] == 2


def test_a_declared_error_proves_that_the_guest_works(site: Site) -> None:
    """An error that the guest declares neither opens the breaker nor keeps it open."""
    assert site.outcomes(*[b""] * 10, hook="polite") == ["GuestError"] * 10
    assert site.status()["breaker"]["state"] == "closed"
    site.outcomes(BAD, BAD, BAD)
    assert site.status()["breaker"]["state"] == "open"
    due(site)
    assert site.outcomes(b"", hook="polite") == ["GuestError"]
    assert site.status()["breaker"]["state"] == "closed"


def test_that_no_instance_was_free_is_not_the_plugins_fault(site: Site) -> None:
    """A crowd of clients does not turn a plugin off; a try that met no instance decides nothing."""
    pool = site.plugin._pool
    guest = pool.acquire(0.0, 0.0)
    assert site.outcomes(*[GOOD] * 5) == ["PoolExhausted"] * 5
    assert site.status()["breaker"]["state"] == "closed"
    pool.release(guest)
    site.outcomes(BAD, BAD, BAD)
    due(site)
    guest = pool.acquire(0.0, 1e9)
    assert site.outcomes(GOOD, GOOD) == ["PoolExhausted"] * 2
    pool.release(guest)
    assert site.outcomes(GOOD) == [""]
    assert site.status()["breaker"]["state"] == "closed"


def test_a_new_version_starts_closed(site: Site, folder: Path) -> None:
    """The breaker is a version's: what replaces it is called at once."""
    site.outcomes(BAD, BAD, BAD)
    (folder / "moody.wat").write_text(MOODY.replace('"no"', '"na"') + " ")
    site.plugins.reload()
    assert site.status()["breaker"] == {
        "state": "closed",
        "opened": 0,
        "refused": 0,
        "until": None,
    }
    assert site.outcomes(GOOD) == [""]


def test_a_flood_of_failures_is_a_few_lines(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a breaker, failures beyond a burst are counted and not written one by one."""
    (folder / "moody.wat").write_text(MOODY)
    app, plugins = make_app(BREAKER_FAILURES=0)
    plugins.hookspec("ask", input=bytes)
    with app.app_context():
        plugin = app.extensions["plugin_host"].snapshot.plugins[0]
        clock = plugin.failure_lines._clock = Clock()
        plugin.failure_lines._at = clock.now
        for _ in range(50):
            plugins.call("ask", BAD)
        assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 20
        clock.now += 10
        plugins.call("ask", BAD)
    assert [r.getMessage() for r in caplog.records][-2:] == [
        "plugin moody 0: suppressed 30 lines about failures",
        "plugin moody 0, hook ask: unreachable (in ask); policy skip",
    ]


def test_the_errors_are_hook_errors() -> None:
    """An app that catches a failing plugin's errors catches the refusal as well."""
    assert issubclass(CircuitOpen, HookError)
    assert not issubclass(CircuitOpen, GuestTrap)
