"""Files that do not serve although nothing is wrong with them: it was decided so."""

from __future__ import annotations

import logging

from ..folder.scan import Candidate
from ..machine.control import Control
from .selection import why_not

logger = logging.getLogger("plugin_host")


class Overruled:
    """Logs once that a stem's files do not serve, why, and what does instead."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str] | None] = {}

    def note(
        self,
        candidate: Candidate,
        chosen: Candidate,
        name: str,
        control: Control,
        background: bool,
    ) -> None:
        """Take note of what was chosen for a stem's files, which may be those."""
        stem = candidate.stem
        overruled = None if chosen is candidate else (candidate.digest, chosen.digest)
        if overruled is not None and overruled != self._known.get(stem):
            logger.log(
                logging.WARNING if background else logging.INFO,  # somebody has just deployed it?
                "plugin %s: %s does not serve: %s; %.12s serves instead",
                name,
                candidate.module_path.name,
                why_not(candidate, name, control),
                chosen.digest,
            )
        self._known[stem] = overruled
