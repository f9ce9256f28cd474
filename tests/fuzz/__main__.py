"""Fuzzes for as long as it is told: ``python -m tests.fuzz --seconds 600 module manifest``.

With Atheris where it is installed (it follows which code an input reaches), else with Hypothesis.
Each target runs in a process of its own. An input that fails, takes longer than `LATEST` seconds,
or more memory than `MOST` MiB, is written to a file, which is named at the end: correct the code,
and keep the input in ``tests/fuzz/corpus/<target>/`` under a name that says what was wrong.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

LATEST = 10
MOST = 2048


def _with_atheris(name: str, found: Path, seconds: float) -> None:
    """Run one target in this process, until the time is over; does not return."""
    import atheris

    with atheris.instrument_imports(include=["plugin_host"]):
        from fuzz.targets import CORPUS, TARGETS
    inputs = Path(tempfile.mkdtemp())
    shutil.copytree(CORPUS / name, inputs, dirs_exist_ok=True)
    options = {
        "max_total_time": int(seconds),
        "timeout": LATEST,
        "rss_limit_mb": MOST,
        "max_len": 65_536,
        "artifact_prefix": f"{found}/",
        "print_final_stats": 1,
    }
    flags = [f"-{key}={value}" for key, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(inputs)], TARGETS[name])
    atheris.Fuzz()


def _with_hypothesis(name: str, found: Path, seconds: float) -> None:
    """Run one target in this process, until the time is over or an input fails."""
    import faulthandler

    from hypothesis import HealthCheck, Phase, given, settings

    from fuzz.making import inputs
    from fuzz.targets import TARGETS

    target, end, count = TARGETS[name], time.monotonic() + seconds, 0
    last = found / "input"

    @settings(
        max_examples=2000,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(name))
    def run(data: bytes) -> None:
        nonlocal count
        count += 1
        last.write_bytes(data)  # the last one that runs is the one that hangs, or fails
        faulthandler.dump_traceback_later(LATEST, exit=True)
        target(data)

    while time.monotonic() < end:
        run()
    faulthandler.cancel_dump_traceback_later()
    last.unlink()
    print(f"{name}: {count} inputs")


def _engines() -> list[str]:
    found = ["atheris"] if importlib.util.find_spec("atheris") else []
    return [*found, "hypothesis"]


def _run(name: str, engine: str, seconds: float) -> list[Path]:
    """Run one target in a process of its own; return the inputs that failed."""
    found = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    command = [sys.executable, "-m", "tests.fuzz", name, "--engine", engine]
    command += ["--seconds", str(seconds), "--into", str(found)]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    failed = sorted(found.iterdir())
    if not failed:
        found.rmdir()
        if code:
            raise SystemExit(f"{name}: ended with {code}")
    return failed


def _fuzz(names: list[str], engine: str, seconds: float) -> int:
    from fuzz.targets import TARGETS

    if unknown := {*names} - TARGETS.keys():
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(TARGETS)}")
    failed = [path for name in names or TARGETS for path in _run(name, engine, seconds)]
    for path in failed:
        print(f"failed: {path}")
    return 1 if failed else 0


def main() -> int:
    """Run each target for its time, and say which inputs failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="without any: all")
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--engine", choices=("atheris", "hypothesis"), default=_engines()[0])
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine not in _engines():
        parser.error("atheris is not installed: pip install atheris, or --engine hypothesis")
    if options.into is None:
        return _fuzz(options.targets, options.engine, options.seconds)
    run = _with_atheris if options.engine == "atheris" else _with_hypothesis
    run(options.targets[0], options.into, options.seconds)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
