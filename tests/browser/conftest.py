"""A real gunicorn and a real Chromium; skipped where a part of that is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from server import ROOT, serve

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,1000",
)


@dataclass(frozen=True)
class Site:
    """A running shop: its address, and the folder from which it takes plugins."""

    url: str
    plugins: Path


def _program(*names: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    pytest.skip(f"{' or '.join(names)} is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The shop under gunicorn with two workers, new data and an empty plugins folder."""
    tmp_path = tmp_path_factory.mktemp("site")
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    settings = {
        "FLASK_DATABASE": str(tmp_path / "shop.sqlite3"),
        "FLASK_PLUGIN_HOST_POLL_INTERVAL": "0.2",
        "FLASK_SECRET_KEY": "a key for tests only",
    }
    with serve(tmp_path, "wsgi:app", chdir=ROOT, **settings) as shop:
        yield Site(f"http://127.0.0.1:{shop.port}", shop.folder)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium with a new profile, driven by selenium."""
    profile = tmp_path_factory.mktemp("profile")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    browser = _program("chromium", "chromium-browser", "google-chrome")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(_program("chromedriver"))
    chrome = webdriver.Chrome(options=options, service=service)
    try:
        chrome.set_page_load_timeout(20)
        yield chrome
    finally:
        chrome.quit()
