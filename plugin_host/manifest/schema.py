"""Checks a plugin's config: it must be plain JSON, and fit the plugin's own JSON Schema."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .patterns import is_quick
from .table import BadKey

_INT64 = range(-(2**63), 2**63)
_SCHEMA_KEY = "config_schema"


def dotted(key: str, path: list[Any]) -> str:
    """Return ``key`` and the steps below it, as in ``config.tiers[0].percent``."""
    return key + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def check_json(value: Any, key: str) -> None:
    """Check that JSON can carry a TOML value without changing it.

    :raises BadKey: for dates and times, NaN and infinities, and integers beyond 64 bits.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            check_json(item, f"{key}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check_json(item, f"{key}[{index}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise BadKey.value(key, value, "a finite number")
    elif isinstance(value, int):
        if value not in _INT64:
            raise BadKey.value(key, value, "an integer of 64 bits")
    elif not isinstance(value, str):
        raise BadKey.value(key, value, "what JSON can hold; write dates and times as text")


def prepare() -> None:
    """Import what `check_config` needs, which takes longer than most checks."""
    import jsonschema  # noqa: F401
    import referencing  # noqa: F401


def check_config(config: Mapping[str, Any], schema: Mapping[str, Any], key: str = "config") -> None:
    """Check the config against the schema; nothing is fetched from anywhere.

    :param key: what the config is called in messages.
    :raises BadKey: if the schema is none, or the config does not fit it.
    """
    _check_patterns(schema, config)
    # Imported when first needed: it takes a tenth of a second, and many sites have no schema.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, ValidationError, best_match
    from referencing import Registry

    try:
        Draft202012Validator.check_schema(schema)
        # A registry of our own, because the default one would fetch a remote $ref.
        validator = Draft202012Validator(schema, registry=Registry())
        error = best_match(validator.iter_errors(config))
    except SchemaError as wrong:
        raise _bad_schema(wrong) from None
    except Exception as wrong:
        # References that lead nowhere or in a circle, and patterns that are no regular expressions,
        # end the validation in ways of their own; the schema is at fault in all of them.
        reason = f"{_SCHEMA_KEY} cannot be used: {type(wrong).__name__}: {wrong}"[:400]
        raise BadKey(
            reason, "allowed: a JSON Schema (draft 2020-12) that needs no other"
        ) from wrong
    if isinstance(error, ValidationError):
        raise _bad_config(error, key)


def _check_patterns(schema: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Check that no pattern of the schema could take for ever on a text of the config.

    :raises BadKey: one could, or is no regular expression.
    """
    patterns = dict(_patterns(schema, _SCHEMA_KEY))
    length = max(map(len, _texts(config)), default=0) if patterns else 0
    for pattern, where in patterns.items():
        try:
            quick = is_quick(pattern, length)
        except re.error as wrong:
            raise BadKey.value(where, pattern, f"a regular expression: {wrong}") from wrong
        if not quick:
            allowed = (
                "a pattern that ends soon on every text: no repetition of what is itself repeated"
                ' or has alternatives, unless it is possessive ("(…)*+"), and few "*" and "+"'
            )
            raise BadKey.value(where, pattern, allowed)


def _patterns(schema: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield whatever may be a regular expression in a schema, and where it is."""
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from _patterns(item, f"{key}[{index}]")
    if not isinstance(schema, dict):
        return
    for name, item in schema.items():
        if name == "pattern" and isinstance(item, str):
            yield item, f"{key}.pattern"
        if name == "patternProperties" and isinstance(item, dict):
            yield from ((pattern, f"{key}.patternProperties") for pattern in item)
        yield from _patterns(item, f"{key}.{name}")


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a config, names of keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _short(message: str) -> str:
    return message if len(message) <= 200 else message[:200] + "…"


def _bad_schema(error: Any) -> BadKey:
    bad = BadKey.value(dotted(_SCHEMA_KEY, list(error.absolute_path)), error.instance, "")
    return BadKey(
        bad.reason, f"a JSON Schema (draft 2020-12) does not allow it: {_short(error.message)}"
    )


def _bad_config(error: Any, key: str) -> BadKey:
    rule = dotted(_SCHEMA_KEY, list(error.absolute_schema_path))
    bad = BadKey.value(dotted(key, list(error.absolute_path)), error.instance, "")
    return BadKey(bad.reason, f"{rule} does not allow it: {_short(error.message)}")
