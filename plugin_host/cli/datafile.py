"""Values of plugins' data, as people write and read them."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

from .options import Failure

#: The keys of a value that says more than its bytes.
_LONG = ("text", "json", "base64", "ttl")


class Change(NamedTuple):
    """What is to become of a key; a value of None deletes it."""

    key: bytes
    value: bytes | None
    ttl: float | None


def read_changes(source: bytes, ttl: float | None) -> list[Change]:
    """Read a mapping of keys to values, in JSON or YAML.

    A text stands for its UTF-8 bytes, a number for itself as text, null for deleting the key, a
    list or a table for its JSON. A table that has only keys out of ``text``, ``json``,
    ``base64`` and ``ttl`` says the value by one of the first three, and how long it stays.

    :param ttl: in seconds, for keys that do not say their own.
    :raises Failure: it is no such mapping.
    """
    document = _parse(source)
    if not isinstance(document, dict):
        raise Failure("the file is not a mapping of keys to values")
    return [_change(str(key), value, ttl) for key, value in document.items()]


def _parse(source: bytes) -> Any:
    try:
        return json.loads(source)
    except ValueError as exc:
        wrong = exc
    except RecursionError:
        raise Failure("the file is nested too deeply") from None
    try:
        import yaml
    except ImportError:
        raise Failure(
            f"the file is not JSON ({wrong}); for YAML, pip install 'flask-plugin-host[yaml]'"
        ) from wrong
    try:
        return yaml.safe_load(source)
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise Failure(f"the file is neither JSON nor YAML: {' '.join(str(exc).split())}") from exc


def _change(key: str, value: Any, ttl: float | None) -> Change:
    name = key.encode(errors="surrogateescape")
    if isinstance(value, dict) and value and set(value) <= set(_LONG):
        ttl = value.get("ttl", ttl)
        if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int | float)):
            raise Failure(f"{key}: the ttl is {ttl!r}; give seconds")
        given = [kind for kind in _LONG[:3] if kind in value]
        if len(given) != 1:
            raise Failure(f"{key}: give one of text, json and base64 besides the ttl")
        return Change(name, _bytes(key, given[0], value[given[0]]), ttl)
    if value is None:
        return Change(name, None, None)
    return Change(name, stored(value), ttl)


def _bytes(key: str, kind: str, value: Any) -> bytes:
    if kind == "json":
        return _json(value)
    if not isinstance(value, str):
        raise Failure(f"{key}: {kind} is {value!r}; give a text")
    if kind == "text":
        return value.encode(errors="surrogateescape")
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as exc:
        raise Failure(f"{key}: it is not base64: {exc}") from exc


def stored(value: Any) -> bytes:
    """Return the bytes that a plain value stands for."""
    if isinstance(value, str):
        return value.encode(errors="surrogateescape")
    return _json(value)


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str).encode()
    except (ValueError, TypeError) as exc:
        raise Failure(f"{value!r} cannot be JSON: {exc}") from exc


def shown(value: bytes) -> str:
    """Return bytes as text, or as base64 where they are none."""
    text = _text(value)
    return f"base64:{base64.b64encode(value).decode()}" if text is None else text


def shown_json(name: str, value: bytes | None) -> dict[str, Any]:
    """Return bytes for JSON: under ``name`` the text, or else under ``name_base64``."""
    text = None if value is None else _text(value)
    if value is not None and text is None:
        return {f"{name}_base64": base64.b64encode(value).decode()}
    return {name: text}


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
