"""What is to serve, stem by stem: the folder's files, as far as they load and are not overruled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from .. import trust
from ..config import Settings
from ..errors import LoadDelayed, PluginLoadError
from ..folder.scan import Candidate, Scan
from ..hostfunctions.services import Services
from ..machine.control import Control
from ..machine.depot import Depot
from ..serving.plugin import Plugin
from ..serving.registry import Canary
from . import status
from .lines import came, which
from .naming import NameTaken, Waiting, exchange, gives_way, holder_of
from .overruled import Overruled
from .rollout import break_off, rollout_of
from .selection import choose, forbidden, is_made_of, kept, last_good, load_version, name_of
from .standin import StandIn, stand_in
from .status import Refusal

logger = logging.getLogger("plugin_host")

#: Reasons that are not in the files themselves.
_ELSEWHERE = (NameTaken, LoadDelayed)


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
        self._overruled = Overruled()
        #: By stem, the digest of the last good version that did not load either.
        self._hopeless: dict[str, str] = {}
        self._proven: list[tuple[Candidate, Plugin]] = []

    def called(self, stem: str) -> set[str]:
        """Return a stem's names: what its newest files say, and that of what serves."""
        plugin = self.serving.get(stem)
        return {self.names[stem], *([plugin.name] if plugin else ())}

    def load_again(self, stem: str) -> None:
        """Load a stem's version again when it is taken next, changed or not."""
        self._afresh.add(stem)

    def take(self, candidate: Candidate, background: bool) -> None:
        """Load what is to serve for these files, or say why not and leave the good one there.

        :param background: requests are being served, and nobody waits for this.
        """
        stem = candidate.stem
        self.disabled.pop(stem, None)
        self._hopeless.pop(stem, None)
        try:
            name = self.names[stem] = name_of(candidate, self._settings)
            if name in self.control.disabled:
                self._disable(stem, name)
                return
            chosen = choose(candidate, name, self.control, self._depot)
            plugin = self._load(chosen, background)
            self._overruled.note(candidate, chosen, name, self.control, background)
            if chosen is candidate:
                # Only what came as a file becomes the newest version to go back to.
                self._proven.append((candidate, plugin))
        except Waiting as exc:
            self._exchange(exc)
        except PluginLoadError as exc:
            self.names.setdefault(stem, stem.lower())
            self.refuse(stem, exc, candidate.digest)
            self.hold(stem)
            if stem in self.refused and stem not in self.serving and self.starting:
                instead = stand_in(candidate, exc, self._settings, self._depot)
                self.standing_in |= {stem: instead} if instead is not None else {}

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

    def bad(self) -> set[str]:
        """Return the stems whose newest files do not serve for what they are."""
        return {s for s, r in self.refused.items() if not isinstance(r.error, _ELSEWHERE)}

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
            elif canary.until <= time.monotonic():
                del self.canaries[stem]
                self.serving[stem] = plugin = canary.plugin
                logger.info("%s: rolled out to all requests", which(plugin))

    def status(self) -> list[dict[str, Any]]:
        """Describe what is refused with nothing serving, and what is disabled; from any thread."""
        refused, disabled = dict(self.refused), dict(self.disabled)  # asked for by any thread
        failed, instead = sorted(refused.keys() - self.serving.keys()), self.standing_in
        bad = [status.failed(stem, refused[stem], instead.get(stem)) for stem in failed]
        return bad + [status.disabled(name, stem) for stem, name in sorted(disabled.items())]

    def _load(self, chosen: Candidate, background: bool) -> Plugin:
        """Load a version, to serve all or a share, unless it serves already; return it."""
        stem, old = chosen.stem, self.serving.get(chosen.stem)
        canary = self.canaries.get(stem)
        if stem not in self._afresh:
            there = (old, canary.plugin if canary else None)
            same = next((plugin for plugin in there if plugin and is_made_of(plugin, chosen)), None)
            if same is not None:
                signed_name = trust.check(chosen, self._settings)  # it may have gone or come
                trust.admit(chosen, same.name, signed_name, self._settings)
                self.refused.pop(stem, None)  # a bad version was replaced by the one that serves
                if canary is not None and same is old:
                    break_off(self.canaries.pop(stem).plugin, self._depot)
                return same
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
        how, took = came(old, self.canaries.get(stem)), (time.monotonic() - began) * 1000
        logger.info("%s: %s from %s in %.0f ms", which(plugin), how, plugin.path.name, took)

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
        plugin = self._loaded(chosen, background)
        holder = holder_of(plugin.name, self.serving)
        if holder is not None and holder != chosen.stem:
            if not gives_way(holder, chosen.stem, plugin.name):
                raise Waiting(chosen, plugin, self.serving[holder])
            other = self.serving.pop(holder)
            taken = NameTaken(other.path, other.name, plugin.path.name)
            self.refuse(holder, taken, other.digest)
        return plugin

    def _loaded(self, chosen: Candidate, background: bool) -> Plugin:
        return load_version(chosen, self._settings, self._depot, background, self._services)

    def _begin_rollout(self, chosen: Candidate, plugin: Plugin) -> bool:
        """Let a new version serve a share at first, if its manifest wants that; whether it does."""
        stem, rollout = chosen.stem, plugin.manifest.rollout
        begun = rollout_of(plugin, self.serving.get(stem), self.control, self._depot)
        if begun is None or rollout is None:
            return False
        state, until = begun
        if stem not in self.serving and not self._serve_beside(chosen, plugin, state.before):
            return False
        self.canaries[stem] = Canary(plugin, rollout, until)
        return True

    def _serve_beside(self, chosen: Candidate, plugin: Plugin, digest: str) -> bool:
        """Serve the version before one whose rollout is under way; whether it can be had."""
        why = "its rollout is under way"
        try:
            stable = kept(chosen.module_path, plugin.name, digest, self._depot, why)
            self.serving[chosen.stem] = self._loaded(stable, background=False)
        except PluginLoadError as exc:
            logger.warning("%s serves all requests at once: %s", which(plugin), exc)
            return False
        return True

    def hold(self, stem: str) -> None:
        """Follow what was decided of a plugin whose files cannot serve, or cannot be had.

        The last good version takes the place of nothing, of what must not serve, and of an older.
        """
        plugin, depot = self.serving.get(stem), self._depot
        if depot is None:
            return
        known = self.names.setdefault(stem, stem.lower())
        name = plugin.name if plugin else depot.versions.named(stem, known)
        canary = self.canaries.get(stem)
        if canary is not None and forbidden(canary.plugin.digest, name, self.control):
            del self.canaries[stem]
        if name in self.control.disabled:
            self._disable(stem, name)
        elif holder_of(name, self.serving) in (None, stem):
            self._fall_back(stem, name, depot)

    def _fall_back(self, stem: str, name: str, depot: Depot) -> None:
        """Serve the last good version in place of bad files, if that is not what serves."""
        plugin, refusal = self.serving.get(stem), self.refused.get(stem)
        bad = refusal.bad if refusal else None
        path = self._settings.dir / f"{stem}.wasm"
        last = last_good(path, name, plugin, bad, self.control, depot)
        canary = self.canaries.get(stem)
        tried = self._hopeless.get(stem), canary.plugin.digest if canary else None
        if last is None or last.digest in tried:
            return
        try:
            self._load(kept(path, name, last.digest, depot, "its file is bad"), False)
        except LoadDelayed:
            return  # the next look tries again
        except PluginLoadError as exc:
            self._hopeless[stem] = last.digest
            logger.error("plugin %s: its last good version does not load either: %s", name, exc)
            return
        if refusal is not None:
            self.refused[stem] = refusal  # still true: the newest file does not serve
        logger.warning(
            "plugin %s: the newest file cannot serve; %s (%.12s), the last good version, serves",
            name,
            last.version,
            last.digest,
        )

    def _disable(self, stem: str, name: str) -> None:
        self.disabled[stem] = self.names[stem] = name
        self.refused.pop(stem, None)
        self.standing_in.pop(stem, None)
        if self.serving.pop(stem, None) is not None:
            logger.info("plugin %s: unloaded, it is disabled", name)
