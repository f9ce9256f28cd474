"""The benchmarks run, and measure what they say; no figure is ever asserted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import __main__ as runner  # noqa: E402
from benchmarks import inprocess, peers, works  # noqa: E402
from benchmarks.measure import Case, Plan, Skipped, figures, measure  # noqa: E402

#: Cold starts and servers are left to the real run.
SMOKE = ("call", "w1", "w2", "w3", "fresh-instance", "isolation", "record", "flask")


@pytest.mark.parametrize("name", SMOKE)
def test_runner(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At its smallest setting a benchmark checks every answer and reports each candidate."""
    target = tmp_path / "results" / "run.json"
    assert runner.main([name, "--quick", "--runs", "2", "--json", str(target)]) == 0
    document = json.loads(target.read_text())
    (found,) = document["benchmarks"]
    assert found["name"] == name
    names = [figure["candidate"] for figure in found["figures"]]
    assert names
    table = capsys.readouterr().out
    assert [n for n in names if f"| {n} |" not in table] == []
    assert document["environment"]["versions"]["wasmtime"]


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    """--list names every benchmark and runs none."""
    assert runner.main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [benchmark.name for benchmark in runner.BENCHMARKS]


def test_deadlines(capsys: pytest.CaptureFixture[str]) -> None:
    """Every deadline is measured by itself and beside the others, idle and beside busy threads."""
    assert runner.main(["deadline", "--calls", "1"]) == 0
    table = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(busy, beside, timeout) for _, busy, beside, timeout, *_ in table] == [
        (busy, beside, timeout)
        for busy in ("0", "2", "2, calling")
        for beside in ("no", "yes")
        for timeout in ("5 ms", "50 ms", "200 ms")
    ]


def test_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that there is not ends with status 2 and the names that there are."""
    assert runner.main(["w9"]) == 2
    error = capsys.readouterr().err
    assert "no benchmark w9" in error
    assert "w1, w2, w3" in error


def test_missing_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer whose package is missing is skipped with a reason, and the others run."""
    monkeypatch.setitem(sys.modules, "extism", None)
    with pytest.raises(Skipped, match="extism is not installed"):
        peers.ExtismJson()
    outcome = inprocess.w1((peers.ExtismJson, peers.PlainFunction), Plan(2, 1000))
    assert [figure.name for figure in outcome.figures] == ["plain Python function"]
    assert list(outcome.skipped) == ["Extism, JSON"]


def test_wrong_answer() -> None:
    """A candidate that does not do the work is not measured."""

    class Lazy(peers.PlainFunction):
        def edit(self, environ: works.Environ) -> works.Environ:
            return environ

    with pytest.raises(inprocess.WrongAnswer, match="plain Python function: x-lang is None"):
        inprocess.w1((Lazy,), Plan(2, 1000))


def test_ratios_are_paired() -> None:
    """A ratio compares what was measured in the same round."""
    one, other = figures({"reference": [10, 20, 40], "twice": [20, 40, 80]}, "reference")
    assert one.ratios == (1, 1, 1)
    assert other.ratios == (2, 2, 2)
    assert other.summary()["ratio"] == {"median": 2, "p10": 2, "p90": 2}
    assert other.differences == (10, 20, 40)


def test_measure_counts_calls_only() -> None:
    """Neither making inputs nor warming up counts; a part of a work counts as the whole."""
    now = 0

    def call(_: object) -> None:
        nonlocal now
        now += 1000

    def inputs(size: int) -> list[None]:
        nonlocal now
        now += 999_999
        return [None] * size

    cases = [Case("whole", call, inputs), Case("half", call, inputs, share=0.5)]
    whole, half = measure(cases, Plan(3, 100_000), clock=lambda: now)
    assert whole.samples == (1000, 1000, 1000)
    assert half.samples == (2000, 2000, 2000)


def test_works_are_as_documented() -> None:
    """The works have the sizes that the documentation states, in all variants."""
    for variant in range(works.VARIANTS):
        environ = works.environ(variant, with_body=True)
        headers = {key[5:]: value for key, value in environ.items() if key.startswith("HTTP_")}
        assert len(headers) == 12
        assert sum(len(name) + len(value) for name, value in headers.items()) == 646
        assert environ["CONTENT_LENGTH"] == "4133"
    assert len(works.BODY) == 4133


def test_documented() -> None:
    """docs/benchmarks.md describes every benchmark and names every peer."""
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    described = [benchmark.name for benchmark in runner.BENCHMARKS if f"`{benchmark.name}`" in text]
    assert described == [benchmark.name for benchmark in runner.BENCHMARKS]
    assert [peer.name for peer in peers.ALL if peer.name not in text] == []
