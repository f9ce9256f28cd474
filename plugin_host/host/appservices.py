"""What one app gives its plugins' host functions: the store of their state, and what follows."""

from __future__ import annotations

import dataclasses

from ..config import Settings
from ..hostfunctions.app import App
from ..hostfunctions.services import Services
from ..state import Store, open_store


class AppServices:
    """Makes the `Services` of each plugin of one app.

    :param app: what the app itself does for its plugins.
    :raises ConfigError: a package that the store needs is not installed.
    """

    def __init__(self, settings: Settings, app: App) -> None:
        self._app = app
        #: Where plugins' state is kept; nothing is opened before the first operation.
        self.store: Store = open_store(settings.state)

    def of(self, plugin: str, settings: Settings) -> Services:
        """Return what the host functions of the plugin of that name may use."""
        services = Services.of(plugin, settings)
        services.log.request_id = self._app.request_id
        return dataclasses.replace(services, store=self.store, app=self._app)

    def close(self) -> None:
        """Let go of files and connections."""
        self.store.close()
