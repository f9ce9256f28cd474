"""Every error this package raises.

::

    PluginHostError
    ├── ConfigError              the app's configuration or a hookspec is wrong
    ├── PluginLoadError          a file cannot become a plugin; names the file and the remedy
    │   ├── PluginFileError      missing, unreadable, empty, too large, not a regular file, unsafe
    │   ├── SignatureError       not signed by a trusted key
    │   ├── PinError             not what the configuration pins its name to
    │   ├── ManifestError        the manifest, or the plugin's config, is wrong
    │   ├── ModuleError          not WebAssembly, a component, invalid, or too large to compile
    │   ├── ImportDenied         imports something unknown or not granted
    │   ├── ExportError          lacks an export, or one has the wrong type or ABI version
    │   ├── InitError            the trial instance failed: start, `_initialize`, `ph_init`, …
    │   ├── SelfTestFailed       it starts, but does not do what it says of itself that it does
    │   └── LoadDelayed          the machine has not what loading it takes; it is tried again
    ├── HookError                one call of one hook failed; names plugin and hook
    │   ├── GuestTrap            the guest trapped; carries trap code and guest backtrace
    │   ├── DeadlineExceeded     the guest missed its deadline
    │   ├── BadResult            the guest returned something malformed; carries offset and rule
    │   ├── GuestError           the guest declared an error, with a message
    │   ├── PoolExhausted        no instance became free in time
    │   ├── NoResources          the machine has no memory or thread for the call
    │   ├── CircuitOpen          the plugin has failed too often to be called now
    │   ├── NotLoaded            the plugin did not load when the process started
    │   └── PayloadError         a business hook's payload or answer does not fit its hookspec
    └── StateError               an operation on the store failed; carries a code for programs
        ├── StateUnavailable     the backend is away, locked, full, damaged or too slow
        ├── StateQuota           the write would exceed a quota of its namespace
        ├── StateTypeError       a number was to be added to what is no number
        └── StateValueError      an argument is not allowed, or a sum is out of range

A message says who, what, where, why and the remedy. Errors of other libraries never leave the floor
that uses them: they are translated, and chained with ``from``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

#: What to do where the operating system has too little.
MORE_RESOURCES = (
    "free memory, or raise the limits of memory, threads and open files: ulimit, systemd's"
    " MemoryMax, TasksMax and LimitNOFILE, a container's"
)


def printable(text: str) -> str:
    """Return a text that is safe for one line of a log, and for the terminal that shows it.

    What a guest or its file says may end lines, command terminals, or turn text around.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(char: str) -> str:
    """Write a character as Python does; a byte of a file's name that is not UTF-8, as that byte."""
    byte = ord(char) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else ascii(char)[1:-1]


class PluginHostError(Exception):
    """Base of every error of this package."""


class ConfigError(PluginHostError, ValueError):
    """The app's configuration, a hookspec, or the use of the extension is wrong."""


class PluginLoadError(PluginHostError):
    """A file cannot become a plugin.

    :param path: the file.
    :param reason: what is wrong with it, one sentence without a full stop.
    :param remedy: what to do about it, one sentence without a full stop.
    """

    def __init__(self, path: Path | str, reason: str, remedy: str = "") -> None:
        self.path = Path(path)
        self.reason = printable(reason)
        self.remedy = printable(remedy)
        whole = f"{printable(self.path.name)}: {self.reason}"
        super().__init__(whole + (f"; {self.remedy}" if remedy else ""))


class PluginFileError(PluginLoadError):
    """The file is missing, unreadable, empty, too large, not a regular file, or lies unsafely."""


class SignatureError(PluginLoadError):
    """The module and its manifest are not signed by a key that the configuration trusts."""


class PinError(PluginLoadError):
    """The configuration pins the plugin's name to other files than these."""


class ManifestError(PluginLoadError):
    """The manifest, or the config it carries, is wrong."""


class ModuleError(PluginLoadError):
    """The bytes are not a WebAssembly core module that this host can compile."""


class ImportDenied(PluginLoadError):
    """The module imports something that is unknown or was not granted."""


class ExportError(PluginLoadError):
    """The module lacks an export, or one has the wrong type or ABI version."""


class InitError(PluginLoadError):
    """The trial instance failed before any hook was called."""


class SelfTestFailed(PluginLoadError):
    """The plugin's own test failed: ``ph_selftest``, or a recorded call of its manifest."""


class LoadDelayed(PluginLoadError):
    """The machine has no memory, thread or file for it now; nothing is said of the plugin.

    A running site tries again by itself.
    """


class HookError(PluginHostError):
    """One call of one hook failed.

    Raised by the lower floors without names; `named` adds them where they are known.
    """

    plugin: str = ""
    hook: str = ""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)

    def named(self, plugin: str, hook: str) -> HookError:
        """Say whose call failed; returns self."""
        self.plugin, self.hook = plugin, hook
        return self

    def __str__(self) -> str:
        who = f"plugin {self.plugin!r}, hook {self.hook!r}: " if self.plugin else ""
        return who + self.message


def _where(frames: tuple[str, ...]) -> str:
    return f" (in {' < '.join(frames)})" if frames else ""


class GuestTrap(HookError):
    """The guest trapped.

    :param code: the trap code in lower case (``unreachable``, ``memory_out_of_bounds``, …), or
        ``host`` when a host function ended the call.
    :param frames: the guest's functions, innermost first.
    """

    def __init__(self, message: str, code: str = "", frames: tuple[str, ...] = ()) -> None:
        self.code = code
        self.frames = frames
        super().__init__(message + _where(frames))


class DeadlineExceeded(HookError):
    """The guest missed its deadline, in seconds.

    :param frames: the guest's functions at that moment, innermost first.
    """

    def __init__(self, timeout: float, frames: tuple[str, ...] = ()) -> None:
        self.timeout = timeout
        self.frames = frames
        super().__init__(f"missed its deadline of {timeout * 1000:g} ms{_where(frames)}")


class BadResult(HookError):
    """The guest returned something malformed.

    :param offset: byte offset in the result at which the rule is broken.
    :param rule: the rule, as a sentence.
    """

    def __init__(self, offset: int, rule: str) -> None:
        self.offset = offset
        self.rule = rule
        super().__init__(f"malformed result at byte {offset}: {rule}")


class GuestError(HookError):
    """The guest declared that it failed; `message` is the guest's own."""


class PoolExhausted(HookError):
    """No instance became free before the hook's deadline."""


class NoResources(HookError):
    """The machine has no memory or thread for the call; the plugin is not to blame.

    :param why: what the operating system refuses, and its words.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}; {MORE_RESOURCES}")


class CircuitOpen(HookError):
    """The plugin was not called: it has failed too often, and is tried again in some seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"not called: it failed too often, and is tried again in {seconds:.3g} s")


class NotLoaded(HookError):
    """The plugin did not load when the process started, and no good version of it is kept."""

    def __init__(self, why: str) -> None:
        super().__init__(f"not loaded: {why}")


class PayloadError(HookError):
    """A business hook's payload or answer does not fit its hookspec."""


#: Every code of a `StateError`, in a fixed order: new ones come last.
StateCode = Literal[
    "unavailable",
    "quota_keys",
    "quota_bytes",
    "key_size",
    "value_size",
    "not_a_number",
    "overflow",
    "key",
    "prefix",
    "ttl",
    "number",
    "limit",
    "cursor",
    "batch",
    "namespace",
]


class StateError(PluginHostError):
    """An operation on the store failed and changed nothing, except as `StateUnavailable` says.

    :param code: why, in one word that does not change.
    """

    def __init__(self, message: str, code: StateCode) -> None:
        self.code = code
        super().__init__(message)


class StateUnavailable(StateError):
    """The backend did not do it before the deadline.

    A write whose answer was lost may have happened all the same.

    :param backend: the backend's URL, without its password.
    :param cause: what is wrong with it, one sentence without a full stop.
    :param remedy: what to do about it, one sentence without a full stop.
    """

    def __init__(self, backend: str, cause: str, remedy: str) -> None:
        self.backend, self.cause, self.remedy = backend, cause, remedy
        super().__init__(f"state in {backend}: {cause}; {remedy}", "unavailable")


class StateQuota(StateError):
    """A key or value is too large, or its namespace has no room for it."""


class StateTypeError(StateError):
    """What is stored is not a number of the kind that was to be added."""


class StateValueError(StateError):
    """An argument of an operation is not allowed, or a sum is out of range."""
