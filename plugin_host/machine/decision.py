"""What an operator has decided, and whether a worker has followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .fleet import WorkerState


@dataclass(frozen=True, slots=True)
class Decision:
    """What holds for all workers of the machine now, and after every restart.

    :param text: what holds, one phrase.
    :param name: the plugin; None means all.
    :param generation: the control generation that workers have to reach.
    :param changed: False if it held before.
    :param expected: the digest that is to serve where the plugin does; None if that is left to
        its file.
    """

    text: str
    name: str | None
    generation: int
    changed: bool
    expected: str | None = None

    def plugins(self, worker: WorkerState) -> list[dict[str, Any]]:
        """Return what a worker says of the plugins that this is about."""
        plugins = worker.status.get("plugins", ())
        return [plugin for plugin in plugins if self.name in (None, plugin.get("name"))]

    def is_followed(self, worker: WorkerState) -> bool:
        """Whether a worker has taken note and has come to an end with it, good or bad."""
        if worker.status.get("control_generation", -1) < self.generation:
            return False
        plugins = self.plugins(worker)
        return self.expected is None or not plugins or any(map(self._is_settled, plugins))

    def _is_settled(self, plugin: dict[str, Any]) -> bool:
        return (
            plugin.get("digest") == self.expected
            or plugin.get("state") == "disabled"
            or bool(plugin.get("load_error"))
        )
