"""Fuel: a limit that goes by what a call computes, not by the clock."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest
from guests import ECHO, HEAP, MakeApp, module, packed

from plugin_host.abi.guest import Guest
from plugin_host.compilecache.cache import CompileCache, artefact_name
from plugin_host.config import Settings
from plugin_host.errors import DeadlineExceeded, GuestTrap, ModuleError
from plugin_host.manifest import Manifest, effective_limits, parse_manifest
from plugin_host.wasm.engine import engine, fingerprint, metered_engine, wat_to_wasm
from plugin_host.wasm.instance import UNLIMITED, Instance, Limits
from plugin_host.wasm.runtime import choose_engine, link
from plugin_host.wasm.selfcheck import self_check

PATH = Path("guest.wat")
#: Loops as often as the first byte of its payload says, times 100.
LOOP = f"""(local $n i32)
    (local.set $n (i32.mul (i32.const 100) (i32.load8_u (i32.const {HEAP}))))
    (block (loop (br_if 1 (i32.eqz (local.get $n)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1))) (br 0)))
    (i64.const 0)"""
#: Initialises for longer than any hook here may run.
LONG_INIT = """(func (export "ph_init") (param $len i32) (result i64)
    (local.set $len (i32.const 100000))
    (loop (br_if 0 (local.tee $len (i32.sub (local.get $len) (i32.const 1)))))
    (i64.const 0))"""


def instance(text: str, fast_call: bool) -> Instance:
    """An instance on an engine that counts fuel."""
    chosen = choose_engine(fast_call, metered=True)
    assert (chosen.fast, chosen.metered) == (fast_call, True)
    compiled = chosen.compile(wat_to_wasm(text.encode(), PATH), PATH)
    return link(chosen, compiled, (), PATH).instance(Limits(), monotonic(), 10.0)


def guest(fast_call: bool, fuel: int = UNLIMITED, text: str = "") -> Guest:
    """A guest whose hook ``ask`` loops, and may use so much."""
    made = instance(text or module({"ask": LOOP}, extra=LONG_INIT), fast_call)
    return Guest(made, ("ask",), b"", 1 << 20, monotonic(), 10.0, fuel=fuel)


def used(made: Guest, rounds: int) -> int:
    """What a call uses."""
    assert made.call("ask", bytes((rounds,)), monotonic(), 10.0) is None
    return made.instance.fuel - made.instance.fuel_left()


def test_a_call_that_uses_up_its_fuel_traps(fast_call: bool) -> None:
    """The error says how much it was and where the guest was; init is not limited."""
    with pytest.raises(GuestTrap, match=r"used up its fuel of 5000 \(in .*ask\)") as caught:
        used(guest(fast_call, 5000), 50)
    assert caught.value.code == "out_of_fuel"


def test_the_same_call_uses_the_same_fuel(fast_call: bool) -> None:
    """Fuel depends on what is computed alone: not on the instance, the limit, or other calls."""
    one, other = guest(fast_call), guest(fast_call, 10**6)
    amounts = [used(one, 7), used(one, 9), used(one, 7), used(other, 7)]
    assert amounts[0] == amounts[2] == amounts[3] < amounts[1]
    assert amounts[1] - amounts[0] == 2 * 100 * (used(one, 8) - used(one, 7)) // 100


def test_both_ways_of_calling_use_the_same_fuel() -> None:
    """A limit means the same with and without the fast call."""
    assert used(guest(True), 20) == used(guest(False), 20)


def test_each_call_may_use_the_whole_limit(fast_call: bool) -> None:
    """What one call needs is enough for every call; a round less (guests ask at loops) is not."""
    need = used(guest(fast_call), 3)
    enough, short = guest(fast_call, need + 1), guest(fast_call, need - 20)
    assert [used(enough, 3) for _ in range(5)] == [need] * 5
    with pytest.raises(GuestTrap, match="used up its fuel"):
        used(short, 3)


def test_what_a_trap_has_used_can_be_read(fast_call: bool) -> None:
    """After a trap, too, an instance tells what is left of what its latest call might use."""
    made = guest(fast_call, text=module({"ask": "unreachable"}))
    with pytest.raises(GuestTrap, match="unreachable"):
        made.call("ask", b"", monotonic(), 10.0)
    assert 0 < made.instance.fuel - made.instance.fuel_left() < 100


def test_a_deadline_holds_beside_fuel(fast_call: bool) -> None:
    """With fuel to spare, an endless loop ends at its deadline."""
    made = guest(fast_call, text=module({"ask": "(loop (br 0)) (i64.const 0)"}))
    with pytest.raises(DeadlineExceeded):
        made.call("ask", b"", monotonic(), 0.02)


def test_code_with_fuel_and_code_without_are_kept_apart(tmp_path: Path, fast_call: bool) -> None:
    """The compile cache maps for each kind of engine what was compiled for it."""
    wasm = wat_to_wasm(module({"ask": LOOP}).encode(), PATH)
    assert fingerprint(True) != fingerprint(False)
    assert artefact_name(wasm, True) != artefact_name(wasm, False)
    cache = CompileCache(tmp_path / "cache", 1 << 24)
    kinds = engine(fast_call), metered_engine(fast_call)
    for chosen in kinds + kinds:
        linked = link(chosen, cache.compile(chosen, wasm, PATH), (), PATH)
        assert linked.instance(Limits(), monotonic(), 10.0).metered is chosen.metered
    assert (cache.stats().misses, cache.stats().hits) == (2, 2)


def test_the_bindings_pass_their_self_check_with_fuel() -> None:
    """Fast calls on an engine that counts fuel are checked like any others."""
    self_check(metered_engine(True))


def test_an_engine_without_fuel_counts_none(fast_call: bool) -> None:
    """Plugins without a limit run code that does not count."""
    chosen = choose_engine(fast_call)
    compiled = chosen.compile(wat_to_wasm(module({"ask": LOOP}).encode(), PATH), PATH)
    made = link(chosen, compiled, (), PATH).instance(Limits(), monotonic(), 10.0)
    plain = Guest(made, ("ask",), b"", 1 << 20, monotonic(), 10.0, fuel=1)
    assert (plain.call("ask", bytes((200,)), monotonic(), 10.0), made.metered) == (None, False)


@pytest.mark.parametrize(
    ("own", "most", "fuel"),
    [(None, 0, None), (None, 500, 500), (300, 0, 300), (300, 500, 300), (900, 500, 500)],
)
def test_the_apps_limit_is_an_upper_bound(own: int | None, most: int, fuel: int | None) -> None:
    """A plugin can ask for less fuel than PLUGIN_HOST_MAX_FUEL, and for any limit without one."""
    read = Settings.from_mapping({"PLUGIN_HOST_MAX_FUEL": most}, "/")
    assert effective_limits(Manifest(name="a", fuel=own), read).fuel == fuel


def test_the_manifest_says_how_much() -> None:
    """``limits.fuel`` is a positive integer."""
    manifest = parse_manifest(PATH, stem="a", text=b"limits.fuel = 70000")
    assert manifest.fuel == 70_000


def test_a_plugin_without_fuel_left_fails_by_its_policy(make_app: MakeApp, folder: Path) -> None:
    """In a whole app: short calls are answered, long ones count as failures of the plugin."""
    answer = f"""(drop (call $work (local.get $len))) (local.set $len (i32.const 1))
        {ECHO}"""
    work = f"(func $work (param $len i32) (result i64) {LOOP})"
    (folder / "slow.wat").write_text(module({"ask": answer}, extra=work))
    (folder / "slow.toml").write_text("limits.fuel = 60000\n")
    app, plugins = make_app()
    plugins.hookspec("ask")
    with app.app_context():
        assert plugins.call("ask", 1) == 1  # the byte "1" is 49: 4 900 rounds
        (folder / "slow.toml").write_text("limits.fuel = 300\n")
        plugins.reload()
        assert plugins.call("ask", 1) is None
        status = plugins.status()["plugins"][0]
    assert "used up its fuel of 300" in status["last_error"]


def test_a_module_that_is_invalid_is_refused_with_fuel() -> None:
    """An engine that counts fuel allows the same proposals as any other."""
    wasm = wat_to_wasm(b"(module (memory i64 1))", PATH)
    for check in (metered_engine(False).compile, metered_engine(False).validate):
        with pytest.raises(ModuleError, match="not a valid WebAssembly module"):
            check(wasm, PATH)


def test_packed_results_are_not_touched(fast_call: bool) -> None:
    """Counting changes no result."""
    text = module({"ask": f"(i64.const {packed(HEAP, 3)})"})
    assert guest(fast_call, text=text).call("ask", b"abc", monotonic(), 10.0) == b"abc"
