"""Recycling: which instances are not kept, and who makes the next ones."""

from __future__ import annotations

import random
import threading
from itertools import count
from pathlib import Path
from time import monotonic

import pytest
from deploying import until
from guests import HEAP, UNCHANGED, MakeApp, module, packed

from plugin_host.abi.guest import Guest, Wear
from plugin_host.errors import DeadlineExceeded, GuestError, GuestTrap
from plugin_host.wasm.engine import wat_to_wasm
from plugin_host.wasm.instance import Instance, Limits
from plugin_host.wasm.pool import Pool
from plugin_host.wasm.runtime import choose_engine, link

PATH = Path("guest.wat")
PAGE = 65_536
#: Grows memory by as many pages as its payload's first byte says.
GROW = f"(drop (memory.grow (i32.load8_u (i32.const {HEAP})))) {UNCHANGED}"


def instance(text: str, fast_call: bool = True, limits: Limits | None = None) -> Instance:
    """An instance of a module in the text format."""
    chosen = choose_engine(fast_call)
    compiled = chosen.compile(wat_to_wasm(text.encode(), PATH), PATH)
    return link(chosen, compiled, (), PATH).instance(limits or Limits(), monotonic(), 10.0)


def guest(wear: Wear, fast_call: bool = True) -> Guest:
    """A guest with 4 pages of memory."""
    made = instance(module({"ask": GROW}), fast_call)
    return Guest(made, ("ask",), b"", 1 << 20, monotonic(), 10.0, wear)


def ask(made: Guest, pages: int = 0, seconds: float = 0.002) -> bool:
    """Call it as a plugin does; return whether it was looked at and found worn."""
    made.call("ask", bytes((pages,)), monotonic(), 10.0)
    made.calls += 1
    made.seconds += seconds
    return made.seconds >= made.due and made.is_worn()


def test_a_guest_is_not_looked_at_after_each_call() -> None:
    """It is after its first call, and when it has been in use for another millisecond."""
    made, looked = guest(Wear()), []
    for number in range(1, 14):
        due = made.due
        ask(made, seconds=0.00026)
        if made.due != due:
            looked.append(number)
    assert looked == [1, 5, 9, 13]


def test_a_guest_whose_memory_has_grown_is_worn(fast_call: bool) -> None:
    """Above the bound it is worn, at the bound it is not."""
    made = guest(Wear(memory=8 * PAGE), fast_call)
    assert [ask(made, 4), ask(made, 1)] == [False, True]


def test_memory_that_was_there_from_the_start_wears_nothing() -> None:
    """A guest that begins above the bound is kept as long as it does not grow."""
    made = guest(Wear(memory=2 * PAGE))
    assert [ask(made), ask(made, 1)] == [False, True]


@pytest.mark.parametrize("calls", [1, 2, 3, 17])
def test_a_guest_is_worn_after_so_many_calls(calls: int) -> None:
    """RECYCLE_CALLS is exact, whenever guests are looked at otherwise."""
    made = guest(Wear(calls=calls))
    assert [ask(made, seconds=0.0) for _ in range(calls)] == [False] * (calls - 1) + [True]


def test_a_worn_instance_is_replaced_at_once_if_none_is_idle() -> None:
    """Whoever wore it out makes the next one; with another one idle nobody does."""
    made = count(1)
    pool = Pool(lambda start, timeout: next(made), 4)
    first = pool.acquire(0, 1)
    pool.replace(1.0)
    assert (first, list(pool.idle), pool.live) == (1, [2], 1)
    one, _other = pool.acquire(0, 1), pool.acquire(0, 1)
    pool.release(one)
    pool.replace(1.0)
    assert (list(pool.idle), pool.live) == ([2], 1)


def test_a_failure_to_replace_is_left_to_the_next_call() -> None:
    """The call that wore an instance out has its answer, whatever comes of the next one."""
    fail = [False]

    def make(start: float, timeout: float) -> str:
        if fail[0]:
            raise GuestTrap("start section")
        return "instance"

    pool = Pool(make, 1)
    pool.acquire(0, 1)
    fail[0] = True
    pool.replace(1.0)
    with pytest.raises(GuestTrap):
        pool.acquire(monotonic(), 1)
    fail[0] = False
    assert (pool.acquire(monotonic(), 1), pool.live) == ("instance", 1)


def making() -> bool:
    """Whether an instance is made in the background."""
    return any(thread.name == "plugin-host-maker" for thread in threading.enumerate())


def test_what_takes_long_to_make_is_made_in_the_background() -> None:
    """Neither who wore one out nor who finds none waits longer than a call may."""
    patience: list[float] = []

    def make(start: float, timeout: float) -> int:
        patience.append(timeout)
        if len(patience) > 1 and timeout < 5:
            raise DeadlineExceeded(timeout)
        return len(patience)

    pool = Pool(make, 1, patience=5.0)
    pool.acquire(0, 1)
    for call in ("replace", "replace", "discard"):
        if call == "replace":
            pool.replace(1.0)
        else:
            pool.discard()
            with pytest.raises(DeadlineExceeded):
                pool.acquire(monotonic(), 1)
        until(lambda: bool(pool.idle) and not making())
        assert pool.live == 1
        pool.acquire(0, 1)
    assert patience == [1, 1, 5.0, 5.0, 1, 5.0]


def test_what_cannot_be_made_in_the_background_leaves_its_place() -> None:
    """A making that fails there counts as none."""
    fail = [True]

    def make(start: float, timeout: float) -> str:
        if timeout < 5 and fail[0]:
            raise DeadlineExceeded(timeout)
        if fail[0]:
            raise GuestTrap("start section")
        return "instance"

    pool = Pool(make, 1, patience=5.0)
    with pytest.raises(DeadlineExceeded):
        pool.acquire(monotonic(), 1)
    until(lambda: pool.live == 0 and not making())
    fail[0] = False
    assert (pool.acquire(monotonic(), 1), pool.live) == ("instance", 1)


def test_without_a_thread_nothing_is_made_in_the_background(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the system gives no more threads, a call fails for its deadline as before."""

    def make(start: float, timeout: float) -> str:
        raise DeadlineExceeded(timeout)

    def start(target: object, name: str) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("plugin_host.wasm.pool.osthread.start", start)
    pool = Pool(make, 1, patience=5.0)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            pool.acquire(monotonic(), 1)
        assert (pool.live, pool._making.acquire(False)) == (0, True)
        pool._making.release()


def test_an_apps_instances_are_replaced_after_so_many_calls(
    make_app: MakeApp, folder: Path
) -> None:
    """With RECYCLE_CALLS a guest's memory of earlier calls ends; no call is lost in the counts."""
    adding = "(i32.store8 (i32.const 1024) (i32.add (i32.load8_u (i32.const 1024)) (i32.const 1)))"
    text = module({"ask": f"{adding} (i64.const {packed(1024, 1)})"}, data=[(1024, b"0")])
    (folder / "count.wat").write_text(text)
    app, plugins = make_app(RECYCLE_CALLS=3)
    plugins.hookspec("ask")
    with app.app_context():
        answers = [plugins.call("ask", 0) for _ in range(8)]
        status = plugins.status()["plugins"][0]
    assert answers == [1, 2, 3, 1, 2, 3, 1, 2]
    assert (status["calls"], status["errors"], status["instances"]) == (8, 0, 1)


def test_an_app_does_not_keep_an_instance_that_has_grown(make_app: MakeApp, folder: Path) -> None:
    """Past half of its limit of memory an instance goes, and the next call finds a small one."""
    size = f"""(i32.store8 (i32.const 1024) (i32.add (i32.const 48) (memory.size)))
        (drop (memory.grow (i32.const 2))) (i64.const {packed(1024, 1)})"""
    (folder / "grow.wat").write_text(module({"ask": size}))
    (folder / "grow.toml").write_text("limits.memory_mb = 0.625")  # ten pages
    app, plugins = make_app()
    plugins.hookspec("ask")
    with app.app_context():
        assert [plugins.call("ask", 0) for _ in range(4)] == [4, 4, 4, 4]


def test_an_error_wears_out_like_an_answer(make_app: MakeApp, folder: Path) -> None:
    """A guest that declares an error and has grown is not kept either."""
    grow = f"(drop (memory.grow (i32.const 4))) (i64.const {packed(1024, 1, error=True)})"
    size = f"""(i32.store8 (i32.const 1024) (i32.add (i32.const 48) (memory.size)))
        (i64.const {packed(1024, 1)})"""
    (folder / "grow.wat").write_text(module({"fail": grow, "size": size}))
    (folder / "grow.toml").write_text("limits.memory_mb = 0.75")  # twelve pages
    app, plugins = make_app()
    for name in ("fail", "size"):
        plugins.hookspec(name)
    with app.app_context():
        assert plugins.call("fail") is None
        assert plugins.call("size") == 4
        assert plugins.status()["plugins"][0]["errors"] == 1


def test_calls_that_declare_errors_count_for_recycling(make_app: MakeApp, folder: Path) -> None:
    """A guest that always declares an error is replaced after RECYCLE_CALLS, too."""
    adding = "(i32.store8 (i32.const 1024) (i32.add (i32.load8_u (i32.const 1024)) (i32.const 1)))"
    text = module(
        {"ask": f"{adding} (i64.const {packed(1024, 1, error=True)})"}, data=[(1024, b"0")]
    )
    (folder / "fails.wat").write_text(text)
    (folder / "fails.toml").write_text('on_failure = "fail"')
    app, plugins = make_app(RECYCLE_CALLS=3)
    plugins.hookspec("ask")
    said: list[str] = []
    with app.app_context():
        for _ in range(7):
            with pytest.raises(GuestError) as caught:
                plugins.call("ask", 0)
            said.append(caught.value.message)
        status = plugins.status()["plugins"][0]
    assert said == list("1231231")
    assert (status["calls"], status["errors"], status["instances"]) == (7, 7, 1)


@pytest.mark.parametrize(
    ("grow", "size", "most"),
    [
        ("(memory.grow (i32.const 1))", "(memory.size)", 16),
        ("(table.grow $t (ref.null func) (i32.const 1))", "(table.size $t)", 100),
    ],
    ids=["memory", "table"],
)
def test_growth_by_thousand_small_steps_ends_at_the_cap(
    fast_call: bool, grow: str, size: str, most: int
) -> None:
    """Memory and tables stop at their caps, however small the steps; the guest lives on."""
    text = f"""(module (memory 1) (table $t 1 funcref)
        (func (export "grow") (param $n i32) (result i64) (local $failed i64)
          (loop
            (if (i32.eq {grow} (i32.const -1))
              (then (local.set $failed (i64.add (local.get $failed) (i64.const 1)))))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
          (local.get $failed))
        (func (export "size") (param i32) (result i64) (i64.extend_i32_u {size})))"""
    made = instance(text, fast_call, Limits(memory=16 * PAGE, table_elements=100))
    failed = made.function("grow")(5000, monotonic(), 10.0)
    assert failed == 5000 - (most - 1)
    assert made.function("size")(0, monotonic(), 10.0) == most


def test_what_a_guest_says_while_it_is_made_in_the_background_is_logged(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody's call is there to write it; and a plugin that starts slowly serves again."""
    spin = f"""(call $log (i32.const 1) (i32.const 1024) (i32.const 5))
        (local.set $end (i64.add (call $now (i32.const 1)) (i64.const 300000000)))
        (loop $l (br_if $l (i64.lt_s (call $now (i32.const 1)) (local.get $end)))) {UNCHANGED}"""
    init = f'(func (export "ph_init") (param $len i32) (result i64) (local $end i64) {spin})'
    imports = """(import "plugin_host" "now" (func $now (param i32) (result i64)))
        (import "plugin_host" "log" (func $log (param i32 i32 i32)))"""
    text = module({"ask": GROW}, data=[(1024, b"hello")], extra=init, imports=imports)
    (folder / "slow.wat").write_text(text)
    (folder / "slow.toml").write_text("limits = { timeout_ms = 50, memory_mb = 0.5 }")
    caplog.set_level("INFO", "plugin_host.plugin.slow")
    app, plugins = make_app()
    plugins.hookspec("ask", input=bytes, output=bytes)
    with app.app_context():
        for times in (2, 3):
            plugins.call("ask", b"\1")  # more than half of its limit
            until(lambda: caplog.messages.count("hello") >= times and not making())  # noqa: B023
        assert plugins.status()["plugins"][0]["errors"] == 0


@pytest.mark.parametrize("hook", ["unreachable", UNCHANGED])
def test_an_instance_may_not_say_another_version_than_the_first(
    make_app: MakeApp, folder: Path, fast_call: bool, hook: str
) -> None:
    """A guest that throws dice for its ABI version fails by its policy, and never the request."""
    dice = random.Random("0 dicer").randbytes  # as RANDOM_SEED gives them to this plugin
    assert [dice(1)[0] >> 7 for _ in range(3)] == [1, 0, 0]
    version = """(func (export "ph_abi_version") (result i32) (call $random (i32.const 8)
      (i32.const 1)) (i32.shr_u (i32.load8_u (i32.const 8)) (i32.const 7)))"""
    text = module({"on_request": hook}).replace(
        '(func (export "ph_abi_version") (result i32) (i32.const 1))', version
    )
    imported = '(module (import "plugin_host" "random" (func $random (param i32 i32)))'
    (folder / "dicer.wat").write_text(text.replace("(module", imported))
    (folder / "dicer.toml").write_text('on_failure = "skip"')
    app, plugins = make_app(FAST_CALL=fast_call, RANDOM_SEED=0, RECYCLE_CALLS=1)
    app.add_url_rule("/", view_func=lambda: "the page")
    client = app.test_client()
    assert [client.get("/").text for _ in range(6)] == ["the page"] * 6
    with app.app_context():
        (status,) = plugins.status()["plugins"]
    assert "was built for ABI version 0" in status["last_error"]
