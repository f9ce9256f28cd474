"""The benchmark of the store runs; no figure is asserted."""

from __future__ import annotations

import pytest

from benchmarks import state


@pytest.mark.slow
def test_the_benchmark_of_state(capsys: pytest.CaptureFixture[str]) -> None:
    """At its smallest setting every work has its table, with plain calls beside ours."""
    assert state.main(["--quick"]) == 0
    tables = capsys.readouterr().out
    assert [title for _, title, _ in state.WORKS if title not in tables] == []
    assert "| plain sqlite3 |" in tables
    assert "| admit | sqlite: |" in tables
