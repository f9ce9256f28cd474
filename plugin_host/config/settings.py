"""The app's configuration: every ``PLUGIN_HOST_*`` key, read once into one frozen object.

`KEYS` is the single list of keys: the reader, its error messages and the documentation use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ..errors import ConfigError
from .bynames import fitting
from .grants import CAPABILITIES_ALLOWED, DEFAULT_GRANTS, Grants, parse_grants
from .isolation import ISOLATION, Isolation
from .keys import (
    PREFIX,
    Key,
    choice,
    count,
    factor,
    flag,
    parse_data_dir,
    parse_folder,
    parse_seed,
    seconds,
)
from .outbound import HTTP, HTTP_PRIVATE, Network, Outbound, Rules
from .stateurl import STATE, StateUrl, located
from .text import did_you_mean
from .trust import Pins, absolute_keys, parse_links, parse_pins, parse_trusted_keys
from .units import GIB, KIB, MIB

KEYS: Final = (
    Key(
        "DIR",
        "plugins",
        "a path, absolute or relative to the app's root_path",
        "The folder with the plugins.",
        parse_folder,
    ),
    flag("CREATE_DIR", False, "Make a missing plugins folder instead of refusing to start."),
    flag("ENABLED", True, "Load and run plugins at all."),
    flag("RELOAD", True, "Notice changed files and reload their plugins while serving."),
    choice("WATCHER", ("auto", "watchdog", "poll"), "How changed files are noticed."),
    seconds("POLL_INTERVAL", 1.0, 0.05, 3600, "Time between two looks at the folder."),
    seconds("TIMEOUT", 0.05, 0.001, 60, "Default and upper bound of every hook's deadline."),
    seconds("INIT_TIMEOUT", 2.0, 0.001, 60, "Deadline for a new instance to become ready."),
    seconds("COMPILE_TIMEOUT", 20.0, 0.1, 600, "Processor time to compile one module."),
    count("MAX_INSTANCES", 32, 1, 1024, "a whole number", "Live instances per plugin version."),
    count(
        "MAX_MEMORY", 64 * MIB, 64 * KIB, 4 * GIB - 64 * KIB, "bytes", "Linear memory per instance."
    ),
    count("MAX_FUEL", 0, 0, 10**18, "units", "Upper bound of what a call may compute; 0 is none."),
    ISOLATION,
    count(
        "RECYCLE_CALLS",
        0,
        0,
        10**9,
        "a whole number",
        "Calls after which an instance goes; 0 is never.",
    ),
    count("MAX_MODULE_SIZE", 32 * MIB, 8, GIB, "bytes", "Size of a plugin's file."),
    count("MAX_BODY", MIB, 0, GIB, "bytes", "Size of a body that is passed to plugins."),
    count("MAX_RESULT", 4 * MIB, 4 * KIB, GIB, "bytes", "Size of what a hook may return."),
    count(
        "LOG_RATE", 100, 1, 1_000_000, "a whole number", "Lines per second that a plugin may log."
    ),
    Key(
        "DATA_DIR",
        None,
        "a path, absolute or relative to the app's root_path, or '' for none",
        "What the workers of a machine share; default: plugin_host in the app's instance folder.",
        parse_data_dir,
    ),
    STATE,
    count(
        "STATE_MAX_KEYS",
        1_000_000,
        1,
        10**9,
        "a whole number",
        "Keys in one namespace of the store.",
    ),
    count("STATE_MAX_BYTES", 64 * MIB, 1, 1 << 40, "bytes", "All keys and values of a namespace."),
    count("STATE_MAX_VALUE", 256 * KIB, 1, 64 * MIB, "bytes", "Size of one value in the store."),
    count("MAX_CACHE", 256 * MIB, 0, 1 << 40, "bytes", "Size of the cache of compiled modules."),
    count("KEEP_VERSIONS", 5, 1, 100, "a whole number", "Good versions kept of each plugin."),
    count(
        "PROBATION_FAILURES",
        5,
        0,
        1_000_000,
        "a whole number",
        "Failures on probation after which the version before returns; 0 is off.",
    ),
    count(
        "PROBATION_CALLS", 200, 1, 10**9, "a whole number", "Calls that end a version's probation."
    ),
    seconds("PROBATION_SECONDS", 30.0, 0.05, 86_400, "Time that ends a version's probation."),
    factor(
        "PROBATION_SLOWDOWN",
        5.0,
        1000,
        "Processor time of a call on probation, times the version before it; 0 is off.",
    ),
    count(
        "BREAKER_FAILURES",
        10,
        0,
        10_000,
        "a whole number",
        "Failures of a plugin in one worker after which it is not called for a while; 0 is off.",
    ),
    seconds("BREAKER_WINDOW", 10.0, 0.1, 3600, "Time within which that many failures count."),
    seconds("BREAKER_OPEN_SECONDS", 1.0, 0.01, 3600, "Time for which a plugin is not called."),
    seconds("BREAKER_MAX_SECONDS", 60.0, 0.01, 86_400, "The same, if it fails again and again."),
    choice("SWITCH", ("each", "together"), "When workers swap: each once ready, or all at once."),
    seconds("SWITCH_TIMEOUT", 2.0, 0.05, 60, "Time for which workers wait to swap together."),
    flag("FAST_CALL", True, "Call guests without the overhead of wasmtime's public API."),
    Key(
        "GRANTS",
        DEFAULT_GRANTS,
        f"a list out of {CAPABILITIES_ALLOWED}, or a mapping of plugin name patterns to lists",
        "The capabilities that plugins may use.",
        parse_grants,
    ),
    HTTP,
    HTTP_PRIVATE,
    Key(
        "RANDOM_SEED",
        None,
        "an integer, and only while TESTING is true",
        "For tests: plugins' random numbers, the same in every run.",
        parse_seed,
    ),
    Key(
        "TRUSTED_KEYS",
        None,
        "a list of public keys ('ed25519:…') and of paths of files that hold some",
        "Load only plugins that one of these keys has signed.",
        parse_trusted_keys,
    ),
    Key(
        "PINS",
        {},
        "a mapping of plugin name patterns to SHA-256 digests, or to lists of them",
        "The only files that may become plugins of these names.",
        parse_pins,
    ),
    choice("HYGIENE", ("warn", "refuse", "off"), "What happens where others may write."),
    Key(
        "ALLOW_LINKS",
        (),
        "a list of folders, absolute or relative to the app's root_path",
        "Where links out of the plugins folder may lead to.",
        parse_links,
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
    compile_timeout: float
    max_instances: int
    max_memory: int
    max_fuel: int
    isolation: Isolation
    recycle_calls: int
    max_module_size: int
    max_body: int
    max_result: int
    log_rate: int
    data_dir: Path | None
    state: StateUrl
    state_max_keys: int
    state_max_bytes: int
    state_max_value: int
    max_cache: int
    keep_versions: int
    probation_failures: int
    probation_calls: int
    probation_seconds: float
    probation_slowdown: float
    breaker_failures: int
    breaker_window: float
    breaker_open_seconds: float
    breaker_max_seconds: float
    switch: Literal["each", "together"]
    switch_timeout: float
    fast_call: bool
    grants: Grants
    http: Rules
    http_private: tuple[Network, ...]
    random_seed: int | None
    trusted_keys: tuple[str, ...] | None
    pins: Pins
    hygiene: Literal["warn", "refuse", "off"]
    allow_links: tuple[Path, ...]

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
        if config.get(PREFIX + "RANDOM_SEED") is not None and not config.get("TESTING"):
            raise ConfigError(
                "PLUGIN_HOST_RANDOM_SEED is set, but TESTING is not: plugins' secrets could be"
                " guessed; use it in tests only"
            )
        values = {key.field: key.read(config) for key in KEYS}
        root = Path(root_path).absolute()
        values["dir"] = root / values["dir"]
        values["allow_links"] = tuple(root / folder for folder in values["allow_links"])
        values["trusted_keys"] = absolute_keys(values["trusted_keys"], root)
        if values["data_dir"] is not None:
            values["data_dir"] = root / values["data_dir"]
        elif config.get(PREFIX + "DATA_DIR") is None and instance_path is not None:
            values["data_dir"] = Path(instance_path).absolute() / "plugin_host"
        values["state"] = located(values["state"], root, values["data_dir"])
        return cls(**values)

    def outbound(self, plugin_name: str) -> Outbound:
        """Return where a plugin may send HTTP requests."""
        return Outbound.of(plugin_name, self.http, self.http_private)

    def isolates(self, plugin_name: str) -> bool:
        """Return whether any matching pattern says that nothing survives a request."""
        return "request" in fitting(plugin_name, self.isolation)

    def granted(self, plugin_name: str) -> frozenset[str]:
        """Return what every matching pattern grants, taken together."""
        return frozenset().union(*fitting(plugin_name, self.grants))

    def pinned(self, plugin_name: str) -> frozenset[str] | None:
        """Return what every matching pattern pins a name to, taken together; None if none does."""
        pins = fitting(plugin_name, self.pins)
        return frozenset().union(*pins) if pins else None


def _reject_unknown(config: Mapping[str, Any]) -> None:
    known = {key.name for key in KEYS}
    for name in config:
        if isinstance(name, str) and name.startswith(PREFIX) and name not in known:
            hint = did_you_mean(name, known) or "the known keys are " + ", ".join(sorted(known))
            raise ConfigError(f"unknown configuration key {name}; {hint}")
