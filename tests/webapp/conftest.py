"""The shop without any plugin, in folders of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from webapp import create_app, pricing
from webapp.hooks import Verdict


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The shop's plugins folder, empty."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    return folder


@pytest.fixture
def app(tmp_path: Path, folder: Path) -> Flask:
    """A shop with a new database and what is in `folder` by then."""
    return create_app(
        {
            "DATABASE": str(tmp_path / "shop.sqlite3"),
            "PLUGIN_HOST_DIR": str(folder),
            "PLUGIN_HOST_DATA_DIR": str(tmp_path / "data"),
            "PLUGIN_HOST_RELOAD": False,
            "SECRET_KEY": "a key for tests only",
        }
    )


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A visitor that keeps cookies."""
    return app.test_client()


@pytest.fixture
def send(client: FlaskClient) -> Callable[..., TestResponse]:
    """Send a form the way a page of the shop would: with the session's token."""

    def post(path: str, **fields: str) -> TestResponse:
        client.get("/user")
        with client.session_transaction() as session:
            token = session["csrf"]
        return client.post(path, data={"csrf_token": token, **fields})

    return post


class Plugins:
    """Stands in for the extension: answers as the given functions do."""

    def __init__(self, **hooks: Callable[[Any], Any]) -> None:
        self.hooks: dict[str, Callable[[Any], Any]] = {
            "price_quote": lambda quote: quote,
            "order_accept": lambda draft: Verdict(accepted=True),
        } | hooks

    def call(self, name: str, payload: Any) -> Any:
        """Answer one hook."""
        return self.hooks[name](payload)


@pytest.fixture
def decide(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let functions decide what plugins would: ``decide(price_quote=…)``."""

    def use(**hooks: Callable[[Any], Any]) -> None:
        monkeypatch.setattr(pricing, "plugins", Plugins(**hooks))

    return use
