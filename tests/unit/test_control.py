"""What operators and rollbacks decide: values that change purely, in a file that loses nothing."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugin_host.files.private import read
from plugin_host.machine import controlfile as module
from plugin_host.machine.control import (
    EVERY,
    MAX_QUARANTINED,
    Control,
    ControlError,
    Quarantine,
    describe,
    disable,
    enable,
    pin,
    quarantine,
    release,
    request_reload,
    unpin,
)
from plugin_host.machine.controlfile import ControlFile
from plugin_host.machine.datadir import DataDir, DataDirError

A, B = "a" * 64, "b" * 64
TRAPS = Quarantine("traps", 12.5, "tax", "1.1", B)

Change = Callable[[Control], Control]

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8"))
counts = st.integers(0, 2**53)
controls = st.builds(
    Control,
    generation=counts,
    disabled=st.frozensets(names),
    pins=st.dictionaries(names, digests),
    quarantined=st.dictionaries(
        digests,
        st.builds(
            Quarantine,
            reason=texts,
            at=st.floats(0, 2e9),
            name=names,
            version=texts,
            replaced_by=st.none() | digests,
        ),
    ),
    reloads=st.dictionaries(names | st.just(EVERY), counts),
)


@pytest.fixture
def file(tmp_path: Path) -> ControlFile:
    return ControlFile(DataDir.open(tmp_path / "plugin_host"))


def another(file: ControlFile) -> ControlFile:
    """The same file, as another process sees it."""
    return ControlFile(file._datadir)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


def settle(file: ControlFile) -> None:
    """Let the file be of long ago."""
    os.utime(file.path, (1, 1))


CHANGES = [
    (
        "disable",
        Control(),
        lambda c: disable(c, "tax"),
        Control(disabled=frozenset({"tax"})),
        "disabled tax",
    ),
    (
        "enable",
        Control(disabled=frozenset({"tax", "b"})),
        lambda c: enable(c, "tax"),
        Control(disabled=frozenset({"b"})),
        "enabled tax",
    ),
    (
        "pin",
        Control(pins={"b": B}),
        lambda c: pin(c, "tax", A),
        Control(pins={"b": B, "tax": A}),
        "pinned tax to aaaaaaaaaaaa",
    ),
    (
        "pin another",
        Control(pins={"tax": B}),
        lambda c: pin(c, "tax", A),
        Control(pins={"tax": A}),
        "pinned tax to aaaaaaaaaaaa",
    ),
    (
        "unpin",
        Control(pins={"b": B, "tax": A}),
        lambda c: unpin(c, "tax"),
        Control(pins={"b": B}),
        "unpinned tax",
    ),
    (
        "quarantine",
        Control(),
        lambda c: quarantine(c, A, TRAPS),
        Control(quarantined={A: TRAPS}),
        "quarantined tax '1.1' (aaaaaaaaaaaa): 'traps'",
    ),
    (
        "release",
        Control(quarantined={A: TRAPS, B: TRAPS}),
        lambda c: release(c, A),
        Control(quarantined={B: TRAPS}),
        "released aaaaaaaaaaaa",
    ),
    (
        "reload",
        Control(reloads={"tax": 1}),
        lambda c: request_reload(c, "tax"),
        Control(reloads={"tax": 2}),
        "requested a reload of tax",
    ),
    (
        "reload all",
        Control(reloads={"tax": 1}),
        request_reload,
        Control(reloads={"tax": 1, "*": 1}),
        "requested a reload of every plugin",
    ),
]


@pytest.mark.parametrize(
    ("old", "change", "new", "what"),
    [each[1:] for each in CHANGES],
    ids=[each[0] for each in CHANGES],
)
def test_each_change_changes_one_thing(
    old: Control, change: Change, new: Control, what: str
) -> None:
    """Each change returns a new value in which it holds, and can be said in words."""
    before = msgspec.json.encode(old, order="deterministic")
    assert change(old) == new
    assert describe(old, new) == [what]
    assert before == msgspec.json.encode(old, order="deterministic")


@pytest.mark.parametrize(
    ("old", "change"),
    [
        (Control(disabled=frozenset({"tax"})), lambda c: disable(c, "tax")),
        (Control(), lambda c: enable(c, "tax")),
        (Control(pins={"tax": A}), lambda c: pin(c, "tax", A)),
        (Control(), lambda c: unpin(c, "tax")),
        (Control(quarantined={A: TRAPS}), lambda c: quarantine(c, A, TRAPS)),
        (
            Control(quarantined={A: TRAPS}),
            lambda c: quarantine(c, A, Quarantine("slow", 99.0, "tax", "1.1")),
        ),
    ],
)
def test_what_holds_already_changes_nothing(old: Control, change: Change) -> None:
    """A change that holds already returns an equal value."""
    assert change(old) == old


@pytest.mark.parametrize("change", [disable, enable, unpin, request_reload])
def test_unknown_names_are_refused(change: Callable[..., Control]) -> None:
    """A name that no plugin has is refused, with the one that may be meant, or all there are."""
    with pytest.raises(ControlError, match=r"no plugin taxx; did you mean 'tax'\?"):
        change(Control(), "taxx", {"tax", "rates"})
    with pytest.raises(ControlError, match="there is no plugin x; known: rates, tax"):
        change(Control(), "x", {"tax", "rates"})
    with pytest.raises(ControlError, match="there is no plugin x; known: none"):
        change(Control(), "x", set())
    with pytest.raises(ControlError, match=r"'\.\./tax' cannot be a plugin's name; allowed: 1 to"):
        change(Control(), "../tax")
    with pytest.raises(ControlError, match=r"'tax\\n' cannot be"):
        change(Control(), "tax\n")


def test_what_is_gone_can_be_undone() -> None:
    """A plugin whose file is gone can be enabled and unpinned."""
    control = Control(disabled=frozenset({"tax"}), pins={"tax": A})
    assert unpin(enable(control, "tax", known=()), "tax", known=()) == Control()


def test_a_pin_needs_a_whole_digest() -> None:
    """An abbreviated digest cannot be pinned or quarantined."""
    with pytest.raises(ControlError, match="'abc' is not a digest; give all 64"):
        pin(Control(), "tax", "abc")
    with pytest.raises(ControlError, match="is not a digest"):
        quarantine(Control(), A.upper(), TRAPS)


def test_a_digest_is_not_pinned_and_quarantined_at_once() -> None:
    """What is quarantined cannot be pinned before it is released, nor the other way round."""
    bad = quarantine(Control(), A, TRAPS)
    with pytest.raises(ControlError, match=r"tax 1\.1 \(a{12}\) is quarantined: traps; release it"):
        pin(bad, "tax", A)
    with pytest.raises(ControlError, match="tax aaaaaaaaaaaa is pinned; unpin it first"):
        quarantine(pin(Control(), "tax", A), A, TRAPS)


def test_only_what_is_quarantined_is_released() -> None:
    """Releasing another digest is refused, with what there is."""
    with pytest.raises(ControlError, match="not quarantined; quarantined: none"):
        release(Control(), A)
    with pytest.raises(ControlError, match=r"b{12} is not quarantined; quarantined: a{12} \(tax\)"):
        release(quarantine(Control(), A, TRAPS), B)


def test_quarantine_is_bounded() -> None:
    """Beyond the limit the oldest quarantined digests are dropped, and reasons are cut."""
    control = Control()
    for number in range(MAX_QUARANTINED + 2):
        entry = Quarantine("\udce9" + "x" * 9999, float(number), "tax", "1")
        control = quarantine(control, f"{number:064x}", entry)
    assert [entry.at for entry in control.quarantined.values()] == [
        float(number) for number in range(2, MAX_QUARANTINED + 2)
    ]
    assert {entry.reason for entry in control.quarantined.values()} == {"?" + "x" * 499}


def test_a_reload_of_all_concerns_each() -> None:
    """A plugin's number changes with requests for it and for all, and with no other's."""
    one = request_reload(Control(), "tax")
    every = request_reload(one)
    assert [c.reloads_of("tax") for c in (Control(), one, every)] == [0, 1, 2]
    assert [c.reloads_of("rates") for c in (Control(), one, every)] == [0, 0, 1]


def test_without_a_file_nothing_is_decided(file: ControlFile) -> None:
    """A missing file is an empty one, and reading makes none."""
    assert file.read() == Control()
    assert not file.path.exists()


def test_an_update_is_seen_by_others(file: ControlFile) -> None:
    """What one process changes, all others read, one generation later."""
    other = another(file)
    assert other.read() == Control()
    new = file.update(lambda control: disable(control, "tax"))
    assert new == Control(generation=1, disabled=frozenset({"tax"}))
    assert [other.read(), another(file).read(), file.read()] == [new] * 3
    newer = other.update(lambda control: enable(control, "tax"))
    assert newer == Control(generation=2) == file.read()


def test_an_update_without_a_change_is_none(
    file: ControlFile, caplog: pytest.LogCaptureFixture
) -> None:
    """An update that changes nothing writes nothing and keeps the generation."""
    caplog.set_level(logging.INFO, "plugin_host.audit")
    assert file.update(lambda control: enable(control, "tax")) == Control()
    assert not file.path.exists()
    assert caplog.records == []


def test_the_generation_is_the_files_own(file: ControlFile) -> None:
    """A change cannot set the generation."""
    assert file.update(lambda c: Control(generation=70, disabled=frozenset("a"))).generation == 1
    assert file.update(lambda c: Control(generation=1)).generation == 2


def test_a_failing_change_changes_nothing(file: ControlFile) -> None:
    """What a change raises comes through, and the file is as before and unlocked."""
    file.update(lambda control: disable(control, "tax"))
    before = file.path.read_bytes()
    with pytest.raises(ControlError):
        file.update(lambda control: release(control, A))
    assert file.path.read_bytes() == before
    assert file.update(lambda control: enable(control, "tax")).generation == 2


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(control=controls)
def test_every_value_comes_back(file: ControlFile, control: Control) -> None:
    """What is written is what is read, whatever it is."""
    written = file.update(lambda old: control)
    expected = msgspec.structs.replace(control, generation=written.generation)
    assert (another(file).read(), written) == (expected, expected)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_a_corrupt_file_changes_nothing(
    file: ControlFile, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    """Whatever somebody puts in the file's place, what held keeps holding, and the log says so."""
    if not file.path.exists():
        file.update(lambda control: pin(control, "tax", A))
    good = another(file)
    held = good.read()
    assert held.pins == {"tax": A}
    backup = file.path.read_bytes()
    file.path.write_bytes(content)
    caplog.clear()
    assert [good.read(), good.read()] == [held, held]
    assert len(errors(caplog)) == 1
    assert "control.json cannot be used" in errors(caplog)[0]
    assert another(file).read() == Control()
    file.path.write_bytes(backup)
    assert good.read() == held


@pytest.mark.parametrize(
    "content",
    [
        '{"format": 2, "control": {}}',
        '{"control": {}}',
        '{"format": 1, "control": {"generation": -1}}',
        '{"format": 1, "control": {"disabled": "tax"}}',
        '{"format": 1, "control": {"pins": {"tax": "abc"}}}',
        '{"format": 1, "control": {"quarantined": {"abc": null}}}',
        "[" * 100_000,
    ],
)
def test_what_is_not_ours_to_discard_stays(
    file: ControlFile, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    """A file of a newer version or with an operator's slip is not used, and not overwritten."""
    file.path.write_text(content)
    assert file.read() == Control()
    assert len(errors(caplog)) == 1
    with pytest.raises(DataDirError, match=r"cannot be understood: .*; correct it, or"):
        file.update(request_reload)
    assert file.path.read_text() == content


def test_fields_of_newer_versions_are_skipped(file: ControlFile) -> None:
    """A field that this version does not know does not hide the others."""
    file.path.write_text('{"format": 1, "more": 1, "control": {"disabled": ["tax"], "also": {}}}')
    assert file.read() == Control(disabled=frozenset({"tax"}))


def test_garbage_is_set_aside(file: ControlFile, caplog: pytest.LogCaptureFixture) -> None:
    """A process that knows what held before garbage came mends the file, and keeps the garbage."""
    file.update(lambda control: disable(control, "tax"))
    file.path.write_bytes(b'{"form')
    new = file.update(lambda control: disable(control, "rates"))
    assert new == Control(generation=2, disabled=frozenset({"rates", "tax"}))
    assert another(file).read() == new
    assert file.path.with_suffix(".corrupt").read_bytes() == b'{"form'
    assert len(errors(caplog)) == 1


def test_a_file_that_cannot_be_read_is_not_replaced(
    file: ControlFile, caplog: pytest.LogCaptureFixture
) -> None:
    """What is there and cannot be read now is not taken for nothing."""
    file.path.symlink_to(file.path.with_name("elsewhere"))
    assert file.read() == Control()
    assert len(errors(caplog)) == 1
    with pytest.raises(DataDirError, match=r"control\.json' cannot be read: .*; let the user"):
        file.update(request_reload)
    assert file.path.is_symlink()


def test_a_removed_file_decides_nothing(file: ControlFile) -> None:
    """When the file is removed all that it held is undone."""
    file.update(lambda control: disable(control, "tax"))
    file.path.unlink()
    assert file.read() == Control()


def test_an_unwritable_directory_is_told(
    file: ControlFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update that cannot be written says what, why and the remedy, and changes nothing."""

    def refuse(fd: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DataDirError, match="cannot be written: Read-only file system; let the"):
        file.update(request_reload)
    assert file.read() == Control()


class Loads:
    """Counts how often the file is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._read = read
        monkeypatch.setattr(module, "read", self)

    def __call__(self, path: Path, limit: int) -> Any:
        self.count += 1
        return self._read(path, limit)


def test_an_unchanged_file_is_read_once(file: ControlFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that did not change lately is not opened again."""
    file.update(lambda control: disable(control, "tax"))
    settle(file)
    loads = Loads(monkeypatch)
    held = [file.read() for _ in range(5)]
    assert (held, loads.count) == ([held[0]] * 5, 1)


def test_a_fresh_file_is_not_told_by_its_stamps(
    file: ControlFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of this moment is read again: its next content may bear the same time stamps."""
    monkeypatch.setattr(module, "_signature", lambda status: (0,))
    file.update(request_reload)
    other = another(file)
    assert other.read().generation == 1
    file.update(request_reload)
    assert other.read().generation == 2


def test_every_change_is_audited(file: ControlFile, caplog: pytest.LogCaptureFixture) -> None:
    """Each update logs one line: who, which process, what decided it, what changed."""
    caplog.set_level(logging.INFO, "plugin_host.audit")
    file.update(
        lambda control: request_reload(quarantine(disable(control, "tax"), A, TRAPS)), "rollback"
    )
    [record] = caplog.records
    assert record.name == "plugin_host.audit"
    assert re.fullmatch(
        rf".*uid {os.getuid()}.*, pid {os.getpid()}, rollback: disabled tax; "
        r"quarantined tax '1\.1' \(a{12}\): 'traps'; "
        r"requested a reload of every plugin \(generation 1\)",
        record.getMessage(),
    )


def test_the_audit_names_who_is_behind_sudo(
    monkeypatch: pytest.MonkeyPatch, file: ControlFile, caplog: pytest.LogCaptureFixture
) -> None:
    """A change by root through sudo names the user, on one line; others cannot claim to be one."""
    caplog.set_level(logging.INFO, "plugin_host.audit")
    monkeypatch.setenv("SUDO_USER", "eve\nroot")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    file.update(request_reload)
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    file.update(request_reload)
    by_root, by_other = (record.getMessage() for record in caplog.records)
    assert ", sudo by 'eve\\nroot', pid " in by_root
    assert by_other.startswith("uid 987654, pid ")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs flock")
def test_hammer_concurrent_updates_lose_nothing(file: ControlFile) -> None:
    """Several processes that change the file at once lose no change and no generation."""
    code = """
import sys
from pathlib import Path
from plugin_host.machine.control import disable, request_reload
from plugin_host.machine.controlfile import ControlFile
from plugin_host.machine.datadir import DataDir
file = ControlFile(DataDir.open(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    file.update(lambda c: request_reload(disable(c, f"{sys.argv[2]}-{number}")))
    file.read()
"""
    args = [sys.executable, "-c", code, str(file.path.parent)]
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen([*args, str(n)], stdin=pipe, stdout=pipe, text=True) for n in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    seen = 0
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    while any(worker.poll() is None for worker in workers):
        generation = file.read().generation
        assert generation >= seen
        seen = generation
    for worker in workers:
        worker.communicate()
        assert worker.returncode == 0
    assert file.read() == Control(
        generation=100,
        disabled=frozenset(f"{n}-{number}" for n in range(4) for number in range(25)),
        reloads={EVERY: 100},
    )
