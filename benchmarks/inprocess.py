"""The benchmarks that need no server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any
from unittest import mock

from benchmarks import works
from benchmarks.formats import Indexed, Joined
from benchmarks.measure import Case, Clock, Plan, Skipped, measure
from benchmarks.results import Outcome
from benchmarks.technology import Technology, guest, optional
from benchmarks.works import Environ

Technologies = Iterable[type[Technology]]

#: W3 in Python would take two seconds a call: it does a hundredth of the rounds, and is counted so.
_PYTHON_SHARE = 0.01


class WrongAnswer(Exception):
    """A candidate did not do the work."""


def _supports(technology: type[Technology], method: str) -> bool:
    return getattr(technology, method) is not getattr(Technology, method)


def _start(
    technologies: Technologies, method: str, skipped: dict[str, str], *, own: bool = False
) -> Iterable[Technology]:
    """Those that can do this work here; the reasons of the others go to `skipped`.

    :param own: leave out those that only inherit the work from another candidate.
    """
    for technology in technologies:
        if not _supports(technology, method) or (own and method not in vars(technology)):
            continue
        try:
            yield technology()
        except Skipped as reason:
            skipped[technology.name] = str(reason)


def _inputs(with_body: bool) -> Callable[[int], list[Environ]]:
    return lambda size: works.batch(size, with_body=with_body)


def _check_edit(name: str, edit: Callable[[Environ], Environ], with_body: bool) -> None:
    before, given = (works.batch(works.VARIANTS, with_body=with_body) for _ in range(2))
    for one, other in zip(before, given, strict=True):
        try:
            works.expect_edited(one, edit(other), with_body=with_body)
        except AssertionError as exc:
            raise WrongAnswer(f"{name}: {exc}") from exc


def _edits(technologies: Technologies, plan: Plan, method: str, with_body: bool) -> Outcome:
    skipped: dict[str, str] = {}
    cases = []
    for live in _start(technologies, method, skipped):
        edit = getattr(live, method)
        _check_edit(live.name, edit, with_body)
        cases.append(Case(live.name, edit, _inputs(with_body), done=live.close))
    return _measured(cases, plan, skipped)


def edits(technologies: Technologies, plan: Plan) -> Outcome:
    """W1 by these candidates, the first of which is the reference."""
    return _edits(technologies, plan, "edit", with_body=False)


def _measured(
    cases: list[Case], plan: Plan, skipped: dict[str, str], clock: Clock = time.thread_time_ns
) -> Outcome:
    try:
        return Outcome(measure(cases, plan, reference=_reference(cases), clock=clock), skipped)
    finally:
        for case in cases:
            case.done()


def _reference(cases: list[Case]) -> str:
    """Our own first candidate, if there is one."""
    return next((case.name for case in cases if case.name.startswith("plugin_host")), "")


def w1(technologies: Technologies, plan: Plan) -> Outcome:
    """W1: from environ to environ with one header added."""
    return _edits(technologies, plan, "edit", with_body=False)


def w2(technologies: Technologies, plan: Plan) -> Outcome:
    """W2: W1 and a JSON body that the guest rewrites."""
    return _edits(technologies, plan, "edit", with_body=True)


def fresh_instance(technologies: Technologies, plan: Plan) -> Outcome:
    """W1 in an instance made for this call alone, from a compiled module."""
    return _edits(technologies, plan, "fresh_edit", with_body=False)


def w3(technologies: Technologies, plan: Plan) -> Outcome:
    """W3: rounds of an integer hash inside the guest."""
    skipped: dict[str, str] = {}
    cases = []
    for live in _start(technologies, "hash", skipped, own=True):
        if live.hash(1000) != works.hash_in_python(1000):
            raise WrongAnswer(f"{live.name}: the hash is wrong")
        share = _PYTHON_SHARE if live.name.startswith("plain") else 1.0
        rounds = int(works.HASH_ROUNDS * share)
        cases.append(Case(_family(live), live.hash, _repeat(rounds), share, live.close))
    return _measured(cases, plan, skipped)


def _family(live: Technology) -> str:
    """The name without the way of marshalling, which plays no part here."""
    return live.name.partition(",")[0]


def _repeat(value: Any) -> Callable[[int], list[Any]]:
    return lambda size: [value] * size


def empty_call(technologies: Technologies, plan: Plan) -> Outcome:
    """A hook that has nothing to do: the lower bound of each technology."""
    skipped: dict[str, str] = {}
    cases = [
        Case(_family(live), live.nothing, done=live.close)
        for live in _start(technologies, "nothing", skipped, own=True)
    ]
    return _measured(cases, plan, skipped)


def cold_start(technologies: Technologies, plan: Plan) -> Outcome:
    """From the guest's bytes to the first result of W1, all made anew, by wall clock."""
    skipped: dict[str, str] = {}
    cases = []
    for technology in technologies:
        if not technology.cold_start or "edit" not in vars(technology):
            continue
        for name, setting in (("", technology.no_cache), (", from its cache", None)):
            if name and not technology.no_cache:
                continue
            run = _from_bytes(technology, setting or {})
            try:
                run(works.batch(1, with_body=False)[0])
            except Skipped as reason:
                skipped[technology.name] = str(reason)
            else:
                cases.append(Case(technology.name + name, run, _inputs(False)))
    return _measured(cases, plan, skipped, time.perf_counter_ns)


def _from_bytes(technology: type[Technology], setting: dict[str, str]) -> Callable[[Environ], None]:
    def run(environ: Environ) -> None:
        with mock.patch.dict(os.environ, setting):
            live = technology()
        live.edit(environ)
        live.close()

    return run


_LOOKUPS = 2000
_TWO = frozenset({"accept-language", "x-request-id"})


def record_format(_technologies: Technologies, plan: Plan) -> Outcome:
    """Both ends of the record: the host's encoding and a guest that looks up two of the headers."""
    try:
        wasmtime = optional("wasmtime", "wasmtime")
    except Skipped as reason:
        return Outcome([], {"both": str(reason)})
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    module = wasmtime.Module(engine, guest("lookup.wasm"))
    exports = wasmtime.Instance(store, module, []).exports(store)
    at = exports["buffer"](store)
    cases = []
    found = set()
    formats: tuple[tuple[str, type[Indexed] | type[Joined]], ...]
    formats = (("length-indexed", Indexed), ("separator-joined", Joined))
    for needs, how_many in ((None, "15 fields"), (_TWO, "2 fields")):
        for name, kind in formats:
            encode = kind(needs).encode
            record = encode(works.batch(1, with_body=False)[0])
            lookup = exports[name.partition("-")[2] + "_lookups"]
            exports["memory"].write(store, record, at)
            found.add(lookup(store, at, len(record), 1))
            cases.append(Case(f"host encodes {how_many}, {name}", encode, _inputs(False)))
            label = f"guest finds 2 of {how_many}, {name}"
            cases.append(_lookups(label, exports, store, at, record, lookup))
    if len(found) != 1:
        raise WrongAnswer(f"the formats gave different lengths: {found}")
    return Outcome(measure(cases, plan), {})


def _lookups(name: str, exports: Any, store: Any, at: int, record: bytes, lookup: Any) -> Case:
    """A guest's look-ups, many in one call so that the call does not count."""

    def place(size: int) -> list[None]:
        exports["memory"].write(store, record, at)
        return [None] * size

    size = len(record)
    return Case(name, lambda _: lookup(store, at, size, _LOOKUPS), place, share=_LOOKUPS)
