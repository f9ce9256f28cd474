"""Plugins that do not load when the process starts, with no good version kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import guests
import pytest
from deploying import put, until
from guests import MakeApp

from plugin_host import NotLoaded
from plugin_host.host.host import Host
from plugin_host.trust import keyring

FAIL = 'on_failure = "fail"\nmatch.paths = ["/guarded"]\n'
#: Has its hook among its exports, and traps before it can be called.
TRAPS = guests.module(
    {"on_request": guests.UNCHANGED},
    extra='(func (export "ph_init") (param i32) (result i64) unreachable)',
)


class Running:
    """A reloading app with the plugin ``v``, whose policy is the manifest's."""

    def __init__(self, make_app: MakeApp, **config: Any) -> None:
        app, self.plugins = make_app(**{"RELOAD": True, "POLL_INTERVAL": 0.05, **config})
        app.add_url_rule("/", view_func=lambda: "open")
        app.add_url_rule("/guarded", view_func=lambda: "guarded", endpoint="guarded")
        self.app, self.client = app, app.test_client()
        self.host: Host = app.extensions["plugin_host"]

    def answers(self) -> tuple[int, int]:
        return self.client.get("/").status_code, self.client.get("/guarded").status_code

    def status(self) -> dict[str, Any]:
        (plugin,) = self.host.status()["plugins"]
        return plugin


def test_what_its_manifest_says_of_failures_holds(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A guard that does not load lets nobody past; the site starts, and all else is served."""
    put(folder / "v.toml", FAIL)
    put(folder / "v.wat", TRAPS)
    site = Running(make_app)
    assert site.answers() == (200, 503)
    assert (site.status()["state"], site.status()["hooks"]) == ("failed", ["on_request"])
    assert "does not load; its failure policies hold: on_request fail" in caplog.text
    assert "hook on_request: not loaded: its initialisation failed: unreachable" in caplog.text


def test_hooks_are_the_manifests_where_the_module_is_unreadable(
    make_app: MakeApp, folder: Path
) -> None:
    """Half a file still has the manifest beside it."""
    put(folder / "v.toml", f'hooks = ["on_request"]\n{FAIL}')
    put(folder / "v.wasm", b"\0asm")
    assert Running(make_app).answers() == (200, 503)


def test_a_fixed_response_and_a_fixed_answer(make_app: MakeApp, folder: Path) -> None:
    """All that a policy can be holds."""
    put(
        folder / "v.toml",
        'match.paths = ["/guarded"]\n[on_failure]\non_request.respond.status = 418\n'
        "price.answer = 7\n",
    )
    put(folder / "v.wat", "(module")
    site = Running(make_app)
    site.plugins.hookspec("price")
    assert site.answers() == (200, 418)
    with site.app.app_context():
        assert site.plugins.call("price", {}) == 7


def test_a_failed_business_hook_names_the_reason(make_app: MakeApp, folder: Path) -> None:
    """What the app catches says that the plugin is not there, and why."""
    put(folder / "v.toml", 'on_failure.price = "fail"')
    put(folder / "v.wat", "(module")
    site = Running(make_app)
    site.plugins.hookspec("price")
    with site.app.app_context(), pytest.raises(NotLoaded, match="'v', hook 'price': not loaded: "):
        site.plugins.call("price", {})


@pytest.mark.parametrize(
    ("manifest", "module"),
    [
        (None, TRAPS),  # the default of on_request would be to fail
        ('on_failure = "skip"', TRAPS),
        ('on_failure.on_response = "fail"', TRAPS),  # no such hook: the manifest is what is wrong
        ('on_failure = "fail"', "(module"),  # hooks that nobody knows
        ('on_failure = "fail', TRAPS),
    ],
)
def test_without_a_word_of_its_own_it_is_as_if_it_were_not_there(
    make_app: MakeApp, folder: Path, manifest: str | None, module: str
) -> None:
    """A plugin that has never served does not end requests because of a default."""
    if manifest is not None:
        put(folder / "v.toml", manifest)
    put(folder / "v.wat", module)
    site = Running(make_app)
    assert site.answers() == (200, 200)
    assert (site.status()["state"], site.status()["hooks"]) == ("failed", [])


def test_a_good_file_ends_it(make_app: MakeApp, folder: Path) -> None:
    """The plugin serves as soon as it loads; without its file nothing is left of it."""
    put(folder / "v.toml", FAIL)
    put(folder / "v.wat", TRAPS)
    site = Running(make_app)
    assert site.answers() == (200, 503)
    put(folder / "v.wat", guests.module({"on_request": guests.UNCHANGED}))
    until(lambda: site.answers() == (200, 200))
    assert site.status()["state"] == "serving"


def test_a_removed_file_ends_it(make_app: MakeApp, folder: Path) -> None:
    """An operator who takes the bad plugin away takes its policies away."""
    put(folder / "v.toml", FAIL)
    put(folder / "v.wat", TRAPS)
    site = Running(make_app)
    assert site.answers() == (200, 503)
    (folder / "v.wat").unlink()
    until(lambda: site.answers() == (200, 200))
    assert site.host.status()["plugins"] == []


def test_the_last_good_version_goes_before(make_app: MakeApp, folder: Path) -> None:
    """Policies hold only where nothing good is kept."""
    put(folder / "v.toml", FAIL)
    put(folder / "v.wat", guests.module({"on_request": guests.UNCHANGED}))
    Running(make_app).answers()
    put(folder / "v.wat", TRAPS)
    site = Running(make_app)
    assert site.answers() == (200, 200)
    assert site.status()["state"] == "serving"


def test_a_deploy_ends_no_request(make_app: MakeApp, folder: Path) -> None:
    """A first version that is bad, copied into a running site, changes nothing: in no worker."""
    site = Running(make_app)
    site.answers()
    put(folder / "v.toml", FAIL)
    put(folder / "v.wat", TRAPS)
    until(lambda: len(site.host.status()["plugins"]) == 1)
    assert site.answers() == (200, 200)
    depot = site.host.depot
    assert depot is not None
    until(lambda: [worker.status["plugins"] for worker in depot.workers()] != [[]])
    later = Running(make_app)
    assert later.answers() == (200, 200)
    site.host.close()
    later.host.close()
    assert Running(make_app).answers() == (200, 503)


def test_files_that_nobody_vouches_for_have_no_say(make_app: MakeApp, folder: Path) -> None:
    """Where plugins must be signed, what an unsigned manifest asks for is nothing."""
    put(folder / "v.toml", FAIL)
    put(folder / "v.wat", TRAPS)
    site = Running(make_app, TRUSTED_KEYS=[keyring.to_text(bytes(range(32)))])
    assert site.answers() == (200, 200)
    assert "not signed" in site.status()["load_error"]
