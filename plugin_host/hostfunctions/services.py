"""What host functions are made of: the services behind them, for one plugin, and their groups.

A capability is a group of host functions. To add one: a file with a provider (see `Provider`), its
name in ``config/grants.py``, and, if it needs something of the floors above, a field here.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from ..config import Settings
from ..config.outbound import Outbound
from ..errors import DeadlineExceeded
from ..state import Quota, Store, memory_store
from ..wasm.instance import HostFunction, Instance
from .app import App, Events
from .guest_log import GuestLog
from .metrics import Metrics
from .state_errors import Failures


@dataclass(frozen=True)
class Services:
    """What the host functions of one plugin may use; immutable, shared by all its instances.

    The floors above give what they have by passing a factory to ``loader.load``: what of the host
    belongs to one call (its request, say) is a callback that a host function asks when it runs, so
    that calls which never ask pay nothing.

    :param plugin: the plugin's name.
    :param log: where its messages go.
    :param outbound: where it may send requests.
    :param max_body: the most bytes of such a request, and of a response's body.
    :param store: where the app's plugins keep state; one of its own where there is no app, or none
        is to be touched.
    :param quota: of each namespace.
    :param state_failures: counts what goes wrong there.
    :param app: what the app itself does for its plugins.
    :param events: what was emitted and is not delivered yet.
    :param metrics: the plugin's own.
    :param random: gives that many random bytes.
    :param granted: the capabilities that the plugin asks for and is granted; `select` fills it in.
    """

    plugin: str
    log: GuestLog
    outbound: Outbound = field(default_factory=Outbound)
    max_body: int = 0
    store: Store = field(default_factory=memory_store)
    quota: Quota = field(default_factory=Quota)
    state_failures: Failures = field(default_factory=Failures)
    app: App = field(default_factory=App)
    events: Events = field(default_factory=Events)
    metrics: Metrics = field(default_factory=Metrics)
    random: Callable[[int], bytes] = os.urandom
    granted: frozenset[str] = frozenset()

    @classmethod
    def of(cls, plugin: str, settings: Settings) -> Services:
        """Return what the configuration alone gives a plugin."""
        log = GuestLog(logging.getLogger(f"plugin_host.plugin.{plugin}"), settings.log_rate)
        quota = Quota(settings.state_max_keys, settings.state_max_bytes, settings.state_max_value)
        return cls(
            plugin,
            log,
            settings.outbound(plugin),
            settings.max_body,
            quota=quota,
            random=_random(plugin, settings.random_seed),
        )

    def flush(self, succeeded: bool) -> None:
        """Do what had to wait until this thread's guest has returned or trapped.

        :param succeeded: whether anything of its call is to take effect.
        """
        events = self.events.take()
        self.log.flush()
        if succeeded and events:
            self.app.hear(self.plugin, events)


class Group(NamedTuple):
    """Host functions that are granted together.

    :param capability: its name; empty for what needs no grant.
    :param extra: the extra of this package that has to be installed for it; empty if none has.
    """

    capability: str
    functions: tuple[HostFunction, ...]
    extra: str = ""


#: Gives groups, the same whatever the services are; several providers may add to one capability.
Provider = Callable[[Services], Iterator[Group]]


def time_left(instance: Instance) -> float:
    """Return the seconds until the current call's deadline, for host functions that wait or repeat.

    :raises DeadlineExceeded: none are left.
    """
    left = instance.deadline - monotonic()
    if left <= 0:
        raise late()
    return left


def late() -> DeadlineExceeded:
    """Return what a host function raises to end a call that misses its deadline."""
    return DeadlineExceeded(0.0)  # floor 1 knows the call's whole time, and says that


def _random(plugin: str, seed: int | None) -> Callable[[int], bytes]:
    """Return the source of random bytes: the system's, or for tests one of the plugin's own."""
    return os.urandom if seed is None else random.Random(f"{seed} {plugin}").randbytes  # noqa: S311 - so that tests can repeat them
