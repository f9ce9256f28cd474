"""The shop's extension objects; they hold no app, so every app made by the factory shares them."""

from __future__ import annotations

from plugin_host import PluginHost

plugins = PluginHost()
