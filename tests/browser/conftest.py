"""A real gunicorn and a real Chromium; skipped where a part of that is missing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
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
_START_SECONDS = 20.0


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_up(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(url + "/healthz", timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(f"the shop does not answer; its log:\n{log.read_text()}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The shop under gunicorn with two workers, new data and an empty plugins folder."""
    tmp_path = tmp_path_factory.mktemp("site")
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    folder, log = tmp_path / "plugins", tmp_path / "gunicorn.log"
    folder.mkdir()
    port = _free_port()
    environment = os.environ | {
        "FLASK_DATABASE": str(tmp_path / "shop.sqlite3"),
        "FLASK_PLUGIN_HOST_DIR": str(folder),
        "FLASK_PLUGIN_HOST_POLL_INTERVAL": "0.2",
        "FLASK_SECRET_KEY": "a key for tests only",
        "HOME": str(tmp_path),  # newer gunicorns keep a control socket there
    }
    command = [sys.executable, "-m", "gunicorn", "wsgi:app", "--workers", "2"]
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "--bind", f"127.0.0.1:{port}"],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_up(url, server, log)
        yield Site(url, folder)
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


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
