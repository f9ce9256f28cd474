"""Limits of time in a real gunicorn: endless guests, and modules that take too long to compile."""

from __future__ import annotations

from collections.abc import Iterator

import guests
import pytest
from load import shared_kinds, worker_arguments
from server import Answer, Site, serve


def slow(depth: int) -> str:
    """A module whose nested loops the compiler takes seconds for."""
    loops = "loop " * depth + "local.get 0 br_if 0 " + "end " * depth
    return guests.module({"ask": guests.ECHO}, extra=f"(func (param i32) {loops})")


@pytest.fixture(scope="module")
def site(kind: str, preload: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site with an endless plugin and one that can hardly be compiled, from its start."""
    path = tmp_path_factory.mktemp("site")
    folder = path / "plugins"
    folder.mkdir()
    (folder / "spins.wat").write_text(guests.module({"on_request": guests.SPIN}))
    (folder / "spins.toml").write_text('[match]\npaths = ["/spin"]')
    (folder / "early.wat").write_text(slow(6000))
    (folder / "good.wat").write_text(guests.adding("x-good", "1"))
    with serve(
        path,
        "gunicorn_site:app",
        *worker_arguments(kind, preload),
        FLASK_PLUGIN_HOST_COMPILE_TIMEOUT="0.2",
    ) as running:
        yield running


pytestmark = [pytest.mark.slow, shared_kinds]


def test_an_endless_guest_is_ended_and_its_neighbour_serves(site: Site) -> None:
    """Every worker answers 503 to what spins, goes on serving, and is not replaced."""
    good = site.everywhere(lambda answer: answer.headers.get("x-good") == "1")
    assert {answer.status for answer in site.many("/spin")} == {503}
    assert set(site.everywhere(lambda answer: answer.headers.get("x-good") == "1")) == set(good)
    assert "WORKER TIMEOUT" not in site.log.read_text()


def _reason(answer: Answer, name: str) -> str:
    plugins = {plugin["name"]: plugin for plugin in answer.json["plugins"]}
    return str(plugins[name]["load_error"]) if name in plugins else ""


@pytest.mark.parametrize("name", ["early", "late"])
def test_a_module_that_takes_too_long_to_compile_is_refused(site: Site, name: str) -> None:
    """At the start and while serving, all workers refuse it, say why, and serve."""
    if name == "late":
        site.put("late.wat", slow(5900))
    site.everywhere(lambda answer: "0.2 s of processor" in _reason(answer, name), "/status")
    assert all(answer.headers.get("x-good") == "1" for answer in site.many())
