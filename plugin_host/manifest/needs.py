"""What of a request and of its response a plugin declared that its HTTP hooks need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ..config import did_you_mean

#: What an ``on_request`` hook can need besides headers and body, in the ABI's order.
REQUEST_FIELDS: Final = (
    "method",
    "scheme",
    "host",
    "path",
    "query",
    "remote",
    "protocol",
    "endpoint",
    "args",
    "cookies",
)
_REQUEST_WORDS: Final = (*REQUEST_FIELDS, "headers", "header:NAME", "body")
_RESPONSE_WORDS: Final = ("headers", "header:NAME", "body", "stream", "context")
TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class AllBut(frozenset[str]):
    """All names but these."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return not super().__contains__(name)


#: True for all headers, or the lower-case names of some.
Headers = Literal[True] | tuple[str, ...]


class UnknownNeed(Exception):
    """The word at `index` is no need; never leaves the package, becomes a `ManifestError`."""

    def __init__(self, index: int, remedy: str) -> None:
        self.index = index
        self.remedy = remedy
        super().__init__(index, remedy)


@dataclass(frozen=True, slots=True)
class RequestNeeds:
    """What a request record holds.

    :param fields: names of the ABI (``:path``), in the ABI's order.
    """

    fields: tuple[str, ...] = tuple(f":{name}" for name in REQUEST_FIELDS)
    headers: Headers = True
    body: bool = True

    @classmethod
    def parse(cls, words: Sequence[str]) -> RequestNeeds:
        """Read the words of a manifest.

        :raises UnknownNeed: for a word that is not one of them.
        """
        for index, word in enumerate(words):
            remedy = _remedy(word, _REQUEST_WORDS) or _remedy_for_request(word)
            if remedy:
                raise UnknownNeed(index, remedy)
        return cls(
            fields=tuple(f":{name}" for name in REQUEST_FIELDS if name in words),
            headers=_headers(words),
            body="body" in words,
        )


@dataclass(frozen=True, slots=True)
class ResponseNeeds:
    """What a response record holds.

    :param headers: also all but those that the plugin is not granted.
    :param stream: the body of a streamed or ``direct_passthrough`` response is buffered, too.
    """

    headers: Headers | AllBut = True
    body: bool = True
    stream: bool = False
    context: bool = True

    @classmethod
    def parse(cls, words: Sequence[str]) -> ResponseNeeds:
        """Read the words of a manifest; ``stream`` implies ``body``.

        :raises UnknownNeed: for a word that is not one of them.
        """
        for index, word in enumerate(words):
            remedy = _remedy(word, _RESPONSE_WORDS)
            if remedy:
                raise UnknownNeed(index, remedy)
        return cls(
            headers=_headers(words),
            body="body" in words or "stream" in words,
            stream="stream" in words,
            context="context" in words,
        )


def _headers(words: Iterable[str]) -> Headers:
    if "headers" in words:
        return True
    names = (word[7:].lower() for word in words if word.startswith("header:"))
    return tuple(dict.fromkeys(names))


def _remedy(word: str, known: tuple[str, ...]) -> str:
    """Return what to write instead, or nothing if the word is right."""
    if word.startswith("header:"):
        allowed = "allowed: 'header:' and a header's name, such as 'header:accept'"
        return "" if TOKEN.fullmatch(word[7:]) else allowed
    if word in known:
        return ""
    return did_you_mean(word, known) or "allowed: " + ", ".join(known)


def _remedy_for_request(word: str) -> str:
    name = word[7:].lower() if word.startswith("header:") else ""
    if name == "cookie":
        return "the Cookie header comes as 'cookies'"
    if name == "host":
        return "the Host header comes as 'host'"
    if "_" in name:
        # WSGI spells both '-' and '_' as '_'; servers drop the latter as a way to forge the former.
        return f"WSGI passes no such header; did you mean 'header:{name.replace('_', '-')}'?"
    return ""
