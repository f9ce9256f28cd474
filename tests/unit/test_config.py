from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import flask
import pytest

from plugin_host.config import (
    CAPABILITIES_ALLOWED,
    GIB,
    KEYS,
    KIB,
    MIB,
    Settings,
    StateUrl,
    did_you_mean,
    show,
)
from plugin_host.errors import ConfigError

ROOT = Path("/srv/shop").absolute()


def read(**values: Any) -> Settings:
    config = {f"PLUGIN_HOST_{suffix}": value for suffix, value in values.items()}
    return Settings.from_mapping(config, ROOT)


def test_defaults() -> None:
    """An app that configures nothing gets the documented defaults."""
    assert Settings.from_mapping({}, ROOT) == Settings(
        dir=ROOT / "plugins",
        create_dir=False,
        enabled=True,
        reload=True,
        watcher="auto",
        poll_interval=1.0,
        timeout=0.05,
        init_timeout=2.0,
        compile_timeout=20.0,
        max_instances=32,
        max_memory=64 * MIB,
        max_fuel=0,
        isolation=(("*", "shared"),),
        recycle_calls=0,
        max_module_size=32 * MIB,
        max_body=MIB,
        max_result=4 * MIB,
        log_rate=100,
        data_dir=None,
        state=StateUrl("memory"),
        state_max_keys=1_000_000,
        state_max_bytes=64 << 20,
        state_max_value=256 << 10,
        max_cache=256 * MIB,
        keep_versions=5,
        probation_failures=5,
        probation_calls=200,
        probation_seconds=30.0,
        probation_slowdown=5.0,
        breaker_failures=10,
        breaker_window=10.0,
        breaker_open_seconds=1.0,
        breaker_max_seconds=60.0,
        switch="each",
        switch_timeout=2.0,
        fast_call=True,
        grants=(("*", frozenset({"log", "clock", "random", "metrics", "cookies"})),),
        http=(("*", ()),),
        http_private=(),
        random_seed=None,
        trusted_keys=None,
        pins=(),
        hygiene="warn",
        allow_links=(),
    )


def test_the_data_directory_is_in_the_instance_folder_unless_said_otherwise() -> None:
    """Absent: below the instance folder; a path: below the root; empty: nowhere."""
    folders = [
        Settings.from_mapping(config, ROOT, "/srv/instance").data_dir
        for config in (
            {},
            {"PLUGIN_HOST_DATA_DIR": "shared"},
            {"PLUGIN_HOST_DATA_DIR": "/var/data"},
            {"PLUGIN_HOST_DATA_DIR": ""},
        )
    ]
    instance = Path("/srv/instance/plugin_host").absolute()
    assert folders == [instance, ROOT / "shared", Path("/var/data").absolute(), None]


def test_table_and_settings_agree() -> None:
    """Each key of the table fills the field of the same name, and has a one-line description."""
    assert [key.field for key in KEYS] == [field.name for field in fields(Settings)]
    assert all(key.description.endswith(".") and "\n" not in key.description for key in KEYS)
    assert all(key.allowed for key in KEYS)


def test_settings_are_frozen() -> None:
    """Settings cannot change after they were read."""
    with pytest.raises(FrozenInstanceError):
        read().timeout = 1.0  # type: ignore[misc]


def test_other_keys_are_ignored() -> None:
    """Keys of Flask, of other extensions, and keys that are not text are left alone."""
    config: dict[Any, Any] = {"SECRET_KEY": "x", "PLUGIN_HOSTS": 1, "PLUGIN_HOST": 2, 7: 8}
    assert Settings.from_mapping(config, ROOT) == read()


@pytest.mark.parametrize("value", [True, 1, "true", "True", " yes ", "on", "1"])
def test_true(value: Any) -> None:
    """Every usual spelling of true, also from the environment, switches a flag on."""
    assert read(CREATE_DIR=value).create_dir is True


@pytest.mark.parametrize("value", [False, 0, "false", "FALSE", "no", "off", "0"])
def test_false(value: Any) -> None:
    """Every usual spelling of false, also from the environment, switches a flag off."""
    assert read(ENABLED=value).enabled is False


@pytest.mark.parametrize("value", [None, 2, 1.0, "", "maybe", [], b"1"])
def test_not_a_flag(value: Any) -> None:
    """A flag's value that is neither true nor false is refused, and named."""
    with pytest.raises(ConfigError) as error:
        read(RELOAD=value)
    assert str(error.value) == f"PLUGIN_HOST_RELOAD is {value!r}; allowed: true or false"


@pytest.mark.parametrize(
    ("suffix", "value", "expected"),
    [
        ("TIMEOUT", "0.25", 0.25),
        ("TIMEOUT", 1, 1.0),
        ("TIMEOUT", 0.001, 0.001),
        ("TIMEOUT", 60, 60.0),
        ("INIT_TIMEOUT", 60, 60.0),
        ("COMPILE_TIMEOUT", "0.5", 0.5),
        ("POLL_INTERVAL", 0.05, 0.05),
        ("POLL_INTERVAL", 3600, 3600.0),
        ("MAX_INSTANCES", "50", 50),
        ("MAX_INSTANCES", 1, 1),
        ("MAX_INSTANCES", 1024, 1024),
        ("MAX_MEMORY", 64 * KIB, 65536),
        ("MAX_MEMORY", 4 * GIB - 64 * KIB, 4294901760),
        ("MAX_MODULE_SIZE", 1e6, 1_000_000),
        ("MAX_BODY", 0, 0),
        ("MAX_BODY", GIB, GIB),
        ("MAX_RESULT", 4 * KIB, 4096),
    ],
)
def test_numbers(suffix: str, value: Any, expected: float) -> None:
    """Numbers, numbers as text and the ends of each range are accepted in the field's own type."""
    actual = getattr(read(**{suffix: value}), suffix.lower())
    assert (actual, type(actual)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("suffix", "allowed"),
    [
        ("TIMEOUT", "seconds from 0.001 to 60"),
        ("INIT_TIMEOUT", "seconds from 0.001 to 60"),
        ("COMPILE_TIMEOUT", "seconds from 0.1 to 600"),
        ("POLL_INTERVAL", "seconds from 0.05 to 3600"),
        ("SWITCH_TIMEOUT", "seconds from 0.05 to 60"),
        ("MAX_INSTANCES", "a whole number from 1 to 1024"),
        ("MAX_MEMORY", "bytes from 65536 to 4294901760"),
        ("MAX_MODULE_SIZE", "bytes from 8 to 1073741824"),
        ("MAX_BODY", "bytes from 0 to 1073741824"),
        ("MAX_RESULT", "bytes from 4096 to 1073741824"),
    ],
)
@pytest.mark.parametrize(
    "value", [None, True, "", "fast", -1, 10**400, float("nan"), float("inf"), "nan", [1], 1e18]
)
def test_not_a_number_in_range(suffix: str, allowed: str, value: Any) -> None:
    """A number of wrong type or out of range is refused with key, value and range."""
    with pytest.raises(ConfigError) as error:
        read(**{suffix: value})
    assert str(error.value) == f"PLUGIN_HOST_{suffix} is {show(value)}; allowed: {allowed}"


@pytest.mark.parametrize("value", [1.5, "1.5"])
def test_count_is_whole(value: Any) -> None:
    """A count is a whole number."""
    with pytest.raises(ConfigError, match=r"PLUGIN_HOST_MAX_INSTANCES is .*1\.5"):
        read(MAX_INSTANCES=value)


@pytest.mark.parametrize("value", ["poll", "POLL"])
def test_watcher(value: str) -> None:
    """A watcher is chosen by name, in any case."""
    assert read(WATCHER=value).watcher == "poll"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("inotify", "'inotify'; "),
        ("watchdogs", "'watchdogs' (did you mean 'watchdog'?); "),
        (None, "None; "),
    ],
)
def test_unknown_watcher(value: Any, said: str) -> None:
    """An unknown watcher is refused with the choices, and a near miss with a suggestion."""
    with pytest.raises(ConfigError) as error:
        read(WATCHER=value)
    choices = "allowed: 'auto' or 'watchdog' or 'poll'"
    assert str(error.value) == f"PLUGIN_HOST_WATCHER is {said}{choices}"


def test_relative_dir() -> None:
    """A relative folder lies below the app's root_path."""
    assert read(DIR="hooks/live").dir == ROOT / "hooks" / "live"


def test_absolute_dir() -> None:
    """An absolute folder, as text or as a Path, is taken as it is."""
    folder = Path("/var/lib/hooks").absolute()
    assert [read(DIR=folder).dir, read(DIR=str(folder)).dir] == [folder, folder]


def test_relative_root_path() -> None:
    """The folder is absolute even when root_path is not."""
    assert Settings.from_mapping({}, "shop").dir == Path.cwd() / "shop" / "plugins"


@pytest.mark.parametrize("value", [None, "", "  ", 2024, "a\0b", b"plugins", ["plugins"]])
def test_not_a_dir(value: Any) -> None:
    """A folder that is not a path is refused."""
    with pytest.raises(ConfigError) as error:
        read(DIR=value)
    allowed = "a path, absolute or relative to the app's root_path"
    assert str(error.value) == f"PLUGIN_HOST_DIR is {show(value)} (not a path); allowed: {allowed}"


def test_grants_for_all() -> None:
    """A list grants the same to every plugin."""
    settings = read(GRANTS=["log"])
    assert [settings.granted("a"), settings.granted("b")] == [frozenset({"log"})] * 2


@pytest.mark.parametrize("value", ["log, clock", ("log", "clock"), {"log", "clock"}])
def test_grants_spellings(value: Any) -> None:
    """A tuple, a set, and comma-separated text from the environment are lists too."""
    assert read(GRANTS=value).granted("x") == {"log", "clock"}


@pytest.mark.parametrize("value", ["", [], {}])
def test_no_grants(value: Any) -> None:
    """An empty list or mapping grants nothing."""
    assert read(GRANTS=value).granted("x") == frozenset()


def test_grants_by_pattern() -> None:
    """A mapping grants by name pattern, case does not matter, and matching patterns add up."""
    settings = read(GRANTS={"Shop-*": ["clock"], "*": ["log"], "shop-a": []})
    assert {name: settings.granted(name) for name in ("shop-a", "SHOP-B", "guard")} == {
        "shop-a": {"clock", "log"},
        "SHOP-B": {"clock", "log"},
        "guard": {"log"},
    }


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (["rando"], "unknown capability 'rando', did you mean 'random'?"),
        (["zzz"], "unknown capability 'zzz'"),
        ([["log"]], "unknown capability ['log']"),
        ([3], "unknown capability 3"),
        ({"shop": ["net"]}, "unknown capability 'net'"),
        ({"shop": None}, "None is not a list"),
        (None, "None is not a list"),
        (True, "True is not a list"),
        ({3: ["log"]}, "3 is not a pattern of plugin names"),
        ({"": ["log"]}, "'' is not a pattern of plugin names"),
    ],
)
def test_wrong_grants(value: Any, why: str) -> None:
    """Grants that name no capability or no pattern are refused, saying which."""
    with pytest.raises(ConfigError) as error:
        read(GRANTS=value)
    allowed = f"a list out of {CAPABILITIES_ALLOWED}, or a mapping of plugin name patterns to"
    assert (
        str(error.value) == f"PLUGIN_HOST_GRANTS is {show(value)} ({why}); allowed: {allowed} lists"
    )


def test_unknown_key_with_suggestion() -> None:
    """A misspelt key is refused with the key that was probably meant."""
    with pytest.raises(ConfigError) as error:
        Settings.from_mapping({"PLUGIN_HOST_TIME_OUT": 1}, ROOT)
    assert str(error.value) == (
        "unknown configuration key PLUGIN_HOST_TIME_OUT; did you mean 'PLUGIN_HOST_TIMEOUT'?"
    )


def test_unknown_key_without_suggestion() -> None:
    """A key that resembles none is refused with the list of keys."""
    with pytest.raises(ConfigError) as error:
        Settings.from_mapping({"PLUGIN_HOST_" + "z" * 60: 1}, ROOT)
    assert str(error.value).endswith(
        "; the known keys are " + ", ".join(sorted(key.name for key in KEYS))
    )


def test_values_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Flask's from_prefixed_env makes of environment variables is understood."""
    for suffix, text in {
        "DIR": "hooks",
        "RELOAD": "False",
        "ENABLED": "1",
        "CREATE_DIR": "true",
        "TIMEOUT": "0.2",
        "MAX_INSTANCES": "8",
        "WATCHER": "poll",
        "GRANTS__guard": "log",
        "GRANTS__shop": '["clock"]',
    }.items():
        monkeypatch.setenv(f"FLASK_PLUGIN_HOST_{suffix}", text)
    app = flask.Flask("shop", root_path=str(ROOT))
    app.config.from_prefixed_env()
    settings = Settings.from_mapping(app.config, app.root_path)
    assert settings == read(
        DIR="hooks",
        RELOAD=False,
        CREATE_DIR=True,
        TIMEOUT=0.2,
        MAX_INSTANCES=8,
        WATCHER="poll",
        GRANTS={"guard": ["log"], "shop": ["clock"]},
    )


def test_did_you_mean_keeps_the_spelling() -> None:
    """A suggestion is found in any case and shown as the known word is spelt."""
    assert did_you_mean("HOOK", ["Hooks"]) == "did you mean 'Hooks'?"


def test_long_values_are_shortened() -> None:
    """A message stays readable when the wrong value is huge."""
    with pytest.raises(ConfigError) as error:
        read(TIMEOUT="x" * 10_000)
    assert len(str(error.value)) < 200


def test_unprintable_values() -> None:
    """A number too long to print is still refused as a configuration error."""
    with pytest.raises(ConfigError, match=r"^PLUGIN_HOST_TIMEOUT is <int>; allowed"):
        read(TIMEOUT=10**5000)
