"""Rollouts: a new version that serves a share of the requests at first."""

from __future__ import annotations

import logging
import time

from ..errors import PluginHostError
from ..machine.control import Control, RolloutState, begin_rollout, end_rollout
from ..machine.depot import Depot
from ..machine.moment import Moment, elapsed
from ..serving.plugin import Plugin

logger = logging.getLogger("plugin_host")


def rollout_of(
    plugin: Plugin, old: Plugin | None, control: Control, depot: Depot | None
) -> tuple[RolloutState, float] | None:
    """Return the rollout that a version takes part in, and when it ends, by `time.monotonic`.

    Begins it, or goes on with one that was under way when this process started. None: the version
    serves all at once.

    :param old: what serves where the version is to.
    """
    rollout = plugin.manifest.rollout
    if rollout is None or depot is None or plugin.name in control.pins:
        return None
    if old is not None and old.name != plugin.name:
        return None  # that is another plugin
    if old is not None and old.digest != plugin.digest:
        state = RolloutState(plugin.digest, old.digest, time.time(), Moment.now())
        try:
            control = depot.control.update(
                lambda control: begin_rollout(control, plugin.name, state), "rollout"
            )
        except PluginHostError as exc:
            logger.error("plugin %s: no rollout by share: %s", plugin.name, exc)
            return None
    known = control.rollouts.get(plugin.name)
    if known is None or known.digest != plugin.digest:
        return None
    left = rollout.seconds - elapsed(known.since, known.moment)
    return (known, time.monotonic() + left) if left > 0 else None


def break_off(plugin: Plugin, depot: Depot | None) -> None:
    """End a version's rollout since the one before it is to serve all; it may come back later."""
    if depot is None:
        return
    try:
        depot.control.update(
            lambda control: end_rollout(control, plugin.name, plugin.digest), "rollout"
        )
    except PluginHostError as exc:
        logger.error("plugin %s: its rollout is not broken off: %s", plugin.name, exc)
