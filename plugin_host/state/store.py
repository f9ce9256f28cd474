"""The store of one app: a backend, and the namespaces in it."""

from __future__ import annotations

import re
from typing import Final

from plugin_host.config import StateUrl
from plugin_host.errors import ConfigError, StateValueError

from .backend import Backend
from .memory import MemoryBackend
from .namespace import Namespace
from .quota import Quota
from .sqlite import SqliteBackend

_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)


class Store:
    """Namespaces by name; who may use which is decided above.

    :param label: the backend's URL, without its password.
    """

    def __init__(self, backend: Backend, label: str) -> None:
        self._backend = backend
        self.label = label

    def __repr__(self) -> str:
        return f"<Store {self.label}>"

    def namespace(self, name: str, quota: Quota = Quota()) -> Namespace:  # noqa: B008  # frozen
        """Return a namespace; the backend is not asked.

        :raises StateValueError: the name is not 1 to 128 of ``A-Z a-z 0-9 _ . : -``.
        """
        if not _NAME.fullmatch(name):
            raise StateValueError(
                f"{name[:140]!r} is not a namespace: 1 to 128 of A-Z a-z 0-9 _ . : -", "namespace"
            )
        return Namespace(self._backend, name, quota)

    def namespaces(self, *, deadline: float) -> list[str]:
        """Return the names of the namespaces that hold something, sorted.

        :raises StateUnavailable: the backend did not say by ``deadline``, a `time.monotonic`.
        """
        return self._backend.names(deadline)

    def sweep(self, *, deadline: float) -> int:
        """Remove what has expired from every namespace; return how many keys.

        Nobody need call it: what has expired is not seen, and writes sweep their namespace.

        :raises StateUnavailable: it was not done by ``deadline``, a `time.monotonic`.
        """
        return self._backend.sweep(deadline)

    def close(self) -> None:
        """Let go of files and connections; the next operation opens them again."""
        self._backend.close()


def memory_store() -> Store:
    """Return a store of its own, in this process's memory."""
    return Store(MemoryBackend(), "memory:")


def open_store(url: StateUrl) -> Store:
    """Return the store at a URL. Nothing is opened before the first operation.

    :raises ConfigError: a package that the backend needs is not installed.
    """
    return Store(_backend(url), str(url))


def _backend(url: StateUrl) -> Backend:
    if url.scheme == "memory":
        return MemoryBackend()
    if url.scheme == "sqlite":
        return SqliteBackend(url.path, durable=url.options.get("synchronous") == "full")
    try:
        from .redis import RedisBackend
    except ImportError as error:
        raise ConfigError(
            f"PLUGIN_HOST_STATE is {url}, which needs the package redis: {error};"
            " pip install 'flask-plugin-host[redis]'"
        ) from error
    return RedisBackend(url)
