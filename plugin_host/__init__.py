"""WebAssembly business-logic hooks for Flask, hot-reloaded from a folder.

``PluginHost(app)`` is the extension; the errors it raises are beside it.
"""

from __future__ import annotations

from .errors import (
    BadResult,
    CircuitOpen,
    ConfigError,
    DeadlineExceeded,
    ExportError,
    GuestError,
    GuestTrap,
    HookError,
    ImportDenied,
    InitError,
    LoadDelayed,
    ManifestError,
    ModuleError,
    NoResources,
    NotLoaded,
    PayloadError,
    PinError,
    PluginFileError,
    PluginHostError,
    PluginLoadError,
    PoolExhausted,
    SelfTestFailed,
    SignatureError,
    StateError,
    StateQuota,
    StateTypeError,
    StateUnavailable,
    StateValueError,
)
from .extension import PluginHost, plugin_event, plugins_changed
from .host.change import Change
from .hostfunctions.app import Event
from .problem import HookFailed

__all__ = [
    "BadResult",
    "Change",
    "CircuitOpen",
    "ConfigError",
    "DeadlineExceeded",
    "Event",
    "ExportError",
    "GuestError",
    "GuestTrap",
    "HookError",
    "HookFailed",
    "ImportDenied",
    "InitError",
    "LoadDelayed",
    "ManifestError",
    "ModuleError",
    "NoResources",
    "NotLoaded",
    "PayloadError",
    "PinError",
    "PluginFileError",
    "PluginHost",
    "PluginHostError",
    "PluginLoadError",
    "PoolExhausted",
    "SelfTestFailed",
    "SignatureError",
    "StateError",
    "StateQuota",
    "StateTypeError",
    "StateUnavailable",
    "StateValueError",
    "plugin_event",
    "plugins_changed",
]
