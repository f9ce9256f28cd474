"""A real gunicorn with two workers: what operators do to the folder, and what clients see of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import guests
import pytest
from load import Load, deploy, shared_kinds, worker_arguments
from server import Answer, Site, serve


@pytest.fixture(scope="module")
def site(kind: str, preload: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site under one kind of worker; each test deploys a plugin of its own."""
    arguments = worker_arguments(kind, preload)
    with serve(tmp_path_factory.mktemp("site"), "gunicorn_site:app", *arguments) as running:
        yield running


pytestmark = [pytest.mark.slow, shared_kinds]


def says(header: str, value: str | None) -> Callable[[Answer], bool]:
    """Whether an answer has that header, or with None has none."""
    return lambda answer: answer.headers.get(header) == value


def refuses(name: str) -> Callable[[Answer], bool]:
    """Whether a worker's status says that it refused the newest file of a plugin."""

    def found(answer: Answer) -> bool:
        plugins = {plugin["name"]: plugin for plugin in answer.json["plugins"]}
        return name in plugins and plugins[name]["load_error"] is not None

    return found


def test_all_workers_follow_an_added_an_edited_and_a_deleted_plugin(site: Site) -> None:
    """A file that is added, edited or deleted takes effect in every worker, without a restart."""
    site.put("follow.wat", guests.adding("x-follow", "1"))
    before = site.everywhere(says("x-follow", "1"))
    site.put("follow.wat", guests.adding("x-follow", "2"))
    edited = site.everywhere(says("x-follow", "2"))
    (site.folder / "follow.wat").unlink()
    deleted = site.everywhere(says("x-follow", None))
    assert before.keys() == edited.keys() == deleted.keys()


def test_a_file_copied_over_in_place_takes_effect(site: Site) -> None:
    """A plugin that is overwritten in place, as cp does it, is reloaded when it is whole."""
    path = site.folder / "copied.wat"
    path.write_text(guests.adding("x-copied", "1"))
    site.everywhere(says("x-copied", "1"))
    path.write_text(guests.adding("x-copied", "2"))
    site.everywhere(says("x-copied", "2"))
    path.unlink()
    site.everywhere(says("x-copied", None))


def test_an_edited_manifest_takes_effect(site: Site) -> None:
    """A changed manifest takes effect in every worker like a changed module."""
    site.put("matched.wat", guests.adding("x-matched", "1"))
    site.everywhere(says("x-matched", "1"))
    site.put("matched.toml", 'match.paths = ["/elsewhere"]\n')
    site.everywhere(says("x-matched", None))
    (site.folder / "matched.toml").unlink()
    site.everywhere(says("x-matched", "1"))
    (site.folder / "matched.wat").unlink()
    site.everywhere(says("x-matched", None))


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\0asm\1\0\0\0\1\4\1\x60", id="truncated"),
    ],
)
def test_a_broken_file_changes_nothing(site: Site, broken: bytes) -> None:
    """A file that cannot be loaded leaves the version before it serving in every worker."""
    site.put("kept.wat", guests.adding("x-kept", "good"))
    site.everywhere(says("x-kept", "good"))
    site.put("kept.wat", broken)
    site.everywhere(refuses("kept"), "/status")
    site.everywhere(says("x-kept", "good"))
    (site.folder / "kept.wat").unlink()
    site.everywhere(says("x-kept", None))


def test_a_guest_that_loops_ends_at_its_deadline(site: Site) -> None:
    """A hook that never returns costs its own request a 503, and no worker its life."""
    site.put("loops.wat", guests.module({"on_request": guests.SPIN}))
    site.put("loops.toml", 'match.paths = ["/spin"]\n')
    workers = site.everywhere(_has("loops"), "/status").keys()
    answers = site.many("/spin", 6)
    assert [answer.status for answer in answers] == [503] * len(answers)
    (site.folder / "loops.wat").unlink()
    (site.folder / "loops.toml").unlink()
    assert site.everywhere(lambda answer: True, "/spin").keys() == workers


def _has(name: str) -> Callable[[Answer], bool]:
    return lambda answer: name in [plugin["name"] for plugin in answer.json["plugins"]]


def test_hammer_no_request_fails_or_sees_two_versions(site: Site) -> None:
    """Under a stream of replacements, good and bad, every request gets one version throughout."""
    deploy(site, 0)
    site.everywhere(says("x-version", "0"))
    with Load(site) as load:
        for version in range(1, 9):
            if version % 3 == 0:
                site.put("v.wat", b"not a module")
            else:
                deploy(site, version)
                site.everywhere(says("x-version", str(version)))
                load.wait_until_seen(version)
    (site.folder / "v.wat").unlink()
    site.everywhere(says("x-version", None))
    assert load.broken == []
    seen = {each.version for each in load.seen}
    assert {1, 2, 4, 5, 7, 8} <= seen <= {0, 1, 2, 4, 5, 7, 8}
