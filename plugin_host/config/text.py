"""Words for messages: how a wrong value is shown, and what was probably meant."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80
_repr.maxdict = _repr.maxlist = 8


def show(value: object) -> str:
    """Return a short ``repr`` of a wrong value, for a message."""
    try:
        return _repr.repr(value)
    except ValueError:  # an integer of more digits than Python turns into text
        return f"<{type(value).__name__}>"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?``, or an empty string when no known word is close."""
    by_folded = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(word.lower(), by_folded, n=1)
    return f"did you mean {by_folded[close[0]]!r}?" if close else ""
