"""Pins in the configuration: the only contents that may become plugins of a name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guests
import pytest

from plugin_host import ConfigError, PinError
from plugin_host.config import Settings
from plugin_host.folder.scan import Candidate
from plugin_host.host import operations
from plugin_host.host.host import Host
from plugin_host.host.known import OperationError
from plugin_host.trust import admit

GOOD = guests.module({"on_response": guests.UNCHANGED})
BETTER = guests.module({"on_response": guests.UNCHANGED}, data=[(8, b"better")])
ZEROS = "0" * 64


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read(pins: Any) -> Settings:
    return Settings.from_mapping({"PLUGIN_HOST_PINS": pins}, "/srv")


@pytest.mark.parametrize(
    ("pins", "name", "expected"),
    [
        ({}, "price", None),
        ({"guard": ZEROS}, "price", None),
        ({"Price": ZEROS}, "price", {ZEROS}),
        ({"price": "A" * 64}, "price", {"a" * 64}),
        ({"price": [ZEROS, "1" * 64]}, "price", {ZEROS, "1" * 64}),
        ({"price": f"{ZEROS}, {'1' * 64}"}, "price", {ZEROS, "1" * 64}),
        ({"*": [], "price": ZEROS}, "price", {ZEROS}),
        ({"*": [], "price": ZEROS}, "guard", set()),
        ({"pri*": ZEROS, "*ce": ("1" * 64,)}, "price", {ZEROS, "1" * 64}),
    ],
)
def test_pins_are_what_all_patterns_list(pins: Any, name: str, expected: set[str] | None) -> None:
    """A name may load what any pattern that fits it lists; where none fits, anything."""
    assert read(pins).pinned(name) == expected


@pytest.mark.parametrize(
    "value",
    [None, ZEROS, [ZEROS], {"": ZEROS}, {1: ZEROS}, {"a": 1}, {"a": None}, {"a": ZEROS[1:]},
     {"a": ZEROS + "0"}, {"a": "sha256:" + ZEROS}, {"a": [ZEROS, 7]}, {"a": ZEROS[1:] + "g"},
     {"a": [ZEROS + "\n0"]}],
)  # fmt: skip
def test_what_is_no_pin_is_an_error(value: Any) -> None:
    """A pin that could never match, or is no mapping, does not start the app."""
    with pytest.raises(ConfigError, match=r"PLUGIN_HOST_PINS is .*; allowed: a mapping"):
        read(value)


def test_a_pin_is_of_the_module_or_of_both() -> None:
    """The digest of the module leaves the manifest free; that of both does not."""
    paths = [Path("price.wasm"), Path("price.toml")]
    one = Candidate.of("price", paths, [b"module", b"one"])
    two = Candidate.of("price", paths, [b"module", b"two"])
    assert one.module_digest == digest("module")
    admit(one, "price", None, read({"price": one.module_digest}))
    admit(two, "price", None, read({"price": one.module_digest}))
    admit(one, "price", None, read({"price": one.digest}))
    with pytest.raises(PinError) as error:
        admit(two, "price", None, read({"price": [one.digest, ZEROS]}))
    assert str(error.value) == (
        f"price.wasm: PLUGIN_HOST_PINS pins price to {', '.join(sorted([ZEROS[:12], one.digest[:12]]))};"  # noqa: E501
        f" its module has the SHA-256 {two.module_digest:.12}, with its manifest {two.digest:.12};"
        " deploy what is pinned, or pin what is deployed"
    )


@pytest.fixture
def host(folder: Path, tmp_path: Path) -> Callable[[Any], Host]:
    """Make a host on ``folder`` with these pins."""

    def make(pins: Any) -> Host:
        config = {
            "PLUGIN_HOST_DIR": str(folder),
            "PLUGIN_HOST_DATA_DIR": str(tmp_path / "data"),
            "PLUGIN_HOST_PINS": pins,
        }
        made = Host(Settings.from_mapping(config, tmp_path))
        made.reconcile(initial=True)
        return made

    return make


def serving(host: Host) -> dict[str, str]:
    return {plugin.name: plugin.digest for plugin in host.snapshot.plugins}


def test_only_what_is_pinned_loads(folder: Path, host: Callable[[Any], Host]) -> None:
    """What is not pinned does not load, also as a replacement: the version before serves on."""
    for name in ("a", "b", "c"):
        (folder / f"{name}.wat").write_text(GOOD)
    found = host({"*": [], "a": digest(GOOD), "b": digest(BETTER)})
    assert serving(found) == {"a": digest(GOOD)}
    (folder / "a.wat").write_text(BETTER)
    found.reconcile(initial=True)
    assert serving(found) == {"a": digest(GOOD)}
    (status,) = [p for p in found.status()["plugins"] if p["name"] == "a"]
    assert "PLUGIN_HOST_PINS pins a to" in status["load_error"]


def test_the_pinned_version_is_kept(folder: Path, host: Callable[[Any], Host]) -> None:
    """A restart with another file in the folder serves the kept version that is pinned."""
    (folder / "a.wat").write_text(GOOD)
    host({"a": digest(GOOD)}).close()
    (folder / "a.wat").write_text(BETTER)
    assert serving(host({"a": digest(GOOD)})) == {"a": digest(GOOD)}
    assert serving(host({"a": ZEROS})) == {}


def test_the_configuration_goes_before_operators(folder: Path, host: Callable[[Any], Host]) -> None:
    """An operator can neither pin, nor roll back to, what the configuration does not allow."""
    (folder / "a.wat").write_text(GOOD)
    host({}).close()
    (folder / "a.wat").write_text(BETTER)
    found = host({"a": digest(BETTER)})
    for decide in (
        lambda: operations.pin(found, "a", digest(GOOD), "test"),
        lambda: operations.rollback(found, "a", "test", digest(GOOD)),
    ):
        with pytest.raises(OperationError, match="would not load: PLUGIN_HOST_PINS pins a to"):
            decide()
    found.close()
    free = host({})
    operations.pin(free, "a", digest(GOOD), "test")
    free.reconcile(initial=True)
    assert serving(free) == {"a": digest(GOOD)}
    free.close()
    assert serving(host({"a": digest(BETTER)})) == {}
