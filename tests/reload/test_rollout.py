"""Canaries: a new version serves a share of the requests first, sticky by key."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import guests
import msgspec
import pytest
from deploying import put, until
from guests import MakeApp

from plugin_host.host.host import Host
from plugin_host.machine.control import RolloutState
from plugin_host.machine.moment import Moment, boot_id

ROLLOUT = 'rollout = { share = 0.3, for = "%s", key = "header:x-user" }'


def deploy(folder: Path, text: str, manifest: str) -> None:
    """Module and manifest together, as one version."""
    for name, content in (("v.toml", manifest), ("v.wat", text)):
        put(folder / name, content)


class Site:
    def __init__(self, make_app: MakeApp, **config: Any) -> None:
        self.app, self.plugins = make_app(RELOAD=True, POLL_INTERVAL=0.05, **config)
        self.plugins.hookspec("which")
        self.app.add_url_rule("/", view_func=lambda: str(self.plugins.call("which")))
        self.host: Host = self.app.extensions["plugin_host"]

    def served(self, user: str | int) -> tuple[str, str]:
        """What the header hook and the business hook of one request are."""
        response = self.app.test_client().get("/", headers={"X-User": str(user)})
        return response.headers.get("x-version", ""), response.text

    def states(self) -> list[str]:
        return [plugin["state"] for plugin in self.host.status()["plugins"]]


def both(number: int, extra: str = "") -> str:
    value = str(number).encode()
    out = guests.edits(guests.edit(guests.SET_HEADER, b"x-version", value))
    return guests.module(
        {
            "on_response": f"(i64.const {guests.packed(1024, len(out))})",
            "which": f"(i64.const {guests.packed(1900, 1)})",
        },
        data=[(1024, out), (1900, value)],
        extra=extra,
    )


def rolling_out(make_app: MakeApp, folder: Path, text: str | None = None) -> Site:
    """A site that serves version 1, and another one, or version 2, to a share for an hour."""
    deploy(folder, both(1), "")
    site = Site(make_app)
    assert site.served("ada") == ("1", "1")
    deploy(folder, text or both(2), ROLLOUT % "1h")
    until(lambda: "canary" in site.states())
    return site


def test_a_canary_serves_its_share_and_each_client_one_version(
    make_app: MakeApp, folder: Path
) -> None:
    """About the share of users meet the new version, always the same ones, in all its hooks."""
    site = rolling_out(make_app, folder)
    first = [site.served(user) for user in range(200)]
    assert {*first} == {("1", "1"), ("2", "2")}
    assert 30 < first.count(("2", "2")) < 90
    assert [site.served(user) for user in range(200)] == first
    # A process that starts meanwhile shows the same users the same versions.
    other = Site(make_app)
    assert sorted(other.states()) == ["canary", "serving"]
    assert [other.served(user) for user in range(200)] == first


def test_a_canary_serves_all_when_its_time_is_over(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without anybody doing anything; the log has its share first, and then that it serves all."""
    caplog.set_level("INFO", "plugin_host")
    deploy(folder, both(1), "")
    site = Site(make_app)
    site.served("ada")
    deploy(folder, both(2), ROLLOUT % "1s")
    until(lambda: "canary" in site.states())
    until(lambda: site.states() == ["serving"])
    assert {site.served(user) for user in range(20)} == {("2", "2")}
    other = Site(make_app)
    assert {other.served(user) for user in range(20)} == {("2", "2")}
    first, canary, all_, *_ = [r.getMessage() for r in caplog.records if r.module == "lineup"]
    assert ": loaded from" in first
    assert re.search(r": canary for 0\.3 of the requests beside 0 \(\w{12}\), from", canary)
    assert ": rolled out to all requests" in all_


@pytest.mark.skipif(not boot_id(), reason="nothing tells when the machine was booted")
@pytest.mark.parametrize("hours", [-24, 24])
def test_setting_the_clock_ends_no_rollout(
    make_app: MakeApp, folder: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """Nor makes it longer: here, and in workers that are made afterwards."""
    site = rolling_out(make_app, folder)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + hours * 3600)
    site.host.reconcile()
    other = Site(make_app)
    for each in site, other:
        assert sorted(each.states()) == ["canary", "serving"]
        (until_,) = [p["until"] for p in each.host.status()["plugins"] if p["state"] == "canary"]
        assert 3000 < until_ - time.time() < 3600


def test_a_clock_that_stood_in_the_future_makes_no_rollout_longer(
    make_app: MakeApp, folder: Path
) -> None:
    """Where only the clock can tell, since the machine was booted meanwhile, it begins again."""
    site = rolling_out(make_app, folder)
    depot = site.host.depot
    assert depot is not None
    (name, state), *_ = depot.control.read().rollouts.items()
    future = RolloutState(state.digest, state.before, time.time() + 1e6, Moment("before", 1e9))
    depot.control.update(lambda c: msgspec.structs.replace(c, rollouts={name: future}))
    other = Site(make_app)
    assert sorted(other.states()) == ["canary", "serving"]
    (canary,) = other.host.snapshot.canaries
    assert 3500 < canary.until - time.monotonic() <= 3600


def test_a_canary_that_fails_goes_back(make_app: MakeApp, folder: Path) -> None:
    """By the rule of probation; the version before it serves all again, the digest is out."""
    bad = guests.module({"on_response": guests.TRAP, "which": guests.TRAP})
    site = rolling_out(make_app, folder, bad)
    until(lambda: [site.served(user) for user in range(20)] and site.states() == ["serving"])
    assert {site.served(user) for user in range(50)} == {("1", "1")}
    assert site.host.depot is not None
    assert len(site.host.depot.control.read().quarantined) == 1
    other = Site(make_app)
    assert {other.served(user) for user in range(50)} == {("1", "1")}


def test_the_next_version_takes_the_canarys_place(make_app: MakeApp, folder: Path) -> None:
    """A better file ends the rollout of the one before it; without ``rollout`` it serves all."""
    site = rolling_out(make_app, folder)
    deploy(folder, both(3), "")
    until(lambda: site.served("ada") == ("3", "3"))
    assert site.states() == ["serving"]


def test_putting_the_old_file_back_ends_a_rollout(make_app: MakeApp, folder: Path) -> None:
    """The folder decides."""
    site = rolling_out(make_app, folder)
    deploy(folder, both(1), "")
    until(lambda: site.states() == ["serving"])
    assert {site.served(user) for user in range(50)} == {("1", "1")}


def test_putting_the_canarys_file_back_is_no_error_any_more(
    make_app: MakeApp, folder: Path
) -> None:
    """After a file that does not load, the rollout goes on, and the status has no error left."""
    site = rolling_out(make_app, folder)

    def failed() -> bool:
        return any(plugin["load_error"] for plugin in site.host.status()["plugins"])

    put(folder / "v.wat", "(module")
    until(failed)
    put(folder / "v.wat", both(2))
    until(lambda: not failed())
    assert sorted(site.states()) == ["canary", "serving"]


def test_a_version_that_was_taken_back_is_rolled_out_again(make_app: MakeApp, folder: Path) -> None:
    """Its time does not go on while another file is there."""
    site = rolling_out(make_app, folder)
    deploy(folder, both(1), "")
    until(lambda: site.states() == ["serving"])
    depot = site.host.depot
    assert depot is not None
    assert depot.control.read().rollouts == {}
    deploy(folder, both(2), ROLLOUT % "1h")
    until(lambda: "canary" in site.states())
    (canary,) = site.host.snapshot.canaries
    assert canary.until > time.monotonic() + 3590


def test_a_first_version_serves_all_at_once(make_app: MakeApp, folder: Path) -> None:
    """There is nothing to compare it with."""
    deploy(folder, both(1), ROLLOUT % "1h")
    site = Site(make_app)
    assert (site.served("ada"), site.states()) == (("1", "1"), ["serving"])
