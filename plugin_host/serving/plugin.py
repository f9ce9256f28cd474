"""A plugin: one verified version of a manifest and a module, and the pool of its instances."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from .. import osthread
from ..abi.guest import Guest, is_spent
from ..abi.native import EditsDecoder, ResponseEncoder
from ..abi.request_records import Encode
from ..errors import CircuitOpen, GuestError, HookError
from ..hostfunctions.services import Services
from ..hostfunctions.stage import LIVE
from ..hostfunctions.state_prefetch import request_encoder
from ..manifest import Manifest
from ..throttle import Throttle
from ..wasm.detour import processor_time
from ..wasm.pool import Pool
from .breaker import Breaker
from .counters import Counters, is_fault
from .policies import Policy

T = TypeVar("T")

ON_REQUEST, ON_RESPONSE = "on_request", "on_response"
#: The calls of a version, in each process, whose processor time is measured: its first.
MEASURED = 200
#: Log lines about failures of one plugin: per second, and at once.
LINES, LINES_AT_ONCE = 1.0, 20.0


class Plugin:
    """One version of a plugin, ready to serve. What it is never changes; its pool does.

    While its breaker is not closed its class is `Guarded`, whose calls may be refused: so a plugin
    that works pays nothing for the breaker, and has no reference to itself.

    :param digest: SHA-256 of module and manifest, hex.
    :param hooks: the names of its hooks.
    :param timeout: the deadline of its hooks, in seconds.
    :param make: makes a ready guest under the deadline ``start + timeout``; may raise HookError.
    :param trial: the guest on which loading was verified; serves the first call.
    :param size: how many guests may exist at once.
    :param max_result: most bytes a hook may return.
    :param init_timeout: the deadline of making a guest for which nobody waits, in seconds.
    :param services: what its guests' host functions use.
    :param policies: what happens when a hook fails, by hook.
    :param breaker: decides whether its guests are called.
    """

    def __init__(
        self,
        path: Path,
        digest: str,
        manifest: Manifest,
        abi: int,
        hooks: tuple[str, ...],
        timeout: float,
        make: Callable[[float, float], Guest],
        trial: Guest,
        size: int,
        max_result: int,
        init_timeout: float,
        services: Services,
        policies: Mapping[str, Policy],
        breaker: Breaker,
    ) -> None:
        self.path = path
        self.digest = digest
        self.manifest = manifest
        self.name: str = manifest.name
        self.version: str = manifest.version
        self.abi = abi
        self.hooks = hooks
        self.timeout = timeout
        self.policies = policies
        self.breaker = breaker
        #: Caps the log lines about failures.
        self.failure_lines = Throttle(LINES, LINES_AT_ONCE)
        self.loaded_at = time.time()
        self.counters = Counters()
        #: Called after a fault, while somebody wants to know.
        self.on_fault: Callable[[], None] = lambda: None
        self._guests = {trial}  # guarded by counters.lock
        made = _noting(make, self._guests, self.counters.lock)
        self._pool = Pool(made, size, init_timeout, services.log.flush)
        self._pool.add(trial)
        self._services, self._said = services, services.log.pending
        needs = manifest.request_needs, manifest.response_needs
        decoder = EditsDecoder(max_result)
        #: What goes into a record and comes out of a result, ready-made for the dispatcher.
        self.encode_request = request_encoder(manifest, services, LIVE, timeout)
        self.encode_response = ResponseEncoder(needs[1].headers, needs[1].context).encode
        self.decode_request, self.decode_response = decoder.request, decoder.response
        self.request_body, self.response_body = needs[0].body, needs[1].body

    def call(
        self, hook: str, data: bytes, timeout: float, decode: Callable[[bytes], T]
    ) -> T | None:
        """Call a hook with raw bytes.

        :param timeout: the deadline, in seconds, from now; waiting for an instance counts.
        :param decode: checks the result and turns it into a value; may raise HookError.
        :returns: what ``decode`` made of the result; None if the guest returned none.
        :raises HookError: the hook failed; it is counted, and the instance dropped if spent.
        """
        start = monotonic()
        pool, guest = self._pool, None
        try:
            try:
                guest = pool.idle.pop()
            except IndexError:
                guest = pool.acquire(start, timeout)
            result = guest.call(hook, data, start, timeout)
            value = None if result is None else decode(result)
        except BaseException as exc:
            self._failed(guest, exc, hook, start)
            raise
        guest.calls += 1
        guest.seconds = used = guest.seconds + monotonic() - start
        if used >= guest.due and guest.is_worn():
            self._replace(guest)
        else:
            pool.idle.append(guest)
            if pool.waiting:
                pool.notify()
        if self._said:
            self._services.flush(succeeded=True)
        return value

    def totals(self) -> dict[str, Any]:
        """Return calls, errors, seconds spent, the breaker and so on, JSON-able."""
        counters = self.counters
        with counters.lock:
            return {
                "calls": self._calls(),
                "errors": counters.errors,
                "faults": counters.faults,
                "seconds": counters.seconds + sum(guest.seconds for guest in self._guests),
                "measured": counters.measured,
                "cpu_seconds": counters.cpu_seconds,
                "instances": len(self._guests),
                "last_error": counters.last_error,
                "last_error_at": counters.last_error_at,
                "breaker": self.breaker.status(),
                "state_errors": self._services.state_failures.counts(),
                "metrics": self._services.metrics.status(),
            }

    def _replace(self, guest: Guest) -> None:
        """Let a worn guest go, and make another one if none is idle."""
        counters = self.counters
        with counters.lock:
            self._guests.discard(guest)
            counters.calls += guest.calls
            counters.seconds += guest.seconds
        self._pool.replace(self.timeout)

    def _calls(self) -> int:
        """Return how many calls it has had; the lock of the counters is held."""
        return self.counters.calls + sum(guest.calls for guest in self._guests)

    def _failed(self, guest: Guest | None, exc: BaseException, hook: str, start: float) -> None:
        counters = self.counters
        if isinstance(exc, HookError):
            exc.named(self.name, hook)
        usable = guest is not None and isinstance(exc, HookError) and not is_spent(exc)
        with counters.lock:
            if guest is not None and usable:
                guest.calls += 1
            else:
                counters.calls += 1
            counters.errors += 1
            counters.faults += is_fault(exc)
            counters.seconds += monotonic() - start
            counters.last_error, counters.last_error_at = str(exc), time.time()
            if guest is not None and not usable:
                self._guests.discard(guest)
                counters.calls += guest.calls
                counters.seconds += guest.seconds
            calls = self._calls()
        if guest is not None and usable and guest.is_worn():
            self._replace(guest)
        elif guest is not None and usable:
            self._pool.release(guest)
        elif guest is not None:
            self._pool.discard()
        if self._said:
            self._services.flush(succeeded=False)
        if not is_fault(exc):
            return
        if self.breaker.failed(calls, _why(exc)):
            self.__class__ = Guarded
        self.on_fault()


class Fresh(Plugin):
    """A plugin of which the processor time of its first calls is measured, to compare versions.

    Not the time that passes: that depends on what else the machine does, and a version must not
    return to the one before it because more people came (docs/rationale.md, "Why is processor time
    compared?").
    """

    def call(
        self, hook: str, data: bytes, timeout: float, decode: Callable[[bytes], T]
    ) -> T | None:
        """Call a hook, and measure it."""
        began = processor_time()
        try:
            return Plugin.call(self, hook, data, timeout, decode)
        finally:
            took, counters = processor_time() - began, self.counters
            with counters.lock:
                counters.measured += 1
                counters.cpu_seconds += took
            if counters.measured >= MEASURED and self.__class__ is Fresh:
                self.__class__ = Plugin  # type: ignore[assignment]


class Guarded(Plugin):
    """A plugin whose breaker is not closed."""

    @property
    def encode_request(self) -> Encode:  # type: ignore[override]  # goes before the instance's own
        """What encodes a request, and reads keys for it; not for a call that would be refused.

        :raises CircuitOpen: it would.
        """
        if self.breaker.refuses():
            raise _refusal(self, ON_REQUEST)
        encode: Encode = self.__dict__["encode_request"]
        return encode

    def call(
        self, hook: str, data: bytes, timeout: float, decode: Callable[[bytes], T]
    ) -> T | None:
        """Call a hook if the breaker admits it; what comes of it decides what happens next.

        :raises CircuitOpen: it does not.
        """
        breaker = self.breaker
        if breaker.is_closed:  # meanwhile
            return Plugin.call(self, hook, data, timeout, decode)
        if not breaker.admits():
            raise _refusal(self, hook)
        try:
            value = Plugin.call(self, hook, data, timeout, decode)
        except GuestError:
            _close(self)
            raise
        except BaseException as exc:
            if is_fault(exc):
                breaker.failed_again(_why(exc))
            else:
                breaker.undecided()
            raise
        _close(self)
        return value


# No methods of `Guarded`: another thread may have closed the breaker, and with it the class.


def _close(plugin: Plugin) -> None:
    plugin.__class__ = Plugin
    plugin.breaker.proved()


def _refusal(plugin: Plugin, hook: str) -> HookError:
    """Return what a refused call raises."""
    plugin.on_fault()
    return CircuitOpen(plugin.breaker.seconds_left()).named(plugin.name, hook)


def _why(exc: HookError) -> str:
    return f"hook {exc.hook}: {exc.message}"


def _noting(
    make: Callable[[float, float], Guest], guests: set[Guest], lock: osthread.Lock
) -> Callable[[float, float], Guest]:
    """Return ``make``, whose guests are noted.

    A method of the plugin would make a cycle of it and its pool: a replaced version would keep its
    code mapped, and files open, until the garbage collector comes by.
    """

    def made(start: float, timeout: float) -> Guest:
        guest = make(start, timeout)
        with lock:
            guests.add(guest)
        return guest

    return made
