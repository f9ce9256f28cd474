"""The three backends as fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.state.world import RedisServer, World


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that all tests share; it forgets all when it ends."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(
    params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis)],
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """One of the backends, empty, with a clock that the test turns."""
    server = request.getfixturevalue("redis_server") if request.param == "redis" else None
    made = World(request.param, tmp_path, server)
    yield made
    made.close()
