"""What happens on the first start, and when several workers start at once."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from webapp import create_app
from webapp.db import connect
from webapp.once import publish_once
from webapp.secret import secret_key

ROOT = Path(__file__).resolve().parents[2]


def make(tmp_path: Path, **config: Any) -> None:
    """Make a shop in `tmp_path`."""
    (tmp_path / "plugins").mkdir(exist_ok=True)
    defaults = {
        "DATABASE": str(tmp_path / "deep" / "er" / "shop.sqlite3"),
        "PLUGIN_HOST_DIR": str(tmp_path / "plugins"),
        "PLUGIN_HOST_RELOAD": False,
        "SECRET_KEY": "a key for tests only",
    }
    create_app(defaults | config)


def test_database_is_made(tmp_path: Path) -> None:
    """The first start makes the folder and a complete database in WAL mode."""
    make(tmp_path)
    with contextlib.closing(connect(tmp_path / "deep/er/shop.sqlite3")) as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
        assert db.execute("SELECT count(*) FROM product").fetchone()[0] == 8


def test_database_is_kept(tmp_path: Path) -> None:
    """A later start leaves the data alone."""
    make(tmp_path)
    with contextlib.closing(connect(tmp_path / "deep/er/shop.sqlite3")) as db:
        db.execute("UPDATE product SET stock = 7")
    make(tmp_path)
    with contextlib.closing(connect(tmp_path / "deep/er/shop.sqlite3")) as db:
        assert db.execute("SELECT DISTINCT stock FROM product").fetchall()[0][0] == 7


@pytest.mark.parametrize("content", [b"", b"no database at all, but longer than its header" * 9])
def test_foreign_database(tmp_path: Path, content: bytes) -> None:
    """A file that is no database of the shop is named, and not touched."""
    path = tmp_path / "other.db"
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match=r"other\.db.*set DATABASE to another path"):
        make(tmp_path, DATABASE=str(path))
    assert content == path.read_bytes()


def test_foreign_keys_hold(tmp_path: Path) -> None:
    """An order line of an unknown article cannot be stored."""
    make(tmp_path)
    with (
        contextlib.closing(connect(tmp_path / "deep/er/shop.sqlite3")) as db,
        pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"),
    ):
        db.execute("INSERT INTO flash_sale (sku, price, stock) VALUES ('nope', 1, 1)")


def test_environment_configures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLASK_* variables configure the shop; the argument of the factory has the last word."""
    monkeypatch.setenv("FLASK_DATABASE", str(tmp_path / "env.db"))
    monkeypatch.setenv("FLASK_PLUGIN_HOST_DIR", str(tmp_path))
    monkeypatch.setenv("FLASK_SECRET_KEY", "from the environment")
    app = create_app({"PLUGIN_HOST_RELOAD": False, "SECRET_KEY": "from the argument"})
    assert app.config["DATABASE"] == str(tmp_path / "env.db")
    assert app.config["PLUGIN_HOST_DIR"] == str(tmp_path)
    assert app.config["SECRET_KEY"] == "from the argument"


def test_secret_is_kept(tmp_path: Path) -> None:
    """Without a configured key one is made, kept, and private."""
    first = secret_key(None, tmp_path)
    assert first == secret_key(None, tmp_path)
    assert isinstance(first, str)
    assert len(first) == 64
    if sys.platform != "win32":
        assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_configured_secret_wins(tmp_path: Path) -> None:
    """A configured key is used as it is, and nothing is written."""
    assert secret_key(b"given", tmp_path) == b"given"
    assert list(tmp_path.iterdir()) == []


def test_numeric_secret(tmp_path: Path) -> None:
    """A key that the environment turned into a number is refused with the remedy."""
    with pytest.raises(RuntimeError, match="quote it"):
        secret_key(12345, tmp_path)


def test_damaged_secret(tmp_path: Path) -> None:
    """An empty key file is never signed with."""
    (tmp_path / "secret_key").write_text("")
    with pytest.raises(RuntimeError, match="delete it and start again"):
        secret_key(None, tmp_path)


def test_hammer_publish_once(tmp_path: Path) -> None:
    """Of many that create one file at once, one wins, all see its content, no draft stays."""
    target, seen = tmp_path / "target", []
    together = threading.Barrier(8)

    def create(text: str) -> None:
        def fill(draft: Path) -> None:
            draft.write_text(text * 1000)
            together.wait()

        publish_once(target, fill)
        seen.append(target.read_text())

    threads = [threading.Thread(target=create, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [target.read_text()] * 8 == seen
    assert [target] == list(tmp_path.iterdir())


def test_failed_draft(tmp_path: Path) -> None:
    """When the content cannot be made, neither file nor draft is left behind."""

    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        publish_once(tmp_path / "target", fail)
    assert list(tmp_path.iterdir()) == []


def test_shipped_plugins_serve(tmp_path: Path) -> None:
    """With the shop's own settings every plugin that ships with it is granted what it needs."""
    config = {"DATABASE": str(tmp_path / "shop.sqlite3"), "SECRET_KEY": "for tests"}
    config |= {"PLUGIN_HOST_DATA_DIR": str(tmp_path / "data"), "PLUGIN_HOST_STATE": "memory:"}
    app = create_app({**config, "PLUGIN_HOST_RELOAD": False})
    status: Any = app.test_client().get("/api/plugins").json
    app.extensions["plugin_host"].close()
    assert [(p["name"], p["load_error"]) for p in status["plugins"] if p["load_error"]] == []
    assert len(status["plugins"]) == len(list((ROOT / "plugins").glob("*.toml")))
