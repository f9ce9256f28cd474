"""What the host counts itself, for Prometheus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import guests
from guests import MakeApp

from plugin_host.host.exposition import exposition


def plugin(**more: Any) -> dict[str, Any]:
    same = {"name": "price", "version": "1", "digest": "ab", "state": "serving", "calls": 2}
    return {**same, "errors": 1, "faults": 1, "seconds": 0.5, "load_error": None, **more}


def test_workers_are_added_up_and_counted() -> None:
    """Calls by plugin; workers by what they have; a failed load and an open breaker by worker."""
    refused = plugin(load_error="price.wasm: is empty", breaker={"state": "open"})
    said = exposition([{"plugins": [plugin()]}, {"plugins": [refused]}, {}]).splitlines()
    assert [line for line in said if not line.startswith("#")] == [
        'plugin_host_calls_total{plugin="price"} 4',
        'plugin_host_errors_total{plugin="price"} 2',
        'plugin_host_faults_total{plugin="price"} 2',
        'plugin_host_seconds_total{plugin="price"} 1.0',
        'plugin_host_workers{plugin="price",version="1",digest="ab",state="serving"} 2',
        'plugin_host_load_failed{plugin="price"} 1',
        'plugin_host_breaker_open{plugin="price"} 1',
    ]
    assert "# TYPE plugin_host_workers gauge" in said


def test_labels_are_escaped() -> None:
    """A version may have quotes, and the name of a file that does not load more."""
    said = exposition([{"plugins": [plugin(name="a\\b\n", version='"1"')]}])
    assert r'{plugin="a\\b\n",version="\"1\"",' in said


def test_a_file_that_does_not_load_is_in_the_metrics(make_app: MakeApp, folder: Path) -> None:
    """Alone, and beside what the plugins count."""
    (folder / "good.wat").write_text(guests.adding("x-a", "1"))
    (folder / "bad.wat").write_text("(module")
    app, plugins = make_app()
    with app.app_context():
        said = plugins.metrics_text()
    assert 'plugin_host_load_failed{plugin="bad"} 1\n' in said
    assert 'plugin="bad",version="",digest="' in said
    assert "# TYPE plugin_host_histogram histogram\n" in said
