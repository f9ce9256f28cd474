"""A plugin's log: capped, and written after the call, whatever became of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import guests
import pytest
from clocks import Clock
from guests import MakeApp

from plugin_host import PluginHost
from plugin_host.hostfunctions.guest_log import BURST, LONGEST, GuestLog
from plugin_host.throttle import Throttle
from plugin_host.wasm.instance import Instance

NO_INSTANCE = cast("Instance", None)
LOGGER = "plugin_host.plugin.chatty"


@pytest.fixture
def logger(caplog: pytest.LogCaptureFixture) -> logging.Logger:
    caplog.set_level(logging.INFO, LOGGER)
    return logging.getLogger(LOGGER)


def say(log: GuestLog, count: int, level: int = logging.INFO, text: str = "x") -> None:
    for _ in range(count):
        log(NO_INSTANCE, level, text)


def test_a_burst_passes_and_then_all_is_held_until_half_of_it_is_back(clock: Clock) -> None:
    """A throttle lets a burst pass, holds back until half of one is there, and says how many."""
    throttle = Throttle(2, 10, clock)
    assert [throttle.admits() for _ in range(13)] == [True] * 10 + [False] * 3
    clock.now += 2.4
    assert (throttle.admits(), throttle.resumed()) == (False, 0)
    clock.now += 0.1
    assert (throttle.resumed(), throttle.resumed()) == (4, 0)
    assert [throttle.admits() for _ in range(6)] == [True] * 5 + [False]


def test_long_lines_are_capped_at_the_lowest_rate(
    clock: Clock, logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """A line that costs nearly a burst is held back like others, without a word about each."""
    log = GuestLog(logger, 1, clock)
    for _ in range(1000):
        log(NO_INSTANCE, logging.INFO, "x" * 8192)
        log.flush()
        clock.now += 0.01
    # 10 s: a line for every 5 of them after the first, with two about what was left out.
    assert len(caplog.messages) <= 2 + 3 * 2


def test_nothing_is_written_before_the_flush(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """A line is only noted while the guest runs; a flush writes this thread's lines, in order."""
    log = GuestLog(logger, 100)
    log(NO_INSTANCE, logging.INFO, "one\n")
    log(NO_INSTANCE, logging.ERROR, "two")
    other = threading.Thread(target=say, args=(log, 1))
    other.start()
    other.join()
    assert caplog.messages == []
    log.flush()
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", r"one\n"),
        ("ERROR", "two"),
    ]
    assert len(log.pending) == 1  # the other thread's


def test_a_flood_is_cut_off_announced_and_counted(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    """Above the rate one line says so at once, and one says how many when it has ended."""
    log = GuestLog(logger, 10, clock)
    say(log, 1000)
    log.flush()
    passed = len(caplog.messages) - 1
    assert passed < 10 * BURST
    assert caplog.messages[-1] == "more than 10 lines per second: suppressing them"
    say(log, 500)
    log.flush()
    assert len(caplog.messages) == passed + 1
    clock.now += BURST
    assert log.pending  # so that the next call, whatever it says, flushes
    log.flush()
    assert caplog.messages[-1] == f"suppressed {1500 - passed} lines"
    assert not log.pending


def test_lines_below_the_level_are_dropped_and_not_counted(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    """A level that the operator has not asked for costs nothing of the rate."""
    log = GuestLog(logger, 1, clock)
    say(log, 1000, logging.DEBUG)
    say(log, 1, logging.ERROR, "important")
    log.flush()
    assert caplog.messages == ["important"]


def test_a_long_line_counts_as_several(
    logger: logging.Logger, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    """The rate bounds bytes as well as lines."""
    log = GuestLog(logger, 10, clock)
    say(log, 100, text="y" * 8192)
    log.flush()
    assert len(caplog.messages) - 1 == 10 * BURST // 9


def test_a_line_is_cut(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the host says of what a guest asked for: a host's name, say."""
    log = GuestLog(logger, 100)
    say(log, 1, text="y" * 1_000_000)
    say(log, 1, text="next")
    log.flush()
    assert caplog.messages == ["y" * LONGEST, "next"]


HOOKS = {
    "fine": "(call $log (i32.const 1) (i32.const 1024) (i32.const 4)) (i64.const 0)",
    "trap": "(call $log (i32.const 1) (i32.const 1024) (i32.const 4)) unreachable",
    "late": "(call $log (i32.const 1) (i32.const 1024) (i32.const 4)) (loop (br 0)) (i64.const 0)",
    "flood": "(loop (call $log (i32.const 1) (i32.const 1024) (i32.const 4)) (br 0)) (i64.const 0)",
}
CHATTY = guests.module(
    HOOKS,
    imports='(import "plugin_host" "log" (func $log (param i32 i32 i32)))',
    data=[(1024, b"word"), (1032, b"init")],
    extra="""(func (export "_initialize")
      (call $log (i32.const 1) (i32.const 1032) (i32.const 4)))""",
)


@pytest.fixture
def plugins(make_app: MakeApp, folder: Path, fast_call: bool) -> Iterator[PluginHost]:
    """A plugin that says a word in each of its hooks, and one when it starts."""
    (folder / "chatty.wat").write_text(CHATTY)
    app, plugins = make_app(FAST_CALL=fast_call, LOG_RATE=10)
    for name in HOOKS:
        plugins.hookspec(name)
    with app.app_context():
        yield plugins


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


@pytest.mark.parametrize("hook", ["fine", "trap", "late"])
def test_what_a_guest_said_is_written_whatever_became_of_it(
    plugins: PluginHost, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    """Lines of a call that ends well, traps or is late are written when it has ended."""
    caplog.clear()
    plugins.call(hook)
    assert said(caplog) == ["word"]


def test_a_flood_from_one_call_is_cut_off(
    plugins: PluginHost, caplog: pytest.LogCaptureFixture
) -> None:
    """A guest that does nothing but log costs a burst of lines."""
    plugins.call("flood")
    lines = said(caplog)
    assert (set(lines[:-1]), lines[-1]) == (
        {"word"},
        "more than 10 lines per second: suppressing them",
    )
    assert len(lines) <= 10 * BURST + 1
