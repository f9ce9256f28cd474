"""What a guest's call of a host function costs, and what of it is the function's own work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.inprocess import Technologies
from benchmarks.measure import Case, Plan, measure
from benchmarks.results import Outcome
from plugin_host.config import CAPABILITIES, Settings
from plugin_host.hookspec import Question
from plugin_host.hostfunctions import offered, state_functions
from plugin_host.hostfunctions.app import App
from plugin_host.hostfunctions.services import Services
from plugin_host.hostfunctions.stage import LIVE
from plugin_host.state import Namespace
from plugin_host.wasm.engine import wat_to_wasm
from plugin_host.wasm.instance import Instance, Limits
from plugin_host.wasm.runtime import choose_engine, link

PATH = Path("calls.wat")
#: Calls of the host function in one call of the guest, which may emit no more events.
TIMES = 64
REFERENCE = "plugin_host.now"
KEY, VALUE = b"id/000007", b"v" * 100

_CALLS = {
    "now": ("now", "(param i32) (result i64)", "(i32.const 1)"),
    "get": (
        "state_get",
        "(param i32 i32 i32 i32 i32) (result i64)",
        "(i32.const 0) (i32.const 64) (i32.const 9) (i32.const 1024) (i32.const 512)",
    ),
    "admit": (
        "state_admit",
        "(param i32 i32 i32 i32 i64 i32 i32 i64 i32 i32) (result i64)",
        "(i32.const 0) (i32.const 64) (i32.const 9) (i32.const 3) (i64.const 1) (i32.const 64)"
        f" (i32.const 1) (i64.const {(1 << 63) - 1}) (i32.const 0) (i32.const 0)",
    ),
    "emit": (
        "emit",
        "(param i32 i32 i32 i32) (result i32)",
        "(i32.const 128) (i32.const 5) (i32.const 1024) (i32.const 100)",
    ),
    "call": (
        "call",
        "(param i32 i32 i32 i32 i32 i32) (result i32)",
        "(i32.const 128) (i32.const 5) (i32.const 1024) (i32.const 9) (i32.const 2048)"
        " (i32.const 512)",
    ),
    "session": (
        "session_get",
        "(param i32 i32 i32 i32) (result i32)",
        "(i32.const 128) (i32.const 5) (i32.const 2048) (i32.const 512)",
    ),
    "counter": ("counter", "(param i32 i32 i64)", "(i32.const 128) (i32.const 5) (i64.const 1)"),
    "histogram": (
        "histogram",
        "(param i32 i32 i64)",
        "(i32.const 128) (i32.const 4) (i64.const 4607182418800017408)",
    ),
}
#: The name of the event, the question, the key and the counter; a histogram has another one.
NAME = b"stock"


def _wat() -> str:
    imports = " ".join(
        f'(import "plugin_host" "{function}" (func ${name} {kind}))'
        for name, (function, kind, _) in _CALLS.items()
    )
    loops = " ".join(
        f"""(func (export "{name}") (result i64) (local $i i32)
          (loop {_call(name, kind, arguments)}
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $i) (i32.const {TIMES})))) (i64.const 0))"""
        for name, (_, kind, arguments) in _CALLS.items()
    )
    data = f'(data (i32.const 64) "{KEY.decode()}") (data (i32.const 128) "{NAME.decode()}")'
    return f'(module {imports} (memory (export "memory") 1) {data} {loops})'


def _call(name: str, kind: str, arguments: str) -> str:
    called = f"(call ${name} {arguments})"
    return f"(drop {called})" if "result" in kind else called


def _guest(services: Services) -> Instance:
    engine = choose_engine(True)
    functions = [function for function, _ in offered.functions(services).values()]
    module = engine.compile(wat_to_wasm(_wat().encode(), PATH), PATH)
    instance = link(engine, module, functions, PATH).instance(Limits(), monotonic(), 10.0)
    instance.stage = LIVE
    return instance


def _repeated(work: Callable[[], object]) -> Callable[[Any], object]:
    def call(_: Any) -> None:
        for _ in range(TIMES):
            work()

    return call


def _cases(guest: Instance, services: Services, space: Namespace) -> Iterator[Case]:
    def asking(name: str) -> Callable[[Any], object]:
        function = guest.function(name)
        return lambda _: function(0, monotonic(), 10.0)

    def emitting() -> Callable[[Any], object]:
        function = guest.function("emit")

        def call(_: Any) -> None:
            function(0, monotonic(), 10.0)
            services.flush(succeeded=True)

        return call

    def get() -> object:
        return space.get(KEY, deadline=monotonic() + 10)

    def admit() -> object:
        return space.put_if_fewer_than(b"id/", 1, KEY, b"v", deadline=monotonic() + 10)

    yield Case(REFERENCE, asking("now"), share=TIMES)
    yield Case("plugin_host.state_get", asking("get"), share=TIMES)
    yield Case("its work: Namespace.get", _repeated(get), share=TIMES)
    yield Case("plugin_host.state_admit", asking("admit"), share=TIMES)
    yield Case("its work: put_if_fewer_than", _repeated(admit), share=TIMES)
    yield Case("plugin_host.emit, and its delivery", emitting(), share=TIMES)
    yield Case("plugin_host.call, bytes both ways", asking("call"), share=TIMES)
    yield Case("plugin_host.session_get", asking("session"), share=TIMES)
    yield Case("plugin_host.counter", asking("counter"), share=TIMES)
    yield Case("plugin_host.histogram", asking("histogram"), share=TIMES)


def host_calls(_technologies: Technologies, plan: Plan) -> Outcome:
    """One call of each kind of host function, from a guest; operations on a store also by hand."""
    answer = Question("stock", bytes, bytes, lambda data: data)
    app = App({"stock": answer}, lambda event: None, {"stock": 7}.__getitem__)
    granted = frozenset(CAPABILITIES)
    services = replace(
        Services.of("guest", Settings.from_mapping({}, PATH)), app=app, granted=granted
    )
    space = services.store.namespace(state_functions.own_namespace("guest"))
    space.put(KEY, VALUE, deadline=monotonic() + 10)
    cases = list(_cases(_guest(services), services, space))
    return Outcome(measure(cases, plan, reference=REFERENCE), {})
