"""Plugins whose manifests name them, in files that are renamed: one plugin per name, always."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import guests
import pytest
from deploying import until
from guests import MakeApp

from plugin_host.host.host import Host


class Named:
    """A reloading app, and files of which each manifest has a name that is not the file's."""

    def __init__(self, make_app: MakeApp, folder: Path) -> None:
        self.folder = folder
        for stem in "abc":
            text = guests.adding(f"x-{stem}", stem, "on_response")
            (folder / f"{stem}.wat").write_text(text)
            (folder / f"{stem}.toml").write_text(f'name = "plugin-{stem}"')
        app, _ = make_app(RELOAD=True, POLL_INTERVAL=0.05)
        app.add_url_rule("/", view_func=lambda: "ok")
        self.client = app.test_client()
        self.host: Host = app.extensions["plugin_host"]
        self.client.get("/")

    def move(self, *stems: str) -> None:
        """Give each file the name of the next, the last one that of the first."""
        for suffix in (".wat", ".toml"):
            os.rename(self.folder / f"{stems[-1]}{suffix}", self.folder / f"spare{suffix}.old")
            for old, new in reversed([*pairwise(stems)]):
                os.rename(self.folder / f"{old}{suffix}", self.folder / f"{new}{suffix}")
            os.rename(self.folder / f"spare{suffix}.old", self.folder / f"{stems[0]}{suffix}")

    def files(self) -> dict[str, str]:
        return {plugin.name: plugin.path.stem for plugin in self.host.snapshot.plugins}

    def load_errors(self) -> list[str]:
        found = (plugin["load_error"] for plugin in self.host.status()["plugins"])
        return [error for error in found if error]


@pytest.mark.parametrize("stems", [("a", "b"), ("a", "b", "c")], ids=" ".join)
def test_files_may_exchange_their_names(
    make_app: MakeApp, folder: Path, stems: tuple[str, ...]
) -> None:
    """Plugins that change places serve on, and nothing is refused for long."""
    site = Named(make_app, folder)
    site.move(*stems)
    moved = dict(zip(stems, (*stems[1:], stems[0]), strict=True))
    until(lambda: site.files() == {f"plugin-{stem}": moved.get(stem, stem) for stem in "abc"})
    until(lambda: not site.load_errors())
    assert {"x-a", "x-b", "x-c"} <= set(site.client.get("/").headers.keys(lower=True))


def test_files_may_exchange_their_names_one_after_the_other(
    make_app: MakeApp, folder: Path
) -> None:
    """What comes first is refused until the other one has come, and then both serve."""
    site = Named(make_app, folder)
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}

    def put(source: str, target: str) -> None:
        with site.host._lock:  # one swap
            for suffix in (".wat", ".toml"):
                new = folder / f"{target}{suffix}.new"
                new.write_bytes(contents[f"{source}{suffix}"])
                os.replace(new, folder / f"{target}{suffix}")

    put("b", "a")
    until(lambda: any("'plugin-b' is that of" in error for error in site.load_errors()))
    assert site.files() == {f"plugin-{stem}": stem for stem in "abc"}
    put("a", "b")
    until(lambda: site.files() == {"plugin-a": "b", "plugin-b": "a", "plugin-c": "c"})
    until(lambda: not site.load_errors())


def test_a_name_that_stays_taken_is_refused(make_app: MakeApp, folder: Path) -> None:
    """Whoever has the name keeps it, whatever else wants to move."""
    site = Named(make_app, folder)
    (folder / "a.toml").write_text('name = "plugin-b"')
    (folder / "c.toml").write_text('name = "plugin-b"')
    until(lambda: len(site.load_errors()) == 2)
    assert site.files() == {f"plugin-{stem}": stem for stem in "abc"}


def test_a_renamed_plugin_is_not_rolled_out_beside_another(make_app: MakeApp, folder: Path) -> None:
    """A share of requests is shown a new version of the same plugin, not another plugin."""
    site = Named(make_app, folder)
    (folder / "a.toml").write_text('name = "other"\nrollout = { share = 0.1, for = "1h" }')
    until(lambda: "other" in site.files())
    assert site.host.snapshot.canaries == ()
