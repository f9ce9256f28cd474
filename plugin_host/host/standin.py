"""What holds in place of a plugin that did not load when the process started: its policies.

Only what its manifest says of failures: a plugin that has never served must not end requests
because of a default (docs/rationale.md, "Why does a plugin that does not load fail no requests?").
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..config import Settings
from ..errors import NotLoaded, PinError, PluginLoadError, SignatureError
from ..folder.scan import Candidate
from ..loading.loader import known_hooks
from ..machine.depot import Depot
from ..manifest import Manifest
from ..serving.plugin import LINES, LINES_AT_ONCE, Plugin
from ..serving.policies import Policy, policies
from ..throttle import Throttle
from .absent import others
from .lines import which
from .naming import NameTaken

logger = logging.getLogger("plugin_host")

T = TypeVar("T")


class StandIn(Plugin):
    """Fails each call of a plugin that is not there, for its policies to hold."""

    def __init__(
        self, candidate: Candidate, manifest: Manifest, ready: Mapping[str, Policy], why: str
    ) -> None:
        # Not Plugin's: there is no guest.
        self.path, self.digest, self.manifest = candidate.module_path, candidate.digest, manifest
        self.name, self.version, self.hooks = manifest.name, manifest.version, tuple(ready)
        self.policies, self._why = ready, why
        self.timeout = 1.0
        self.failure_lines = Throttle(LINES, LINES_AT_ONCE)
        self.request_body = self.response_body = False
        self.encode_request = self.encode_response = _no_record
        self.decode_request = self.decode_response = _no_edits

    def call(
        self, hook: str, data: bytes, timeout: float, decode: Callable[[bytes], T]
    ) -> T | None:
        """Call nothing.

        :raises NotLoaded: always.
        """
        raise NotLoaded(self._why).named(self.name, hook)


def stand_in(
    candidate: Candidate, error: PluginLoadError, settings: Settings, depot: Depot | None
) -> StandIn | None:
    """Return what holds instead of files that do not load; None if nothing does.

    Nothing is taken from files that nobody vouches for. And where other workers serve without the
    plugin, a new one does as they do.

    :param error: why they do not load.
    """
    if isinstance(error, SignatureError | PinError | NameTaken) or _is_missed(
        candidate, settings, depot
    ):
        return None
    try:
        manifest, hooks = known_hooks(candidate)
        said = manifest.on_failure
        explicit = [hook for hook in hooks if not isinstance(said, Mapping) or hook in said]
        ready = policies(candidate.module_path, manifest, hooks)
    except PluginLoadError:
        return None  # they do not even say what they are
    chosen = {hook: ready[hook] for hook in explicit if ready[hook].word != "skip"}
    if not chosen:
        return None
    instead = StandIn(candidate, manifest, chosen, error.reason)
    words = ", ".join(f"{hook} {policy.word}" for hook, policy in chosen.items())
    logger.error("%s does not load; its failure policies hold: %s", which(instead), words)
    return instead


def _is_missed(candidate: Candidate, settings: Settings, depot: Depot | None) -> bool:
    """Whether a live worker serves from the same folder without these files' plugin."""
    return any(
        plugin.get("digest") == candidate.digest and not plugin.get("hooks")
        for worker in others(settings, depot)
        for plugin in worker.status.get("plugins", ())
    )


def _no_record(*_: Any, **__: Any) -> bytes:
    return b""


def _no_edits(data: bytes) -> Any:
    return None
