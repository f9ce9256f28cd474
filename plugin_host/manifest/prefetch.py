"""Templates of keys: what a plugin wants read from the store before ``on_request`` is called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ..config import did_you_mean
from .needs import TOKEN

#: Parts of a request that have no name of their own.
PLAIN: Final = ("method", "scheme", "host", "path", "query", "remote", "protocol", "endpoint")
#: Parts that are one of several by name: a header, or a parameter, cookie or argument of the view.
NAMED: Final = ("header", "query", "cookies", "args")
#: How many keys there may be, and the most bytes of a template.
MAX_KEYS: Final = 64
MAX_TEMPLATE: Final = 512

_piece = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Part(NamedTuple):
    """A part of a request; ``name`` is empty for one that has none, and lower case for a header."""

    kind: str
    name: str


#: Text, as bytes, and parts of the request, whose values are joined.
Template = tuple[bytes | Part, ...]


class BadTemplate(Exception):
    """A template is none; never leaves the package, becomes a `ManifestError`."""

    def __init__(self, index: int, remedy: str) -> None:
        self.index = index
        self.remedy = remedy
        super().__init__(index, remedy)


def parse_templates(texts: Sequence[str]) -> tuple[Template, ...]:
    """Read the list of a manifest.

    :raises BadTemplate: for a text that is no template, or one too many.
    """
    templates = []
    for index, text in enumerate(texts):
        if index == MAX_KEYS:
            raise BadTemplate(index, f"at most {MAX_KEYS} keys are read beforehand")
        if not 0 < len(text.encode()) <= MAX_TEMPLATE:
            raise BadTemplate(index, f"allowed: text of 1 to {MAX_TEMPLATE} bytes")
        try:
            templates.append(tuple(_pieces(text)))
        except ValueError as error:
            raise BadTemplate(index, str(error)) from None
    return tuple(dict.fromkeys(templates))


def _pieces(text: str) -> Iterator[bytes | Part]:
    literal, at = "", 0
    for found in _piece.finditer(text):
        literal += text[at : found.start()]
        at = found.end()
        if found[0] in ("{{", "}}"):
            literal += found[0][0]
            continue
        if found[1] is None:
            raise ValueError(f"a brace that stands for itself is doubled: {found[0] * 2!r}")
        if literal:
            yield literal.encode()
            literal = ""
        yield _part(found[1])
    if literal := literal + text[at:]:
        yield literal.encode()


def _part(word: str) -> Part:
    kind, colon, name = word.partition(":")
    if not colon and kind in PLAIN:
        return Part(kind, "")
    if colon and name and kind in NAMED:
        if kind != "header":
            return Part(kind, name)
        return Part(kind, _header(name.lower()))
    known = (*PLAIN, *(f"{each}:NAME" for each in NAMED))
    hint = did_you_mean(word, known) or "allowed in braces: " + ", ".join(known)
    raise ValueError(hint)


def _header(name: str) -> str:
    if name == "host":
        raise ValueError("the Host header comes as 'host'")
    if name == "cookie":
        raise ValueError("a cookie comes as 'cookies:NAME'")
    if not TOKEN.fullmatch(name) or "_" in name:
        raise ValueError(f"{name!r} is not a header that WSGI passes")
    return name
