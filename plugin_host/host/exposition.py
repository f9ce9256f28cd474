"""What workers say of their plugins, as metrics in Prometheus's text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

#: By family, the key of a plugin's status that it adds up.
_COUNTERS: Final = {
    "plugin_host_calls_total": "calls",
    "plugin_host_errors_total": "errors",
    "plugin_host_faults_total": "faults",
    "plugin_host_seconds_total": "seconds",
}

_Labels = tuple[tuple[str, str], ...]


def exposition(statuses: Iterable[dict[str, Any]]) -> str:
    """Return the metrics of what several workers gave as their status.

    The counters are what became of calls, by plugin; the gauges count workers.
    """
    plugins = [plugin for status in statuses for plugin in status.get("plugins", ())]
    lines: list[str] = []
    for family, key in _COUNTERS.items():
        values: Counter[_Labels] = Counter()
        for plugin in plugins:
            values[_by_name(plugin)] += plugin.get(key) or 0
        lines += _family(family, "counter", values)
    lines += _family("plugin_host_workers", "gauge", Counter(map(_by_version, plugins)))
    failing = (_by_name(plugin) for plugin in plugins if plugin.get("load_error"))
    lines += _family("plugin_host_load_failed", "gauge", Counter(failing))
    refusing = (_by_name(plugin) for plugin in plugins if _is_refused(plugin))
    lines += _family("plugin_host_breaker_open", "gauge", Counter(refusing))
    return "\n".join(lines) + "\n"


def _is_refused(plugin: dict[str, Any]) -> bool:
    return (plugin.get("breaker") or {}).get("state") in ("open", "half-open")


def _by_name(plugin: dict[str, Any]) -> _Labels:
    return (("plugin", str(plugin.get("name"))),)


def _by_version(plugin: dict[str, Any]) -> _Labels:
    keys = "version", "digest", "state"
    return (*_by_name(plugin), *((key, str(plugin.get(key) or "")) for key in keys))


def _family(name: str, kind: str, values: Counter[_Labels]) -> Iterator[str]:
    yield f"# TYPE {name} {kind}"
    for labels, value in sorted(values.items()):
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        yield f"{name}{{{shown}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
