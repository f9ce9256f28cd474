"""WASI preview 1: what guests of the usual toolchains find, and what hostile ones do not get."""

from __future__ import annotations

import logging
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import guests
import pytest
import wasmtime
from guests import MakeApp

from plugin_host.config import Settings
from plugin_host.errors import DeadlineExceeded, GuestTrap
from plugin_host.hostfunctions import wasi
from plugin_host.hostfunctions.services import Services
from plugin_host.hostfunctions.wasi_signatures import SIGNATURES
from plugin_host.wasm.engine import engine, wat_to_wasm
from plugin_host.wasm.instance import Instance, Limits
from plugin_host.wasm.runtime import choose_engine, link

PATH = Path("guest.wat")
DEFAULTS = Settings.from_mapping({}, PATH)
KINDS = {"i": "i32", "I": "i64"}
EOF = 65_536  # the first byte behind the guest's memory


def imported(name: str) -> str:
    """The import of a function of WASI, by its own name."""
    params = " ".join(KINDS[letter] for letter in SIGNATURES[name])
    result = "" if name == "proc_exit" else "(result i32)"
    return f'(import "{wasi.MODULE}" "{name}" (func ${name} (param {params}) {result}))'


def calling(name: str, *arguments: int) -> str:
    """A call with constant arguments; leaves the error number, or nothing."""
    pairs = zip(SIGNATURES[name], arguments, strict=True)
    constants = " ".join(f"({KINDS[letter]}.const {value})" for letter, value in pairs)
    return f"(call ${name} {constants})"


class Came(NamedTuple):
    """What came of calling a function of WASI."""

    errno: int
    instance: Instance
    log: list[tuple[int, str]]

    def numbers(self, pointer: int, layout: str) -> tuple[int, ...]:
        """Numbers that it wrote."""
        return struct.unpack(layout, self.instance.read(pointer, struct.calcsize(layout)))


Ask = Callable[..., Came]


@pytest.fixture
def ask(fast_call: bool) -> Ask:
    """Call functions of WASI, one after the other, from a guest with some memory."""

    def asked(
        *calls: tuple[str | int, ...],
        memory: dict[int, bytes] | None = None,
        timeout: float = 5.0,
        random: Callable[[int], bytes] = os.urandom,
    ) -> Came:
        names = dict.fromkeys(str(call[0]) for call in calls)
        *before, last = (calling(str(call[0]), *map(int, call[1:])) for call in calls)
        body = " ".join(f"(drop {call})" for call in before)
        text = f"""(module {" ".join(map(imported, names))} (memory (export "memory") 1)
          (func (export "run") (result i32) {body} {last}))"""
        log: list[tuple[int, str]] = []
        said = lambda _, level, line: log.append((level, line))  # noqa: E731
        services = Services("guest", said, random=random)  # type: ignore[arg-type]
        offered = {f.name: f for group in wasi.groups(services) for f in group.functions}
        chosen = choose_engine(fast_call)
        module = chosen.compile(wat_to_wasm(text.encode(), PATH), PATH)
        linked = link(chosen, module, [offered[name] for name in names], PATH)
        instance = linked.instance(Limits(), monotonic(), 5.0)
        for at, data in (memory or {}).items():
            instance.write(at, data)
        errno = instance.function("run")(0, monotonic(), timeout) & 0xFFFF_FFFF
        return Came(errno, instance, log)

    return asked


def vectors(*pairs: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<II", *pair) for pair in pairs)


def clock(user: int, which: int, timeout: int, flags: int = 0) -> bytes:
    return struct.pack("<QB7xI4xQQH6x", user, 0, which, timeout, 0, flags)


def stream(user: int, kind: int, fd: int) -> bytes:
    return struct.pack("<QB7xI28x", user, kind, fd)


def events(came: Came, count: int) -> list[tuple[int, ...]]:
    """User data, error number and kind of events at 1024."""
    data = came.instance.read(1024, 32 * count)
    return [event[:3] for event in struct.iter_unpack("<QHB5xQH6x", data)]


def test_all_of_preview_1_is_there_with_its_types() -> None:
    """What the host offers has the names and types that a runtime's own WASI has."""
    raw = engine(True).raw
    linker = wasmtime.Linker(raw)
    linker.define_wasi()
    text = f"(module {' '.join(map(imported, SIGNATURES))})"
    linker.instantiate(wasmtime.Store(raw), wasmtime.Module(raw, wasmtime.wat2wasm(text)))
    offered = [
        f.name for group in wasi.groups(Services.of("all", DEFAULTS)) for f in group.functions
    ]
    assert (sorted(offered), len(offered)) == (sorted(SIGNATURES), 46)


def test_each_capability_has_its_functions() -> None:
    """Only what logs, tells time or gives chance needs a grant."""
    granted = {
        group.capability: [f.name for f in group.functions]
        for group in wasi.groups(Services.of("x", DEFAULTS))
        if group.capability
    }
    assert granted == {
        "log": ["fd_write"],
        "clock": ["clock_res_get", "clock_time_get", "poll_oneoff"],
        "random": ["random_get"],
    }


# Standard streams


def test_lines_go_to_the_log(ask: Ask) -> None:
    """A line is logged once it ends; standard output as INFO, standard error as WARNING."""
    write = ("fd_write", 1, 0, 2, 64)
    came = ask(
        write,
        ("fd_write", 2, 8, 1, 64),
        write,
        memory={0: vectors((100, 6), (106, 3)), 100: b"one\ntwo\n."},
    )
    assert came.errno == wasi.SUCCESS
    assert came.log == [
        (logging.INFO, "one"),
        (logging.INFO, "two"),
        (logging.WARNING, "o"),
        (logging.INFO, ".one"),
        (logging.INFO, "two"),
    ]
    assert came.numbers(64, "<I") == (9,)


def test_the_streams_do_not_mix(ask: Ask) -> None:
    """What was begun on standard output is not continued on standard error."""
    came = ask(
        ("fd_write", 1, 0, 1, 64),
        ("fd_write", 2, 8, 1, 64),
        ("fd_write", 1, 8, 1, 64),
        memory={0: vectors((100, 3), (103, 2)), 100: b"oneX\n"},
    )
    assert came.log == [(logging.WARNING, "X"), (logging.INFO, "oneX")]


def test_a_line_ends_with_its_call(ask: Ask) -> None:
    """What one call began is not continued by the next, which may be another request's."""
    came = ask(("fd_write", 1, 0, 1, 64), memory={0: vectors((100, 3)), 100: b"one"})
    came.instance.function("run")(0, monotonic(), 5.0)
    assert came.log == [(logging.INFO, "one")]


def test_a_line_is_of_bounded_length(ask: Ask) -> None:
    """A line that does not end is cut, and costs the host no more than that."""
    size = wasi.MAX_LINE + 9
    came = ask(("fd_write", 1, 0, 1, 64), memory={0: vectors((100, size)), 100: b"a" * size})
    assert came.log == [(logging.INFO, "a" * wasi.MAX_LINE)]


def test_one_write_takes_a_bounded_part(ask: Ask) -> None:
    """However much vectors add up to, one call copies 64 KiB, and says so."""
    memory = {0: vectors(*[(0, 60_000)] * wasi.MAX_VECTORS)}
    came = ask(("fd_write", 1, 0, wasi.MAX_VECTORS, 60_000), memory=memory)
    assert (came.errno, came.numbers(60_000, "<I")) == (wasi.SUCCESS, (wasi.MAX_WRITE,))


def test_too_many_vectors_are_refused(ask: Ask) -> None:
    """One call looks at no more than 1024 vectors."""
    came = ask(("fd_write", 1, 0, wasi.MAX_VECTORS + 1, 60_000))
    assert (came.errno, came.log) == (wasi.INVAL, [])


def test_a_flood_ends_with_the_deadline(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logging many lines in one call does not outlive the deadline."""

    def late(_instance: Instance) -> float:
        raise DeadlineExceeded(0)

    monkeypatch.setattr(wasi, "time_left", late)
    with pytest.raises(DeadlineExceeded, match="deadline of 5000 ms"):
        ask(("fd_write", 1, 0, 1, 64), memory={0: vectors((100, 4)), 100: b"a\nb\n"})


def test_standard_input_is_empty(ask: Ask) -> None:
    """Reading meets the end of the file at once."""
    came = ask(("fd_read", 0, 0, 1, 64), memory={64: b"\xff" * 4})
    assert (came.errno, came.numbers(64, "<I")) == (wasi.SUCCESS, (0,))


@pytest.mark.parametrize(("fd", "rights"), [(0, 1 << 1), (1, 1 << 6), (2, 1 << 6)])
def test_the_streams_are_a_terminal(ask: Ask, fd: int, rights: int) -> None:
    """Standard streams are character devices, so that C's stdio writes line by line."""
    came = ask(("fd_fdstat_get", fd, 64))
    assert (came.errno, came.numbers(64, "<BxHxxxxQQ")) == (wasi.SUCCESS, (2, 0, rights, 0))


@pytest.mark.parametrize(
    ("call", "errno"),
    [
        (("fd_close", 1), wasi.SUCCESS),
        (("fd_fdstat_set_flags", 2, 4), wasi.SUCCESS),
        (("fd_seek", 1, 0, 0, 64), wasi.SPIPE),
        (("fd_tell", 0, 64), wasi.SPIPE),
        (("fd_close", 3), wasi.BADF),
        (("fd_seek", 3, 0, 0, 64), wasi.BADF),
        (("fd_fdstat_get", 0xFFFF_FFFF, 64), wasi.BADF),
        (("fd_read", 1, 0, 1, 64), wasi.BADF),
        (("fd_write", 0, 0, 1, 64), wasi.BADF),
        (("fd_write", 3, 0, 1, 64), wasi.BADF),
        (("fd_prestat_get", 3, 64), wasi.BADF),
        (("fd_prestat_dir_name", 3, 64, 8), wasi.BADF),
        (("fd_filestat_get", 1, 64), wasi.BADF),
        (("fd_readdir", 3, 64, 8, 0, 64), wasi.BADF),
        (("path_open", 3, 0, 0, 8, 0, 0, 0, 0, 64), wasi.NOTCAPABLE),
        (("path_unlink_file", 3, 0, 8), wasi.NOTCAPABLE),
        (("sock_accept", 3, 0, 64), wasi.NOTCAPABLE),
        (("sock_send", 1, 0, 1, 0, 64), wasi.NOTCAPABLE),
        (("proc_raise", 9), wasi.NOSYS),
        (("sched_yield",), wasi.SUCCESS),
        (("args_get", 64, 64), wasi.SUCCESS),
        (("environ_get", 64, 64), wasi.SUCCESS),
        (("clock_time_get", 2, 0, 64), wasi.INVAL),
        (("clock_res_get", 9, 64), wasi.INVAL),
        (("poll_oneoff", 0, 1024, 0, 64), wasi.INVAL),
        (("poll_oneoff", 0, 1024, 0xFFFF_FFFF, 64), wasi.INVAL),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_is_not_there_says_so(ask: Ask, call: tuple[str, ...], errno: int) -> None:
    """Without files, directories, sockets and signals there are error numbers, and no trap."""
    assert ask(call).errno == errno


@pytest.mark.parametrize("name", ["args_sizes_get", "environ_sizes_get"])
def test_there_are_no_arguments_and_no_environment(ask: Ask, name: str) -> None:
    """Both are empty."""
    came = ask((name, 64, 72), memory={64: b"\xff" * 16})
    assert (came.errno, came.numbers(64, "<I4xI")) == (wasi.SUCCESS, (0, 0))


# Hostile pointers


@pytest.mark.parametrize(
    ("call", "memory"),
    [
        (("fd_write", 1, EOF, 1, 64), {}),
        (("fd_write", 1, EOF - 8, 2, 64), {}),
        (("fd_write", 1, 0xFFFF_FFF8, 2, 64), {}),
        (("fd_write", 1, 0, 1, 64), {0: vectors((EOF - 1, 2))}),
        (("fd_write", 1, 0, 1, 64), {0: vectors((0xFFFF_FFFF, 0xFFFF_FFFF))}),
        (("fd_write", 1, 0, 1, 64), {0: vectors((8, 0xFFFF_FFFF))}),
        (("fd_write", 1, 0, 1, EOF - 3), {}),
        (("fd_read", 0, 0, 1, 0xFFFF_FFFD), {}),
        (("fd_fdstat_get", 1, EOF - 23), {}),
        (("args_sizes_get", EOF, 64), {}),
        (("environ_sizes_get", 64, EOF - 1), {}),
        (("clock_time_get", 0, 0, EOF - 7), {}),
        (("clock_res_get", 0, 0xFFFF_FFFF), {}),
        (("random_get", EOF - 1, 2), {}),
        (("random_get", 1, 0xFFFF_FFFF), {}),
        (("poll_oneoff", EOF - 47, 1024, 1, 64), {}),
        (("poll_oneoff", 0, EOF - 31, 1, 64), {}),
        (("poll_oneoff", 0, 1024, 1, EOF), {}),
        (("poll_oneoff", EOF - 48, 1024, 128, 64), {}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_pointer_outside_the_memory_traps(
    ask: Ask, call: tuple[str, ...], memory: dict[int, bytes]
) -> None:
    """Vectors, buffers and results must lie inside the memory, whatever they add up to."""
    with pytest.raises(GuestTrap, match="outside the guest's memory of 65536 bytes") as caught:
        ask(call, memory=memory)
    assert caught.value.code == "memory_out_of_bounds"


# Time and chance


def test_clocks_are_the_hosts(ask: Ask) -> None:
    """Clock 0 is Unix time and clock 1 is monotonic, in nanoseconds."""
    before = time.time_ns(), time.monotonic_ns()
    came = ask(("clock_time_get", 0, 0, 64), ("clock_time_get", 1, 0, 72))
    after = time.time_ns(), time.monotonic_ns()
    unix, monotonic_ns = came.numbers(64, "<QQ")
    assert before[0] <= unix <= after[0]
    assert before[1] <= monotonic_ns <= after[1]


def test_clocks_have_a_resolution(ask: Ask) -> None:
    """Both count nanoseconds."""
    came = ask(("clock_res_get", 0, 64), ("clock_res_get", 1, 72))
    assert came.numbers(64, "<QQ") == (1, 1)


def test_random_bytes_fill_what_was_asked_for(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any length is served, in pieces, and nothing beyond it is touched."""
    monkeypatch.setattr(wasi, "_CHUNK", 16)
    came = ask(("random_get", 100, 40), random=lambda size: bytes(range(1, size + 1)))
    expected = bytes(range(1, 17)) * 2 + bytes(range(1, 9))
    assert came.instance.read(99, 42) == b"\0" + expected + b"\0"


def test_random_bytes_differ(ask: Ask) -> None:
    """Two calls give different bytes."""
    came = ask(("random_get", 0, 16), ("random_get", 16, 16))
    assert came.instance.read(0, 16) != came.instance.read(16, 16)


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits that were asked for; none is waited."""
    waits: list[float] = []
    monkeypatch.setattr(wasi.osthread, "sleep", waits.append)
    return waits


def test_a_wait_is_for_the_first_clock(ask: Ask, sleeps: list[float]) -> None:
    """Waiting for several clocks ends with the first, and only its event comes."""
    wanted = clock(7, 1, 30_000_000) + clock(8, 1, 20_000_000) + clock(9, 0, 40_000_000)
    came = ask(("poll_oneoff", 0, 1024, 3, 64), memory={0: wanted})
    assert (came.errno, sleeps) == (wasi.SUCCESS, [0.02])
    assert (came.numbers(64, "<I"), events(came, 1)) == ((1,), [(8, 0, 0)])


def test_a_wait_until_a_time_that_has_passed_is_none(ask: Ask, sleeps: list[float]) -> None:
    """An absolute time in the past is an event at once."""
    came = ask(("poll_oneoff", 0, 1024, 1, 64), memory={0: clock(7, 0, 1, flags=1)})
    assert (sleeps, events(came, 1)) == ([], [(7, 0, 0)])


def test_an_absolute_time_is_waited_for(ask: Ask, sleeps: list[float]) -> None:
    """An absolute time to come is waited for by its own clock."""
    at = time.monotonic_ns() + 3_000_000_000
    came = ask(("poll_oneoff", 0, 1024, 1, 64), memory={0: clock(7, 1, at, flags=1)})
    assert events(came, 1) == [(7, 0, 0)]
    assert 0 < sleeps[0] <= 3


def test_streams_are_ready_at_once(ask: Ask, sleeps: list[float]) -> None:
    """Streams give their events without a wait; unknown ones and unknown clocks, an error."""
    wanted = clock(1, 1, 10**18) + stream(2, 1, 0) + stream(3, 2, 5) + clock(4, 3, 1)
    came = ask(("poll_oneoff", 0, 1024, 4, 64), memory={0: wanted})
    assert (sleeps, came.numbers(64, "<I")) == ([], (3,))
    assert events(came, 3) == [(2, 0, 1), (3, wasi.BADF, 2), (4, wasi.INVAL, 0)]


@pytest.mark.parametrize("wait", [10_000_000_000, 0xFFFF_FFFF_FFFF_FFFF])
def test_a_wait_beyond_the_deadline_ends_the_call(ask: Ask, sleeps: list[float], wait: int) -> None:
    """A guest that would sleep past its deadline is ended before, without the sleep."""
    with pytest.raises(DeadlineExceeded, match="missed its deadline of 5000 ms"):
        ask(("poll_oneoff", 0, 1024, 1, 64), memory={0: clock(7, 1, wait)})
    assert sleeps == []


def test_a_wait_is_really_waited(ask: Ask) -> None:
    """Time passes while a guest waits."""
    before = time.monotonic_ns()
    ask(("poll_oneoff", 0, 1024, 1, 64), memory={0: clock(7, 1, 2_000_000)})
    assert time.monotonic_ns() - before >= 2_000_000


def test_a_deadline_that_has_passed_ends_chance_too(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filling much memory with random bytes stops at the deadline."""
    monkeypatch.setattr(wasi, "_CHUNK", 1)
    with pytest.raises(DeadlineExceeded):
        ask(*[("random_get", 0, EOF)] * 200, timeout=0.001)


# As plugins


def refusal(make_app: MakeApp, **config: object) -> str:
    """Why the one plugin of the folder does not load."""
    app, plugins = make_app(**config)
    with app.app_context():
        (plugin,) = plugins.status()["plugins"]
    assert plugin["state"] == "failed"
    return str(plugin["load_error"])


EXIT = calling("proc_exit", 3)


def exiting(start: str = "", hook: str = guests.UNCHANGED) -> str:
    return guests.module(
        {"on_request": hook},
        imports=imported("proc_exit"),
        extra=f'(func (export "_initialize") {start})',
    )


def test_exit_fails_the_hook(folder: Path, make_app: MakeApp) -> None:
    """A guest that exits costs that hook's call, and the next call has a new instance."""
    (folder / "leaver.wat").write_text(exiting(hook=f"{EXIT} {guests.UNCHANGED}"))
    app, plugins = make_app()
    assert [app.test_client().get("/").status_code for _ in range(2)] == [503, 503]
    with app.app_context():
        assert "the guest exited with code 3" in plugins.status()["plugins"][0]["last_error"]


@pytest.mark.parametrize("code", [0, 3])
def test_exit_while_starting_fails_the_load(folder: Path, make_app: MakeApp, code: int) -> None:
    """Also a program that ends well has not become a plugin."""
    (folder / "leaver.wat").write_text(exiting(start=calling("proc_exit", code)))
    reason = f"initialisation failed: the guest exited with code {code}"
    assert reason in refusal(make_app)


def test_a_capability_that_is_not_granted_refuses_its_functions(
    folder: Path, make_app: MakeApp
) -> None:
    """A WASI import needs the grant of what it does, as any other import."""
    hooks = {"on_request": guests.UNCHANGED}
    (folder / "chance.wat").write_text(guests.module(hooks, imports=imported("random_get")))
    assert refusal(make_app, GRANTS=["log", "clock"]) == (
        "chance.wat: imports wasi_snapshot_preview1.random_get, but the app does not grant it the"
        " capability 'random'; add 'random' to PLUGIN_HOST_GRANTS, or use the plugin without it"
    )


def test_what_does_nothing_needs_no_grant(folder: Path, make_app: MakeApp) -> None:
    """A module whose runtime merely imports files and arguments loads without any grant."""
    free = "args_get", "path_open", "sock_send", "fd_close", "proc_exit", "environ_sizes_get"
    text = guests.module({"on_request": guests.UNCHANGED}, imports=" ".join(map(imported, free)))
    (folder / "frugal.wat").write_text(text)
    (folder / "frugal.toml").write_text("capabilities = []")
    app, plugins = make_app(GRANTS=[])
    with app.app_context():
        assert [p["state"] for p in plugins.status()["plugins"]] == ["serving"]
