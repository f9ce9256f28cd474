"""What tests with a marker need besides Python: skipped without it, or failed where it is required.

A test with a marker of `TOOLS` is skipped, before any of its fixtures is made, when its tool is
missing. ``PLUGIN_HOST_TESTS_REQUIRE`` names, with commas between, the markers whose tests must
run: there a skip is a failure.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "PLUGIN_HOST_TESTS_REQUIRE"
REQUIRED = frozenset(filter(None, os.environ.get(VARIABLE, "").split(",")))
COMPILER = Path(__file__).parent / "plugin_host/sdk/assemblyscript/node_modules/assemblyscript"

#: By marker: programs (one of each group), packages, and files that must be there.
TOOLS: dict[str, tuple[tuple[tuple[str, ...], ...], tuple[str, ...], tuple[Path, ...]]] = {
    "node": ((("node",),), (), (COMPILER,)),
    "browser": (
        (("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)),
        ("selenium",),
        (),
    ),
    "clang": ((("clang",), ("wasm-ld",)), (), ()),
    "gevent": ((), ("gevent",), ()),
    "go": ((("go",),), (), ()),
    "redis": ((("redis-server",),), ("redis",), ()),
    "rust": ((("rustc",),), (), ()),
    "wasi_libc": ((("clang",), ("wasm-ld",)), (), (Path("/usr/lib/wasm32-wasi/libc.a"),)),
}


@functools.cache
def missing(marker: str) -> str:
    """Say what the tests with a marker lack on this machine; empty if nothing."""
    programs, packages, paths = TOOLS[marker]
    lacking = [" or ".join(names) for names in programs if not any(map(shutil.which, names))]
    lacking += [name for name in packages if importlib.util.find_spec(name) is None]
    lacking += [str(path) for path in paths if not path.exists()]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


def refuse_skip(report: pytest.TestReport, markers: set[str], required: frozenset[str]) -> None:
    """Turn a skipped test into a failed one if one of its markers is required."""
    named = sorted(required & markers)
    if report.skipped and named and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason} ({VARIABLE} names {', '.join(named)})"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that cannot run here."""
    for marker in item.iter_markers():
        if marker.name in TOOLS and (reason := missing(marker.name)):
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, pytest.TestReport]:
    """Fail a test that had to run and was skipped."""
    report: pytest.TestReport = yield
    refuse_skip(report, {marker.name for marker in item.iter_markers()}, REQUIRED)
    return report
