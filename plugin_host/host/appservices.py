"""What one app gives its plugins' host functions: the store of their state, and what follows."""

from __future__ import annotations

import dataclasses

from ..abi.services import Services
from ..config import Settings
from ..state import Store, open_store


class AppServices:
    """Makes the `Services` of each plugin of one app.

    :raises ConfigError: a package that the store needs is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        #: Where plugins' state is kept; nothing is opened before the first operation.
        self.store: Store = open_store(settings.state)

    def of(self, plugin: str, settings: Settings) -> Services:
        """Return what the host functions of the plugin of that name may use."""
        return dataclasses.replace(Services.of(plugin, settings), store=self.store)

    def close(self) -> None:
        """Let go of files and connections."""
        self.store.close()
