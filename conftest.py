"""Makes a missing tool a failure where it has to be there: ``PLUGIN_HOST_TESTS_REQUIRE``.

Tests with a marker (``node``, ``browser``, …) skip themselves when their tool is missing. The
variable names, with commas between, the markers whose tests must run: there a skip is a failure.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

VARIABLE = "PLUGIN_HOST_TESTS_REQUIRE"
REQUIRED = frozenset(filter(None, os.environ.get(VARIABLE, "").split(",")))


def refuse_skip(report: pytest.TestReport, markers: set[str], required: frozenset[str]) -> None:
    """Turn a skipped test into a failed one if one of its markers is required."""
    missing = sorted(required & markers)
    if report.skipped and missing and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason} ({VARIABLE} names {', '.join(missing)})"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, pytest.TestReport]:
    report: pytest.TestReport = yield
    refuse_skip(report, {marker.name for marker in item.iter_markers()}, REQUIRED)
    return report
