"""The app's configuration: every ``PLUGIN_HOST_*`` key, read once into one frozen object.

`KEYS` is the single list of keys: the reader, its error messages and the documentation use it.
"""

from __future__ import annotations

import difflib
import math
import os
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal

from .errors import ConfigError

PREFIX: Final = "PLUGIN_HOST_"
KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

#: What a plugin can be granted; each name stands for a group of host functions.
CAPABILITIES: Final = ("log", "clock", "random")

Grants = tuple[tuple[str, frozenset[str]], ...]

_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80
_repr.maxdict = _repr.maxlist = 8


def show(value: object) -> str:
    """Return a short ``repr`` of a wrong value, for a message."""
    try:
        return _repr.repr(value)
    except ValueError:  # an integer of more digits than Python turns into text
        return f"<{type(value).__name__}>"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?``, or an empty string when no known word is close."""
    by_folded = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(word.lower(), by_folded, n=1)
    return f"did you mean {by_folded[close[0]]!r}?" if close else ""


class Rejected(Exception):
    """A value is not allowed; the text, if any, says more than the key's `allowed` does."""


@dataclass(frozen=True, slots=True)
class Key:
    """One configuration key.

    :param suffix: the key without ``PLUGIN_HOST_``.
    :param default: what an absent key means.
    :param allowed: the values that are allowed, as a phrase.
    :param description: what the key does, one line.
    :param parse: returns the value in its final type, or raises `Rejected`.
    """

    suffix: str
    default: Any
    allowed: str
    description: str
    parse: Callable[[Any], Any]

    @property
    def name(self) -> str:
        """The key in ``app.config``."""
        return PREFIX + self.suffix

    @property
    def field(self) -> str:
        """The attribute of `Settings`."""
        return self.suffix.lower()

    def read(self, config: Mapping[str, Any]) -> Any:
        """Return the key's value in its final type.

        :raises ConfigError: naming key, value and what is allowed.
        """
        value = config.get(self.name, self.default)
        try:
            return self.parse(value)
        except Rejected as why:
            more = f" ({why})" if str(why) else ""
            raise ConfigError(
                f"{self.name} is {show(value)}{more}; allowed: {self.allowed}"
            ) from None


def _parse_bool(value: Any) -> bool:
    # The environment gives text, and Flask's from_prefixed_env turns some of it into 0 and 1.
    word = str(value).strip().lower() if isinstance(value, bool | int | str) else ""
    if word not in _TRUE | _FALSE:
        raise Rejected
    return word in _TRUE


def _parse_number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Rejected
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise Rejected from None
    if not math.isfinite(number):
        raise Rejected
    return number


def _parse_integer(value: Any) -> int:
    number = _parse_number(value)
    if not number.is_integer():
        raise Rejected
    return int(number)


def _parse_folder(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise Rejected("not a path")
    text = os.fspath(value)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise Rejected("not a path")
    return Path(text)


def _parse_data_dir(value: Any) -> Path | None:
    return None if value is None or value == "" else _parse_folder(value)


def _parse_capabilities(value: Any) -> frozenset[str]:
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    if not isinstance(value, list | tuple | set | frozenset):
        raise Rejected(f"{show(value)} is not a list")
    for name in value:
        if name not in CAPABILITIES:
            hint = did_you_mean(name, CAPABILITIES) if isinstance(name, str) else ""
            raise Rejected(f"unknown capability {show(name)}" + (f", {hint}" if hint else ""))
    return frozenset(value)


def _parse_grants(value: Any) -> Grants:
    if not isinstance(value, Mapping):
        value = {"*": value}
    for pattern in value:
        if not isinstance(pattern, str) or not pattern:
            raise Rejected(f"{show(pattern)} is not a pattern of plugin names")
    return tuple((pattern.lower(), _parse_capabilities(names)) for pattern, names in value.items())


def _flag(suffix: str, default: bool, description: str) -> Key:
    return Key(suffix, default, "true or false", description, _parse_bool)


def _choice(suffix: str, choices: tuple[str, ...], description: str) -> Key:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or value.lower() not in choices:
            raise Rejected(did_you_mean(value, choices) if isinstance(value, str) else "")
        return value.lower()

    return Key(suffix, choices[0], " or ".join(map(repr, choices)), description, parse)


def _seconds(suffix: str, default: float, low: float, high: float, description: str) -> Key:
    def parse(value: Any) -> float:
        number = _parse_number(value)
        if not low <= number <= high:
            raise Rejected
        return number

    return Key(suffix, default, f"seconds from {low:g} to {high:g}", description, parse)


def _count(suffix: str, default: int, low: int, high: int, unit: str, description: str) -> Key:
    def parse(value: Any) -> int:
        number = _parse_integer(value)
        if not low <= number <= high:
            raise Rejected
        return number

    return Key(suffix, default, f"{unit} from {low} to {high}", description, parse)


KEYS: Final = (
    Key(
        "DIR",
        "plugins",
        "a path, absolute or relative to the app's root_path",
        "The folder with the plugins.",
        _parse_folder,
    ),
    _flag("CREATE_DIR", False, "Make a missing plugins folder instead of refusing to start."),
    _flag("ENABLED", True, "Load and run plugins at all."),
    _flag("RELOAD", True, "Notice changed files and reload their plugins while serving."),
    _choice("WATCHER", ("auto", "watchdog", "poll"), "How changed files are noticed."),
    _seconds("POLL_INTERVAL", 1.0, 0.05, 3600, "Time between two looks at the folder."),
    _seconds("TIMEOUT", 0.05, 0.001, 60, "Default and upper bound of every hook's deadline."),
    _seconds("INIT_TIMEOUT", 2.0, 0.001, 60, "Deadline for a new instance to become ready."),
    _count("MAX_INSTANCES", 32, 1, 1024, "a number", "Live instances per plugin version."),
    _count(
        "MAX_MEMORY", 64 * MIB, 64 * KIB, 4 * GIB - 64 * KIB, "bytes", "Linear memory per instance."
    ),
    _count("MAX_MODULE_SIZE", 32 * MIB, 8, GIB, "bytes", "Size of a plugin's file."),
    _count("MAX_BODY", MIB, 0, GIB, "bytes", "Size of a body that is passed to plugins."),
    _count("MAX_RESULT", 4 * MIB, 4 * KIB, GIB, "bytes", "Size of what a hook may return."),
    Key(
        "DATA_DIR",
        None,
        "a path, absolute or relative to the app's root_path, or '' for none",
        "What the workers of a machine share; default: plugin_host in the app's instance folder.",
        _parse_data_dir,
    ),
    _count("MAX_CACHE", 256 * MIB, 0, 1 << 40, "bytes", "Size of the cache of compiled modules."),
    _count("KEEP_VERSIONS", 5, 1, 100, "a number", "Good versions kept of each plugin."),
    _count(
        "PROBATION_FAILURES",
        5,
        0,
        1_000_000,
        "a number",
        "Failures on probation after which the version before returns; 0 is off.",
    ),
    _count("PROBATION_CALLS", 200, 1, 10**9, "a number", "Calls that end a version's probation."),
    _seconds("PROBATION_SECONDS", 30.0, 0.05, 86_400, "Time that ends a version's probation."),
    _choice("SWITCH", ("each", "together"), "When workers swap: each once ready, or all at once."),
    _seconds("SWITCH_TIMEOUT", 2.0, 0.05, 60, "Time for which workers wait to swap together."),
    _flag("FAST_CALL", True, "Call guests without the overhead of wasmtime's public API."),
    Key(
        "GRANTS",
        CAPABILITIES,
        f"a list out of {', '.join(CAPABILITIES)}, or a mapping of plugin name patterns to lists",
        "The capabilities that plugins may use.",
        _parse_grants,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration of one app; times in seconds, sizes in bytes."""

    dir: Path
    create_dir: bool
    enabled: bool
    reload: bool
    watcher: Literal["auto", "watchdog", "poll"]
    poll_interval: float
    timeout: float
    init_timeout: float
    max_instances: int
    max_memory: int
    max_module_size: int
    max_body: int
    max_result: int
    data_dir: Path | None
    max_cache: int
    keep_versions: int
    probation_failures: int
    probation_calls: int
    probation_seconds: float
    switch: Literal["each", "together"]
    switch_timeout: float
    fast_call: bool
    grants: Grants

    @classmethod
    def from_mapping(
        cls,
        config: Mapping[str, Any],
        root_path: str | Path,
        instance_path: str | Path | None = None,
    ) -> Settings:
        """Read every ``PLUGIN_HOST_*`` key of ``config``; paths come out absolute.

        :param instance_path: where the data directory is by default; None is nowhere.

        Text that can only mean one thing (``"true"``, ``"50"``, ``"log,clock"``) is accepted, since
        values may come from the environment. The file system is not touched.

        :raises ConfigError: for an unknown key, or a value of wrong type or out of range.
        """
        _reject_unknown(config)
        values = {key.field: key.read(config) for key in KEYS}
        root = Path(root_path).absolute()
        values["dir"] = root / values["dir"]
        if values["data_dir"] is not None:
            values["data_dir"] = root / values["data_dir"]
        elif config.get(PREFIX + "DATA_DIR") is None and instance_path is not None:
            values["data_dir"] = Path(instance_path).absolute() / "plugin_host"
        return cls(**values)

    def granted(self, plugin_name: str) -> frozenset[str]:
        """Return what every matching pattern grants, taken together."""
        name = plugin_name.lower()
        return frozenset().union(*(caps for glob, caps in self.grants if fnmatchcase(name, glob)))


def _reject_unknown(config: Mapping[str, Any]) -> None:
    known = {key.name for key in KEYS}
    for name in config:
        if isinstance(name, str) and name.startswith(PREFIX) and name not in known:
            hint = did_you_mean(name, known) or "the known keys are " + ", ".join(sorted(known))
            raise ConfigError(f"unknown configuration key {name}; {hint}")
