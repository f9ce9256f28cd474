"""``python -m benchmarks``: run benchmarks, print a table, write JSON."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import (
    budgets,
    compiled,
    deadline,
    flask_request,
    hammer,
    host_calls,
    inprocess,
    isolation,
    ours,
    peers,
    reload_report,
    soak,
    state,
    throughput,
)
from benchmarks.measure import BATCH_NS, Plan
from benchmarks.results import Outcome, Report, table, write_json

US, MS = 1e3, 1e6

#: What is not measured against peers, by name; each takes the arguments that follow its own.
COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "reload": reload_report.main,
    "hammer": hammer.main,
    "deadline": deadline.main,
    "state": state.main,
    "soak": soak.main,
}


@dataclass(frozen=True)
class Benchmark:
    """A name on the command line, and what it runs.

    :param divide: nanoseconds per `unit`.
    :param rounds: how many rounds it gets for each one asked for: fewer where they are long, more
        where small differences are looked for.
    """

    name: str
    title: str
    unit: str
    divide: float
    run: Callable[[inprocess.Technologies, Plan], Outcome]
    rounds: float = 1


BENCHMARKS = (
    Benchmark("call", "a hook that does nothing", "µs", US, inprocess.empty_call),
    Benchmark("w1", "12 headers in, one header added", "µs", US, inprocess.w1),
    Benchmark("w2", "w1 and a 4 KiB body both ways", "µs", US, inprocess.w2),
    Benchmark("w3", "a million rounds of an integer hash", "ms", MS, inprocess.w3, 0.5),
    Benchmark("fresh-instance", "w1, a new instance for each call", "µs", US,
              inprocess.fresh_instance),
    Benchmark("isolation", "w1, in instances that are kept, put back, or made anew", "µs", US,
              isolation.isolation),
    Benchmark("cold-start", "from bytes to the first w1", "ms", MS, inprocess.cold_start, 0.25),
    Benchmark("record", "the record's two ends: encoding, looking up", "µs", US,
              inprocess.record_format),
    Benchmark("host-call", "a host function, called from a guest", "µs", US, host_calls.host_calls),
    Benchmark("flask", "a whole Flask request, CPU time", "µs", US, flask_request.request, 2),
    Benchmark("no-match", "a request that no plugin wants, CPU time", "µs", US,
              flask_request.no_match, 3),
    Benchmark("gunicorn", "one gunicorn worker, four connections", "requests/s", 1,
              throughput.throughput, 0.2),
)  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The command line."""
    names = ", ".join(benchmark.name for benchmark in BENCHMARKS)
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what plugin_host costs, against its peers in the same run. Candidates"
        " take turns in small batches; figures are medians, ratios are taken pair by pair. A peer"
        " whose package is missing is skipped and named: pip install -e '.[bench]' gets them all.",
        epilog="Figures are worth comparing within one run only. docs/benchmarks.md explains them."
        " Commands of their own: python -m benchmarks reload, python -m benchmarks hammer,"
        " python -m benchmarks deadline,"
        " python -m benchmarks state, python -m benchmarks soak.",
    )
    made.add_argument("names", nargs="*", metavar="NAME", help=f"what to run (all): {names}")
    made.add_argument("--list", action="store_true", help="list the benchmarks and stop")
    made.add_argument(
        "--quick", action="store_true", help="few, short rounds: to see that it works"
    )
    made.add_argument("--runs", type=int, metavar="N", help="rounds of each benchmark (40)")
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the results as JSON")
    return made


def chosen(names: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of these names, in the order of `BENCHMARKS`; all without a name.

    Raises `ValueError` for a name that there is not.
    """
    known = {benchmark.name for benchmark in BENCHMARKS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no benchmark {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return [benchmark for benchmark in BENCHMARKS if not names or benchmark.name in names]


def _progress(name: str) -> Callable[[str], None]:
    """A line on stderr that is written over on a terminal, and only its end elsewhere."""
    if sys.stderr.isatty():
        return lambda line: print(f"\r\x1b[K{name}: {line}", end="", file=sys.stderr, flush=True)
    return lambda _line: None


def run(benchmark: Benchmark, rounds: int, batch_ns: int) -> Report:
    """Run one benchmark; its progress goes to stderr."""
    print(f"{benchmark.name}: {benchmark.title} …", file=sys.stderr, flush=True)
    plan = Plan(max(2, round(rounds * benchmark.rounds)), batch_ns, _progress(benchmark.name))
    outcome = benchmark.run((*ours.ALL, compiled.CompiledGlue, *peers.ALL), plan)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    for name, reason in outcome.skipped.items():
        print(f"{benchmark.name}: {name} skipped: {reason}", file=sys.stderr)
    return Report(benchmark.name, benchmark.title, benchmark.unit, benchmark.divide, outcome)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 1 if a benchmark failed, 2 for a wrong name."""
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0] in COMMANDS:
        return COMMANDS[given[0]](given[1:])
    options = parser().parse_args(given)
    try:
        selected = chosen(options.names)
    except ValueError as exc:
        print(f"python -m benchmarks: {exc}", file=sys.stderr)
        return 2
    if options.list:
        for benchmark in selected:
            print(f"{benchmark.name:16}{benchmark.title}")
        return 0
    rounds = options.runs or (3 if options.quick else 40)
    batch_ns = BATCH_NS // 10 if options.quick else BATCH_NS
    settings = {"rounds": rounds, "quick": options.quick, "batch_ns": batch_ns}
    reports, failed = [], False
    for benchmark in selected:
        try:
            reports.append(run(benchmark, rounds, batch_ns))
        except Exception:
            # The others' results are worth having all the same.
            failed = True
            print(f"{benchmark.name} failed:\n{traceback.format_exc()}", file=sys.stderr)
    stand = budgets.summaries(reports)
    print(table(reports, budgets.markdown(stand), settings))
    if options.json:
        write_json(options.json, reports, stand, settings)
        print(f"written: {options.json}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
