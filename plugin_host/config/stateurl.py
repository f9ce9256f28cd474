"""The URL that says where plugins' state is kept.

Passwords come in here and go no further than `StateUrl.password`: no ``repr`` and no message
holds one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ..errors import ConfigError
from .keys import PREFIX, Key
from .text import did_you_mean

ALLOWED: Final = (
    "'memory:', 'sqlite:///PATH', 'redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]', 'rediss://…' for"
    " TLS, or 'unix://[[USER]:PASSWORD@]/PATH'"
)
_REDIS: Final = frozenset({"prefix"})
_TLS: Final = frozenset({"ca_certs", "certfile", "keyfile", "verify"})
#: Each scheme, and the options that may follow a question mark.
SCHEMES: Final[Mapping[str, frozenset[str]]] = {
    "memory": frozenset(),
    "sqlite": frozenset({"synchronous"}),
    "redis": _REDIS,
    "rediss": _REDIS | _TLS,
    "unix": _REDIS | {"db"},
}
_CHOICES: Final = {"synchronous": ("normal", "full"), "verify": ("yes", "no")}


@dataclass(frozen=True, slots=True)
class StateUrl:
    """Where state is kept; ``str`` and ``repr`` leave the password out.

    :param path: the file of ``sqlite``, the socket of ``unix``.
    :param options: what follows the question mark.
    """

    scheme: str
    path: Path = Path()
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    options: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        if self.scheme == "memory":
            return "memory:"
        if self.scheme in ("sqlite", "unix"):
            return f"{self.scheme}://{'/' if self.scheme == 'sqlite' else ''}{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{self.db}"


class _Wrong(Exception):
    """The text is what is wrong with a URL; it holds no part of it but scheme and options."""


def parse_state(value: Any) -> StateUrl | None:
    """Read a URL; None and an empty text are None.

    :raises ConfigError: it is not one of the `ALLOWED`; without the URL, it may hold a password.
    """
    if value is None or value == "" or isinstance(value, StateUrl):
        return value or None
    try:
        if not isinstance(value, str):
            raise _Wrong(f"is of type {type(value).__name__}")
        return _parse(value.strip())
    except (_Wrong, ValueError) as error:
        why = str(error) if isinstance(error, _Wrong) else "is not a URL"
        raise ConfigError(f"{PREFIX}STATE {why}; allowed: {ALLOWED}") from None


def _parse(text: str) -> StateUrl:
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES:
        hint = did_you_mean(parts.scheme, SCHEMES)
        shown = f"has the unknown scheme {parts.scheme!r}" if parts.scheme else "has no scheme"
        raise _Wrong(shown + (f", {hint}" if hint else ""))
    options = _options(parts)
    if parts.fragment:
        raise _Wrong("has a part after '#': write it as %23")
    if parts.scheme == "memory":
        if text != "memory:":
            raise _Wrong("has something after 'memory:'")
        return StateUrl("memory")
    if parts.scheme == "sqlite":
        return _sqlite(parts, options)
    return _redis(parts, options)


def _options(parts: SplitResult) -> dict[str, str]:
    known = SCHEMES[parts.scheme]
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name, value in options.items():
        if name not in known:
            hint = did_you_mean(name, known) or f"there are {', '.join(sorted(known)) or 'none'}"
            raise _Wrong(f"has the unknown option {name!r}, {hint}")
        if value not in _CHOICES.get(name, (value,)):
            raise _Wrong(f"has an option {name!r} that is not {' or '.join(_CHOICES[name])}")
    return options


def _sqlite(parts: SplitResult, options: dict[str, str]) -> StateUrl:
    path = unquote(parts.path)[1:]
    if parts.netloc or not path or "\0" in path:
        raise _Wrong("does not have three slashes and a path after 'sqlite:'")
    return StateUrl("sqlite", Path(path), options=options)


def _redis(parts: SplitResult, options: dict[str, str]) -> StateUrl:
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme == "unix":
        path, db = Path(unquote(parts.path)), options.pop("db", "0")
        if parts.hostname or not path.is_absolute() or path == Path("/"):
            raise _Wrong("does not have the absolute path of a socket after 'unix://'")
    else:
        path, db = Path(), parts.path.strip("/") or "0"
        if not parts.hostname:
            raise _Wrong("names no host")
    try:
        port = 6379 if parts.port is None else parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise _Wrong("has a port that is not a number from 1 to 65535")
    if not (db.isascii() and db.isdecimal()):
        raise _Wrong("has a database that is not a number")
    return StateUrl(
        scheme=parts.scheme,
        path=path,
        host=parts.hostname or "",
        port=port,
        user=user,
        password=password,
        db=int(db),
        options=options,
    )


def located(url: StateUrl | None, root: Path, data_dir: Path | None) -> StateUrl:
    """Say where state is kept by default, and below ``root`` if the URL has a relative path."""
    if url is None:
        if data_dir is None:
            return StateUrl("memory")
        return StateUrl("sqlite", data_dir / "state.sqlite3")
    if url.scheme != "sqlite":
        return url
    return StateUrl("sqlite", Path(os.path.abspath(root / url.path)), options=url.options)


STATE: Final = Key(
    "STATE",
    None,
    ALLOWED,
    "Where plugins' state is kept; default: a file in the data directory, or else memory.",
    parse_state,
)
