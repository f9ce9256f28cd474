"""A live guest of the native ABI: what docs/abi.md sections 1 to 3 say, from the host's side."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import BadResult, GuestError, GuestTrap, HookError, printable
from ..wasm.instance import UNLIMITED, Call, Instance
from ..wasm.pages import seen
from ..wasm.snapshot import Snapshot
from .native import MAX_ERROR_MESSAGE, VERSION, unpack_result

#: ABI versions that this host speaks.
VERSIONS = (VERSION,)
#: The exchange buffer that is asked for first, in bytes: most requests without a body fit.
FIRST_BUFFER = 4096

_U32 = 0xFFFF_FFFF
_INIT = "ph_init"
#: The optional export that `Guest.selftest` calls.
SELFTEST = "ph_selftest"


class UnknownVersion(HookError):
    """The guest was built for an ABI version that this host does not speak, or now says so."""

    def __init__(self, version: int) -> None:
        self.version = version
        super().__init__(
            f"was built for ABI version {version}, this host speaks {', '.join(map(str, VERSIONS))}"
        )


@dataclass(frozen=True, slots=True)
class Wear:
    """When a guest is not kept.

    :param calls: after so many calls; 0 is never.
    :param memory: with more linear memory than so many bytes, unless it began with more.
    """

    calls: int = 0
    memory: int = 1 << 32


#: Seconds of use after which a guest is looked at: it has not touched much memory in less.
LOOK_AFTER = 0.001


class Guest:
    """An instance that is ready for hooks, and its exchange buffer.

    Construction runs `_initialize`, the version check, `ph_alloc` and `ph_init`.

    :param instance: fresh from its module.
    :param hooks: names of exported hooks.
    :param config: the plugin's config, JSON in UTF-8.
    :param max_result: most bytes a hook may return.
    :param wear: when the guest is not to be kept.
    :param fuel: what each call of a hook may use, if the instance is metered.
    :param start: and ``timeout``: the deadline of the construction, in seconds.
    :raises HookError: an export trapped, was late, returned something malformed or an error.
    :raises UnknownVersion: as it says.
    :raises KeyError: a function that must be there is not exported.
    """

    __slots__ = (
        "_alloc",
        "_capacity",
        "_hooks",
        "_max_result",
        "_pointer",
        "_wear",
        "calls",
        "due",
        "instance",
        "seconds",
        "version",
    )

    def __init__(
        self,
        instance: Instance,
        hooks: tuple[str, ...],
        config: bytes,
        max_result: int,
        start: float,
        timeout: float,
        wear: Wear = Wear(),
        fuel: int = UNLIMITED,
    ) -> None:
        self.instance = instance
        self._max_result = max_result
        self._capacity = self._pointer = 0
        #: Calls that left it usable, and the seconds that those without an error took, waiting
        #: included; the host counts here because a guest is used by one thread at a time.
        self.calls, self.seconds = 0, 0.0
        #: How many `seconds` there must be before `is_worn` is to be asked.
        self.due = 0.0
        initialize = _optional(instance, "_initialize")
        if initialize:
            initialize(0, start, timeout)
        #: The ABI version that the guest was built for.
        self.version = instance.function("ph_abi_version")(0, start, timeout) & _U32
        if self.version not in VERSIONS:
            raise UnknownVersion(self.version)
        self._alloc = instance.function("ph_alloc")
        self._hooks = {name: instance.function(name) for name in hooks}
        self._reserve(max(FIRST_BUFFER, len(config)), start, timeout)
        init = _optional(instance, _INIT)
        if init:
            self._hooks[_INIT] = init
            if Guest.call(self, _INIT, config, start, timeout) is not None:
                raise BadResult(0, "ph_init returns 0 or an error")
        self._wear = Wear(wear.calls, max(wear.memory, instance.memory_size()))
        instance.fuel = fuel

    def call(self, hook: str, data: bytes, start: float, timeout: float) -> bytes | None:
        """Call a hook with ``data`` in the exchange buffer.

        :param start: and ``timeout``: the deadline is their sum, in seconds.
        :returns: the result's bytes; None if the guest returned 0.
        :raises GuestError: the guest declared an error; the guest stays usable.
        :raises HookError: anything else; the guest is spent.
        """
        size = len(data)
        if size > self._capacity:
            self._reserve(size, start, timeout)
        packed = self._hooks[hook](size, start, timeout, data, self._pointer)
        if not packed:
            return None
        pointer, length, is_error = unpack_result(packed)
        if is_error:
            message = self._take(pointer, min(length, MAX_ERROR_MESSAGE))
            raise GuestError(printable(message.decode("utf-8", "replace")))
        if length > self._max_result:
            raise BadResult(
                0, f"the result's length is {length}, at most {self._max_result} bytes are allowed"
            )
        return self._take(pointer, length)

    def is_worn(self) -> bool:
        """Whether the guest, which has just been called, is not to be kept."""
        wear = self._wear
        self.due = 0.0 if wear.calls else self.seconds + LOOK_AFTER
        return 0 < wear.calls <= self.calls or self.instance.memory_size() > wear.memory

    def selftest(self, start: float, timeout: float) -> None:
        """Call `ph_selftest`; whatever comes of it, the guest must not be used again.

        :param start: and ``timeout``: the deadline is their sum, in seconds.
        :raises HookError: the test failed, or was not carried out.
        :raises KeyError: the guest does not export it.
        """
        self._hooks[SELFTEST] = self.instance.function(SELFTEST)
        if self.call(SELFTEST, b"", start, timeout) is not None:
            raise BadResult(0, f"{SELFTEST} returns 0 or an error")

    def _take(self, pointer: int, length: int) -> bytes:
        """Copy a result out of the guest's memory."""
        try:
            return self.instance.read(pointer, length)
        except GuestTrap as exc:
            raise BadResult(0, f"the result is outside the memory: {exc.message}") from exc

    def _reserve(self, size: int, start: float, timeout: float) -> None:
        """Have the guest make its exchange buffer at least ``size`` bytes long."""
        pointer = self._alloc(size, start, timeout) & _U32
        memory = self.instance.memory_size()
        if not pointer or pointer % 8:
            rule = f"ph_alloc({size}) returned {pointer}: a pointer is a multiple of 8 and not 0"
            raise BadResult(0, rule)
        if pointer + size > memory:
            raise BadResult(
                0,
                f"ph_alloc({size}) returned {pointer}: the buffer ends outside the memory of"
                f" {memory} bytes",
            )
        self._pointer, self._capacity = pointer, size


class RestoredGuest(Guest):
    """A guest of which no call sees what another one left; of a module made by `restorable`.

    After each call everything is as it was after the making, the exchange buffer too.
    """

    __slots__ = ("_buffer", "_grown", "_restore")

    def __init__(
        self,
        instance: Instance,
        hooks: tuple[str, ...],
        config: bytes,
        max_result: int,
        start: float,
        timeout: float,
        wear: Wear = Wear(),
        fuel: int = UNLIMITED,
    ) -> None:
        super().__init__(instance, hooks, config, max_result, start, timeout, wear)
        self._restore = Snapshot(instance, start, timeout).restore
        self._buffer, self._grown = (self._pointer, self._capacity), False
        instance.fuel = fuel

    def call(self, hook: str, data: bytes, start: float, timeout: float) -> bytes | None:
        mark = seen.faults
        try:
            return Guest.call(self, hook, data, start, timeout)
        finally:  # a guest that is spent is not used again, and put back for nothing
            self._pointer, self._capacity = self._buffer
            if not self._restore(mark):
                self._grown, self.due = True, 0.0  # a guest can ask how large its memory is

    def is_worn(self) -> bool:
        return super().is_worn() or self._grown


def _optional(instance: Instance, name: str) -> Call | None:
    try:
        return instance.function(name)
    except KeyError:
        return None


def is_spent(error: HookError) -> bool:
    """Whether the guest whose call raised ``error`` must not be used again."""
    return not isinstance(error, GuestError)
