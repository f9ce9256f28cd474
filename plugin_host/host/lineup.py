"""What is to serve, stem by stem: the folder's files, as far as they load and are not overruled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from .. import trust
from ..config import Settings
from ..errors import LoadDelayed, PluginHostError, PluginLoadError
from ..folder.scan import Candidate, Scan
from ..hostfunctions.services import Services
from ..loading.loader import load
from ..machine.control import Control, RolloutState, begin_rollout
from ..machine.depot import Depot
from ..serving.plugin import Plugin
from ..serving.registry import Canary
from . import status
from .lines import came, which
from .naming import NameTaken, Waiting, exchange, gives_way, holder_of
from .selection import choose, is_made_of, kept, last_good, name_of, why_not
from .standin import StandIn, stand_in
from .status import Refusal

logger = logging.getLogger("plugin_host")


class Lineup:
    """The versions that are to serve after the next swap, and why others are not.

    Used by one thread at a time: the host's lock guards it.

    :param depot: what the machine's workers share, if there is a place for it.
    :param services: makes what the host functions of a plugin of that name may use.
    """

    def __init__(
        self,
        settings: Settings,
        depot: Depot | None,
        services: Callable[[str, Settings], Services],
    ) -> None:
        self._settings = settings
        self._depot = depot
        self._services = services
        #: What operators decided; the host keeps it up to date.
        self.control = Control()
        #: What is to serve, by stem, and the new versions that are to serve a share.
        self.serving: dict[str, Plugin] = {}
        self.canaries: dict[str, Canary] = {}
        #: Plugins' names by stem: of all that were seen, and of those that an operator disabled.
        self.names: dict[str, str] = {}
        self.disabled: dict[str, str] = {}
        #: Why a stem's newest files do not serve, and what holds instead if nothing serves.
        self.refused: dict[str, Refusal] = {}
        self.standing_in: dict[str, StandIn] = {}
        #: Until the first swap: there is no other state to stay in.
        self.starting = True
        self._afresh: set[str] = set()  # stems to load again although nothing changed
        #: By stem, the digests of files that do not serve, and of what serves instead.
        self._overruled: dict[str, tuple[str, str] | None] = {}
        self._proven: list[tuple[Candidate, Plugin]] = []

    def load_again(self, stem: str) -> None:
        """Load a stem's version again when it is taken next, changed or not."""
        self._afresh.add(stem)

    def take(self, candidate: Candidate, background: bool) -> None:
        """Load what is to serve for these files, or say why not and leave the good one there.

        :param background: requests are being served, and nobody waits for this.
        """
        stem = candidate.stem
        self.disabled.pop(stem, None)
        try:
            name = self.names[stem] = name_of(candidate, self._settings)
            if name in self.control.disabled:
                self._disable(stem, name)
                return
            chosen = choose(candidate, name, self.control, self._depot)
            loaded = self._load(chosen, background)
            self._note_overruled(candidate, chosen, name, background)
            if loaded and chosen is candidate:
                # Only what came as a file becomes the newest version to go back to.
                self._proven.append((candidate, loaded))
        except Waiting as exc:
            self._exchange(exc)
        except PluginLoadError as exc:
            self.names.setdefault(stem, stem.lower())
            self.refuse(stem, exc, candidate.digest)
            if stem not in self.serving:
                self._fall_back(candidate)
            if stem not in self.serving and self.starting:
                instead = stand_in(candidate, exc, self._settings, self._depot)
                self.standing_in |= {stem: instead} if instead is not None else {}

    def _note_overruled(
        self, candidate: Candidate, chosen: Candidate, name: str, background: bool
    ) -> None:
        """Log once why a stem's files do not serve although nothing is wrong with them."""
        stem = candidate.stem
        overruled = None if chosen is candidate else (candidate.digest, chosen.digest)
        if overruled is not None and overruled != self._overruled.get(stem):
            logger.log(
                logging.WARNING if background else logging.INFO,  # somebody has just deployed it?
                "plugin %s: %s does not serve: %s; %.12s serves instead",
                name,
                candidate.module_path.name,
                why_not(candidate, name, self.control),
                chosen.digest,
            )
        self._overruled[stem] = overruled

    def proven(self) -> list[tuple[Candidate, Plugin]]:
        """Return what came as a file and has just been proven good, once."""
        proven, self._proven = self._proven, []
        return proven

    def remove(self, stem: str) -> None:
        """Follow a file that is gone."""
        self.refused.pop(stem, None)
        self.disabled.pop(stem, None)
        self.names.pop(stem, None)
        self.standing_in.pop(stem, None)
        plugin = self.serving.pop(stem, None)
        if plugin is not None:
            logger.info("plugin %s %s: unloaded, its file is gone", plugin.name, plugin.version)

    def refuse(self, stem: str, error: PluginLoadError, digest: str | None) -> None:
        """Note, and log once, why a stem's newest files do not serve.

        :param digest: of those files; None if they could not be read.
        """
        known = self.refused.get(stem)
        if known is not None and str(known.error) == str(error) and known.digest == digest:
            return
        # Kept for long: its traceback would keep the plugins of that moment alive.
        error.__cause__ = error.__context__ = error.__traceback__ = None
        self.refused[stem] = Refusal(error, time.time(), digest)
        good = self.serving.get(stem)
        keeps = f"; version {good.version} ({good.digest:.12}) keeps serving" if good else ""
        # As text, since handlers may keep records: the error may have a plugin that waits.
        logger.error("plugin not loaded: %s%s", str(error), keeps)

    def forgive(self, scan: Scan) -> None:
        """Drop refusals that no longer hold: the file is gone, or is readable again."""
        failing = {problem.stem for problem in scan.errors}
        for stem, refusal in list(self.refused.items()):
            gone = scan.folder_error is None and stem not in scan.present | failing
            if gone or (refusal.digest is None and stem not in failing):
                del self.refused[stem]

    def promote(self) -> None:
        """Let the versions serve all whose rollout has come to its end."""
        for stem, canary in list(self.canaries.items()):
            if stem not in self.serving:
                del self.canaries[stem]
            elif canary.until <= time.time():
                del self.canaries[stem]
                self.serving[stem] = plugin = canary.plugin
                logger.info("%s: rolled out to all requests", which(plugin))

    def status(self) -> list[dict[str, Any]]:
        """Describe what is refused with nothing serving, and what is disabled; from any thread."""
        refused, disabled = dict(self.refused), dict(self.disabled)  # asked for by any thread
        failed, instead = sorted(refused.keys() - self.serving.keys()), self.standing_in
        bad = [status.failed(stem, refused[stem], instead.get(stem)) for stem in failed]
        return bad + [status.disabled(name, stem) for stem, name in sorted(disabled.items())]

    def _load(self, chosen: Candidate, background: bool) -> Plugin | None:
        """Load a version, to serve all or a share, and return it; None if it serves already."""
        stem, old = chosen.stem, self.serving.get(chosen.stem)
        canary = self.canaries.get(stem)
        if stem not in self._afresh:
            if old is not None and is_made_of(old, chosen):
                trust.check(chosen, self._settings)  # its signature may have gone or come
                self.refused.pop(stem, None)  # a bad version was replaced by the one that serves
                self.canaries.pop(stem, None)
                return None
            if canary is not None and is_made_of(canary.plugin, chosen):
                return None
        began = time.monotonic()
        plugin = self._make(chosen, background)
        self._install(chosen, plugin, began)
        return plugin

    def _install(self, chosen: Candidate, plugin: Plugin, began: float) -> None:
        """Let a loaded version serve, all or a share."""
        stem, old = chosen.stem, self.serving.get(chosen.stem)
        self.canaries.pop(stem, None)
        if not self._begin_rollout(chosen, plugin):
            self.serving[stem] = plugin
        self._afresh.discard(stem)
        self.refused.pop(stem, None)
        self.standing_in.pop(stem, None)
        logger.info(
            "%s: %s from %s in %.0f ms",
            which(plugin),
            came(old, self.canaries.get(stem)),
            plugin.path.name,
            (time.monotonic() - began) * 1000,
        )

    def _exchange(self, taken: Waiting) -> None:
        """Refuse what has another's name, unless that one's new files give it away."""
        began = time.monotonic()
        moves = exchange(taken, self.serving, self.refused)
        if not moves:
            self.refuse(taken.candidate.stem, taken, taken.candidate.digest)
        for move in moves:
            self._install(move.candidate, move.plugin, began)
            self._proven.append((move.candidate, move.plugin))

    def _make(self, chosen: Candidate, background: bool) -> Plugin:
        try:
            cache = self._depot.cache if self._depot else None
            plugin = load(chosen, self._settings, cache, background, self._services)
        except PluginLoadError:
            raise
        except (OSError, MemoryError) as exc:
            raise LoadDelayed(chosen.module_path, f"is to be loaded again: {exc!r}") from exc
        except Exception as exc:
            logger.exception("%s: cannot be loaded", chosen.module_path.name)
            reason = f"cannot be loaded: {type(exc).__name__}: {exc}"
            raise PluginLoadError(chosen.module_path, reason) from exc
        holder = holder_of(plugin.name, self.serving)
        if holder is not None and holder != chosen.stem:
            if not gives_way(holder, chosen.stem, plugin.name):
                raise Waiting(chosen, plugin, self.serving[holder])
            other = self.serving.pop(holder)
            taken = NameTaken(other.path, other.name, plugin.path.name)
            self.refuse(holder, taken, other.digest)
        return plugin

    def _begin_rollout(self, chosen: Candidate, plugin: Plugin) -> bool:
        """Let a new version serve a share at first, if its manifest wants that; whether it does.

        Also goes on with a rollout that was under way when this process started.
        """
        rollout, depot, stem = plugin.manifest.rollout, self._depot, chosen.stem
        control = self.control
        if rollout is None or depot is None or plugin.name in self.control.pins:
            return False
        old = self.serving.get(stem)
        if old is not None and old.name != plugin.name:
            return False  # that is another plugin
        if old is not None and old.digest != plugin.digest:
            state = RolloutState(plugin.digest, old.digest, time.time())
            try:
                control = depot.control.update(
                    lambda control: begin_rollout(control, plugin.name, state), "rollout"
                )
            except PluginHostError as exc:
                logger.error("plugin %s: no rollout by share: %s", plugin.name, exc)
                return False
        known = control.rollouts.get(plugin.name)
        if known is None or known.digest != plugin.digest:
            return False
        until = known.since + rollout.seconds
        if until <= time.time():
            return False
        if old is None:
            why = "its rollout is under way"
            stable = kept(chosen, plugin.name, known.before, depot, why)
            self.serving[stem] = load(stable, self._settings, depot.cache, services=self._services)
        self.canaries[stem] = Canary(plugin, rollout, until)
        return True

    def _fall_back(self, candidate: Candidate) -> None:
        """With nothing serving and a bad file, serve the last version that was good."""
        stem, name = candidate.stem, self.names.get(candidate.stem)
        if self._depot is None or name is None:
            return
        last = last_good(candidate, name, self.control, self._depot)
        refusal = self.refused.get(stem)
        if last is None:
            return
        try:
            self._load(kept(candidate, name, last.digest, self._depot, "its file is bad"), False)
        except PluginLoadError as exc:
            logger.error("plugin %s: its last good version does not load either: %s", name, exc)
            return
        if refusal is not None:
            self.refused[stem] = refusal  # still true: the newest file does not serve
        logger.warning(
            "plugin %s: the newest file is bad; %s (%.12s), the last good version, serves",
            name,
            last.version,
            last.digest,
        )

    def _disable(self, stem: str, name: str) -> None:
        self.disabled[stem] = name
        self.refused.pop(stem, None)
        self.standing_in.pop(stem, None)
        if self.serving.pop(stem, None) is not None:
            logger.info("plugin %s: unloaded, it is disabled", name)
