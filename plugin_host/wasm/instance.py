"""What an instance is, whichever way it is called (`fast` or `public`)."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

import wasmtime

from ..errors import GuestTrap
from .deadline import GRACE, Watchdog
from .detour import Detour, asking, is_needed
from .engine import Engine


@dataclass(frozen=True)
class Limits:
    """Caps of one instance.

    :param memory: bytes of linear memory.
    :param table_elements: elements of its table.
    """

    memory: int = 64 << 20
    table_elements: int = 65_536

    def apply(self, store: wasmtime.Store) -> None:
        """Set the caps on a new store, before anything is instantiated in it.

        wasmtime's memory cap is per memory, so their number is capped too.
        """
        store.set_limits(
            memory_size=self.memory,
            table_elements=self.table_elements,
            instances=1,
            tables=4,
            memories=1,
        )


@dataclass(frozen=True)
class HostFunction:
    """A function that the host offers to guests.

    :param params: and ``results``: value types, ``"i32"`` or ``"i64"``; at most one result.
    :param function: called with the `Instance` and the arguments as unsigned integers; returns
        the result or None. Any exception it raises ends the guest's call.
    :param switches: whether it runs code of the app, which may switch greenlets.
    """

    module: str
    name: str
    params: tuple[str, ...]
    results: tuple[str, ...]
    function: Callable[..., int | None]
    switches: bool = False

    def type(self) -> wasmtime.FuncType:
        """Its WebAssembly type."""
        kinds = {"i32": wasmtime.ValType.i32, "i64": wasmtime.ValType.i64}
        return wasmtime.FuncType(
            [kinds[kind]() for kind in self.params], [kinds[kind]() for kind in self.results]
        )

    def masks(self) -> tuple[int, ...]:
        """For each parameter, the bits that are its value: guests' integers are unsigned."""
        return tuple(MASKS[kind] for kind in self.params)

    def safely(self) -> Callable[..., int | None]:
        """What is to be called from within a guest: ``function``, where greenlets may switch."""
        if not self.switches:
            return self.function
        name, function = self.name, self.function

        def call(instance: Instance, *arguments: int) -> int | None:
            if instance.detour is not None:
                return asking(instance.detour, function, instance, *arguments)
            if is_needed():
                raise GuestTrap(f"{name} was called while the instance was being made", "host")
            return function(instance, *arguments)

        return call


MASKS = {"i32": 0xFFFF_FFFF, "i64": 0xFFFF_FFFF_FFFF_FFFF}


class Linked(abc.ABC):
    """A compiled module with its imports satisfied: makes instances."""

    def __init__(self, engine: Engine, functions: Sequence[HostFunction] = ()) -> None:
        self.engine = engine
        self.switches = any(function.switches for function in functions)

    @abc.abstractmethod
    def instance(self, limits: Limits, start: float, timeout: float) -> Instance:
        """Make an instance; the start section runs under the deadline ``start + timeout``.

        :raises HookError: the start section trapped or missed the deadline, or the module needs
            more than the limits allow (a GuestTrap with code ``instantiate``).
        """


def prelinked(
    linker: wasmtime.Linker, module: wasmtime.Module
) -> Callable[[wasmtime.Store], wasmtime.Instance]:
    """What instantiates ``module``: resolved once where this wasmtime release can."""
    if hasattr(linker, "instantiate_pre"):
        return linker.instantiate_pre(module).instantiate
    return lambda store: linker.instantiate(store, module)


#: Fuel that no call uses up.
UNLIMITED: Final = (1 << 64) - 1


class Call(Protocol):
    """What `Instance.function` returns."""

    def __call__(
        self, argument: int, start: float, timeout: float, data: bytes = b"", pointer: int = 0, /
    ) -> int: ...


class Instance(abc.ABC):
    """A live instance in a store of its own. One thread at a time; never used after a trap."""

    __slots__ = (
        "__weakref__",
        "deadline",
        "detour",
        "entered_at",
        "expired",
        "fuel",
        "metered",
        "pending",
        "running",
        "stage",
        "switches",
        "watchdog",
        "written",
    )

    def __init__(self, linked: Linked) -> None:
        engine = linked.engine
        self.watchdog: Watchdog = engine.watchdog
        #: Whether any of its host functions may switch greenlets, and the call under way for which
        #: that matters.
        self.switches = linked.switches
        self.detour: Detour[int] | None = None
        #: Absolute time by which the current or latest call must end.
        self.deadline = 0.0
        #: The watchdog's latest tick when the guest was entered, or was last told of one.
        self.entered_at = 0
        #: When the call under way was entered (`time.monotonic`, or a little later); 0 without one.
        self.running = 0.0
        #: Set by the epoch callback: the call ended because of its deadline.
        self.expired = False
        #: What a host function raised during the current call.
        self.pending: BaseException | None = None
        #: Where its host functions take effect (`hostfunctions.stage`); None while it is made.
        self.stage: object = None
        #: Whether its engine counts fuel; if so, what each call may use.
        self.metered = engine.metered
        self.fuel = UNLIMITED
        #: Set by `write`, which another thread may have called than the one that called the guest.
        self.written = False
        engine.watchdog.watch(self)

    @abc.abstractmethod
    def function(self, name: str) -> Call:
        """An exported function as ``call(argument, start, timeout, data, pointer) -> result``.

        Writes ``data``, if there is any, to ``pointer`` (that it fits has been checked before:
        memory never shrinks) and calls the function. The argument is ignored by functions without
        parameters. The deadline is ``start`` (of `time.monotonic`) plus ``timeout``, in seconds.
        The result is a signed 64-bit integer, of which only the low 32 bits mean something if the
        function returns an ``i32``, and none if it returns nothing. The callable must not outlive
        the instance.

        :raises KeyError: no function of that name is exported.
        :raises HookError: (the callable) the guest trapped or missed the deadline.
        """

    @abc.abstractmethod
    def memory_size(self) -> int:
        """The current size of linear memory in bytes; 0 without an exported memory."""

    @abc.abstractmethod
    def read(self, pointer: int, length: int) -> bytes:
        """Copy bytes out of linear memory.

        :raises GuestTrap: they do not lie wholly inside it.
        """

    @abc.abstractmethod
    def write(self, pointer: int, data: bytes) -> None:
        """Copy bytes into linear memory.

        :raises GuestTrap: they do not fit wholly inside it.
        """

    @abc.abstractmethod
    def view(self) -> memoryview:
        """Linear memory in place, as large as it is now; valid as long as the instance lives."""

    @abc.abstractmethod
    def refuel(self, fuel: int) -> None:
        """Set what an instance that is ``metered`` may use from now on."""

    @abc.abstractmethod
    def fuel_left(self) -> int:
        """What is left of what `refuel` gave."""

    def limited(self, call: Call) -> Call:
        """The same call, with the fuel that the instance has for each."""
        if not self.metered:
            return call

        def invoke(
            argument: int, start: float, timeout: float, data: bytes = b"", pointer: int = 0, /
        ) -> int:
            self.refuel(self.fuel)
            return call(argument, start, timeout, data, pointer)

        return invoke

    def apart(self, call: Call) -> Call:
        """The same call, with no guest on the stack of a greenlet that may be switched."""
        if not self.switches:
            return call

        def invoke(
            argument: int, start: float, timeout: float, data: bytes = b"", pointer: int = 0, /
        ) -> int:
            if not is_needed():
                return call(argument, start, timeout, data, pointer)
            self.detour = detour = Detour(lambda: call(argument, start, timeout, data, pointer))
            try:
                return detour.run()
            finally:
                self.detour = None
                self.written = True  # in another thread, whose page faults are not this one's

        return invoke

    @contextmanager
    def under(self, start: float, timeout: float) -> Iterator[None]:
        """Run a block that enters the guest under a deadline."""
        now = monotonic()
        self.deadline, self.running = max(start + timeout, now + GRACE), now
        try:
            # Not before: a watchdog that sees no call may go to rest.
            self.watchdog.look_by(self.deadline)
            self.entered_at = self.watchdog.ticks
            yield
        finally:
            self.running = 0.0

    def outside(self, pointer: int, length: int) -> GuestTrap:
        """The error for bytes outside linear memory."""
        return GuestTrap(
            f"{length} bytes at {pointer} are outside the guest's memory of "
            f"{self.memory_size()} bytes",
            "memory_out_of_bounds",
        )
