"""What came of a recorded call, compared with what its manifest expects.

What is expected must be so; about everything else nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from ..config import show
from ..manifest.selftest import Expected
from ..message import REMOVE_HEADER, HeaderEdit, RequestEdits, ResponseEdits, edited_headers

#: By key of ``expect``; None is what did not come.
Came: TypeAlias = dict[str, Any]
#: Where two values differ, what was wanted there, and what came.
_Difference: TypeAlias = tuple[str, Any, Any] | None

#: The longest text that a message shows whole, and how much it shows before a difference.
_WHOLE, _LEAD = 70, 20


def came_of_request(edits: RequestEdits) -> Came:
    """Return what an ``on_request`` hook asks for; if it answers, its answer's headers and body."""
    answer = edits.answer
    if answer is None:
        headers, body = edited_headers([], edits.headers), edits.body
    else:
        headers, body = list(answer.headers), answer.body
    return {
        "unchanged": _parts(edits),
        "no_answer": answer is None,
        "status": None if answer is None else answer.status,
        "headers": _by_name(headers),
        "removed": _removed(edits.headers),
        "body": _text(body),
        "method": edits.method,
        "path": _wire_text(edits.path),
        "query": edits.query,
        "g": dict(edits.g),
        "context": _text(edits.context),
    }


def came_of_response(edits: ResponseEdits) -> Came:
    """Return what an ``on_response`` hook asks for."""
    return {
        "unchanged": _parts(edits),
        "status": edits.status,
        "headers": _by_name(edited_headers([], edits.headers)),
        "removed": _removed(edits.headers),
        "body": _text(edits.body),
    }


def came_of_answer(no_answer: bool, answer: Any) -> Came:
    """Return what a business hook answered."""
    return {"no_answer": no_answer, "answer": answer}


def _parts(edits: RequestEdits | ResponseEdits) -> list[str]:
    """Name what is edited."""
    return [name for name, value in edits._asdict().items() if value not in (None, ())]


def _by_name(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(str(_wire_text(value)))
    return values


def _removed(edits: Iterable[HeaderEdit]) -> list[str]:
    last = {name.lower(): op for op, name, _, _ in edits}
    return [name for name, op in last.items() if op == REMOVE_HEADER]


def _text(data: bytes | None) -> str | None:
    """Decode; what is not UTF-8 becomes what no text of a manifest has."""
    return None if data is None else data.decode("utf-8", "surrogateescape")


def _wire_text(text: str | None) -> str | None:
    return None if text is None else _text(text.encode("latin-1"))


def mismatch(expected: Expected, came: Came) -> str | None:
    """Return the first thing that is not as expected: where, what was wanted and what came."""
    for key in expected.__struct_fields__:
        wanted = getattr(expected, key)
        if wanted is None:
            continue
        difference = _COMPARERS.get(key, _whole)(key, wanted, came[key])
        if difference is not None:
            where, one, other = difference
            return f"{where}: expected {_shown(one, other)}, got {_shown(other, one)}"
    return None


def _whole(where: str, wanted: Any, came: Any) -> _Difference:
    """Compare as JSON: deep, true is not 1, 1 is 1.0, and null is as if it were left out."""
    if isinstance(wanted, dict) and isinstance(came, dict):
        keys = dict.fromkeys((*wanted, *came))
        pairs = [(f"{where}.{key}", wanted.get(key), came.get(key)) for key in keys]
    elif isinstance(wanted, list) and isinstance(came, list):
        pairs = [(f"{where}[{i}]", *pair) for i, pair in enumerate(zip(wanted, came, strict=False))]
        pairs.append((f"length of {where}", len(wanted), len(came)))
    else:
        equal = wanted == came and isinstance(wanted, bool) == isinstance(came, bool)
        return None if equal else (where, wanted, came)
    return next(filter(None, (_whole(*pair) for pair in pairs)), None)


def _unchanged(where: str, wanted: bool, parts: list[str]) -> _Difference:
    came = f"edits of {', '.join(parts)}" if parts else True
    return (where, wanted, came) if wanted is bool(parts) else None


def _headers(where: str, wanted: dict[str, Any], came: dict[str, list[str]]) -> _Difference:
    for name, value in wanted.items():
        values = came.get(name.lower(), [])
        if values != ([value] if isinstance(value, str) else value):
            few = isinstance(value, str) and len(values) <= 1
            return f"{where}.{name}", value, next(iter(values), None) if few else values
    return None


def _g(where: str, wanted: dict[str, str], came: dict[str, str]) -> _Difference:
    pairs = ((f"{where}.{name}", value, came.get(name)) for name, value in wanted.items())
    return next((pair for pair in pairs if pair[1] != pair[2]), None)


def _all_removed(where: str, wanted: list[str], came: list[str]) -> _Difference:
    return None if {name.lower() for name in wanted} <= {*came} else (where, wanted, came)


_COMPARERS: dict[str, Callable[[str, Any, Any], _Difference]] = {
    "unchanged": _unchanged,
    "headers": _headers,
    "g": _g,
    "removed": _all_removed,
}


def _shown(value: Any, other: Any) -> str:
    """Return a value for a message; of two long texts what is around their first difference."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and isinstance(other, str) and len(value) > _WHOLE:
        start = max(0, _first_difference(value, other) - _LEAD)
        cut = value[start : start + _WHOLE]
        return f"{'…' if start else ''}{cut!r}{'…' if start + _WHOLE < len(value) else ''}"
    return show(value)


def _first_difference(one: str, other: str) -> int:
    shorter = min(len(one), len(other))
    return next((index for index in range(shorter) if one[index] != other[index]), shorter)
