"""The URL of the store: what is allowed, what is refused, and that passwords stay secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from plugin_host.config import Settings, StateUrl
from plugin_host.errors import ConfigError
from plugin_host.state import open_store

ROOT: Final = Path("/srv/app")


def read(value: Any, **more: Any) -> StateUrl:
    """The URL as the settings have it."""
    config = {"PLUGIN_HOST_STATE": value}
    config |= {f"PLUGIN_HOST_{key}": given for key, given in more.items()}
    return Settings.from_mapping(config, ROOT, ROOT / "instance").state


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("memory:", StateUrl("memory"), "memory:"),
        ("sqlite:///s.db", StateUrl("sqlite", ROOT / "s.db"), "sqlite:////srv/app/s.db"),
        ("sqlite:///../s.db", StateUrl("sqlite", Path("/srv/s.db")), "sqlite:////srv/s.db"),
        (
            "sqlite:////var/a%20b.db?synchronous=full",
            StateUrl("sqlite", Path("/var/a b.db"), options={"synchronous": "full"}),
            "sqlite:////var/a b.db",
        ),
        ("redis://h", StateUrl("redis", host="h", port=6379), "redis://h:6379/0"),
        (
            " redis://u%40:p%3A%23@h:1/2?prefix=shop ",
            StateUrl(
                "redis",
                host="h",
                port=1,
                user="u@",
                password="p:#",
                db=2,
                options={"prefix": "shop"},
            ),
            "redis://h:1/2",
        ),
        (
            "rediss://[::1]/?verify=no",
            StateUrl("rediss", host="::1", port=6379, options={"verify": "no"}),
            "rediss://[::1]:6379/0",
        ),
        (
            "unix://:secret@/run/r.sock?db=4",
            StateUrl("unix", Path("/run/r.sock"), port=6379, password="secret", db=4),
            "unix:///run/r.sock",
        ),
    ],
)
def test_urls(text: str, url: StateUrl, shown: str) -> None:
    """Each scheme is read in full, and shown without user and password."""
    assert (read(text), str(read(text))) == (url, shown)


def test_by_default_in_the_data_directory() -> None:
    """Without a URL state is in the data directory's file, and without that in memory."""
    assert read(None) == StateUrl("sqlite", ROOT / "instance/plugin_host/state.sqlite3")
    assert read("", DATA_DIR="data") == StateUrl("sqlite", ROOT / "data/state.sqlite3")
    assert read(None, DATA_DIR="") == StateUrl("memory")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("redos://h", "unknown scheme 'redos', did you mean 'redis'?"),
        ("etcd://h", "unknown scheme 'etcd'"),
        ("state.db", "has no scheme"),
        ("memory://", "something after 'memory:'"),
        ("memory:x", "something after 'memory:'"),
        ("sqlite://x.db", "three slashes"),
        ("sqlite:///", "three slashes"),
        ("sqlite:///x?synchronous=off", "'synchronous' that is not normal or full"),
        ("sqlite:///x?sync=full", "unknown option 'sync', there are synchronous"),
        ("redis:///1", "names no host"),
        ("redis://h:port", "a port that is not a number"),
        ("redis://h:99999", "a port that is not a number from 1 to 65535"),
        ("redis://h:0", "a port that is not a number"),
        ("redis://[h", "is not a URL"),
        ("redis://h/one", "a database that is not a number"),
        ("redis://h?verify=no", "unknown option 'verify'"),
        ("redis://:pa#ss@h", "after '#'"),
        ("unix://run/r.sock", "absolute path"),
        ("unix://", "absolute path"),
        (7, "type int"),
        (Path("x"), "type PosixPath"),
    ],
)
def test_what_is_no_url(value: Any, why: str) -> None:
    """A wrong URL is refused at start, with what is wrong and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        read(value)
    assert why in str(caught.value)
    assert "PLUGIN_HOST_STATE" in str(caught.value)
    assert "'sqlite:///PATH'" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redos://me:hunter2@h",
        "redis://me:hunter2@h:x",
        "redis://:hunter2@h/db",
        "redis://:hunter2@h?nope=1",
        "redis://:hunter2#@h",
        "redis://:hunter2@",
        "redis://:hunter2@[h",
        "unix://:hunter2@x",
    ],
)
def test_no_message_has_a_password(url: str) -> None:
    """A wrong URL is not repeated in its error."""
    with pytest.raises(ConfigError) as caught:
        read(url)
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__suppress_context__


def test_settings_show_no_password() -> None:
    """The whole configuration can be logged, and so can a store."""
    settings = Settings.from_mapping({"PLUGIN_HOST_STATE": "redis://me:hunter2@h"}, ROOT)
    assert "hunter2" not in repr(settings)
    assert repr(open_store(StateUrl("memory"))) == "<Store memory:>"
