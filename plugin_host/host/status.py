"""A host's state in plain values, for people and for JSON; times are Unix times."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ..errors import PluginLoadError, SignatureError
from ..serving.plugin import Plugin
from ..serving.registry import Canary


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a plugin's newest files do not serve; ``digest`` is None if they could not be read."""

    error: PluginLoadError
    at: float
    digest: str | None

    @property
    def bad(self) -> str | None:
        """The digest of which no version can serve, if that is known.

        Not where only the signature is wrong: a kept version has the one that it came with.
        """
        return None if isinstance(self.error, SignatureError) else self.digest


def serving(plugin: Plugin, refusal: Refusal | None) -> dict[str, Any]:
    """Describe a plugin that serves, and why newer files of it do not."""
    return {
        "name": plugin.name,
        "version": plugin.version,
        "description": plugin.manifest.description,
        "file": plugin.path.name,
        "digest": plugin.digest,
        "abi": plugin.abi,
        "hooks": list(plugin.hooks),
        "order": plugin.manifest.order,
        "state": "serving",
        "loaded_at": plugin.loaded_at,
        "load_error": str(refusal.error) if refusal else None,
        **plugin.totals(),
    }


def canary(each: Canary) -> dict[str, Any]:
    """Describe a version that serves a share of the requests."""
    return {
        **serving(each.plugin, None),
        "state": "canary",
        "share": each.rollout.share,
        "until": time.time() + each.until - time.monotonic(),
    }


def _absent(name: str, state: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": None,
        "description": "",
        "file": None,
        "digest": None,
        "abi": None,
        "hooks": [],
        "order": None,
        "state": state,
        "loaded_at": None,
        "load_error": None,
        "calls": 0,
        "errors": 0,
        "faults": 0,
        "seconds": 0.0,
        "measured": 0,
        "cpu_seconds": 0.0,
        "instances": 0,
        "last_error": None,
        "last_error_at": None,
        "breaker": None,
        "state_errors": {},
        "metrics": {"counters": {}, "histograms": {}},
    }


def failed(stem: str, refusal: Refusal, instead: Plugin | None) -> dict[str, Any]:
    """Describe a plugin of which no version serves.

    :param instead: what stands in for it: its hooks are those whose failure policies hold.
    """
    error = str(refusal.error)
    return {
        **_absent(stem, "failed"),
        "hooks": [] if instead is None else list(instead.hooks),
        "file": refusal.error.path.name,
        "digest": refusal.digest,
        "load_error": error,
        "last_error": error,
        "last_error_at": refusal.at,
    }


def disabled(name: str, file: str) -> dict[str, Any]:
    """Describe a plugin that an operator has disabled."""
    return {**_absent(name, "disabled"), "file": file}
