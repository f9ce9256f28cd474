"""The contracts between the app and its plugins: of a business hook, and of a question."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from .config import did_you_mean, show
from .errors import ConfigError, PayloadError

#: What a hook can be called: an ASCII identifier that the ABI and the toolchains do not reserve.
HOOK_NAME: Final = r"^(?!ph_)[A-Za-z][A-Za-z0-9_]{0,127}\Z"
HOOK_ALLOWED: Final = (
    "an ASCII identifier of at most 128 characters that starts neither with '_' nor with 'ph_'"
)
HTTP_HOOKS: Final = ("on_request", "on_response")
_COMBINE: Final = ("first", "chain", "collect")
_LONGEST: Final = 60.0

Combine = Literal["chain", "first", "collect"]


@dataclass(frozen=True, slots=True)
class HookSpec:
    """What a business hook takes, answers, and how several plugins' answers combine.

    ``bytes`` as a type means that the bytes pass as they are; any other type is one that msgspec
    knows, and passes as JSON; None is any JSON.

    :param combine: ``first`` answer wins; ``chain`` feeds each answer to the next plugin;
        ``collect`` lists all answers.
    :param input: the payload's type.
    :param output: the answer's type; in a chain it is the payload's.
    :param timeout: deadline in seconds of each plugin's call; None is the host's.
    :param default: called with the payload when no plugin answers.
    :raises ConfigError: if the contract cannot be kept.
    """

    name: str
    combine: Combine = "first"
    input: Any = None
    output: Any = None
    timeout: float | None = None
    default: Callable[[Any], Any] | None = None
    _input: _Codec = field(init=False, repr=False, compare=False)
    _output: _Codec = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_name("hookspec", self.name)
        who = f"hookspec {self.name!r}"
        if self.combine not in _COMBINE:
            hint = did_you_mean(str(self.combine), _COMBINE)
            allowed = "'chain', 'first' or 'collect'" + (f"; {hint}" if hint else "")
            raise ConfigError(f"{who}: combine is {show(self.combine)}; allowed: {allowed}")
        if self.combine == "chain":
            self._close_chain(who)
        _check_timeout(who, self.timeout)
        if self.default is not None and not callable(self.default):
            raise ConfigError(f"{who}: default is {show(self.default)}; allowed: a function")
        object.__setattr__(self, "_input", _Codec(f"{who}: input", self.input))
        object.__setattr__(self, "_output", _Codec(f"{who}: output", self.output))

    def _close_chain(self, who: str) -> None:
        if self.output is None:
            object.__setattr__(self, "output", self.input)
        elif self.output != self.input:
            raise ConfigError(
                f"{who}: in a chain each answer is the next plugin's payload, so output"
                f" ({show(self.output)}) must be the same as input ({show(self.input)}) or left out"
            )

    def encode(self, payload: Any) -> bytes:
        """Return the bytes that a plugin gets.

        Fields that the payload leaves out come with their defaults, fields that its type does not
        know do not come.

        :raises PayloadError: if the payload does not fit `input`.
        """
        try:
            return self._input.encode(payload)
        except Exception as error:  # a type's own __post_init__ may raise anything
            raise PayloadError(f"the payload does not fit {self.name!r}: {error}") from error

    def decode(self, data: bytes) -> Any:
        """Return a plugin's answer.

        :raises PayloadError: if the bytes do not fit `output`.
        """
        try:
            return self._output.decode(data)
        except Exception as error:  # a type's own __post_init__ may raise anything
            raise PayloadError(f"the answer does not fit {self.name!r}: {error}") from error


@dataclass(frozen=True, slots=True)
class Question:
    """What plugins may ask the app; types are as in a `HookSpec`.

    :param input: the type of what a plugin sends along.
    :param output: the answer's type.
    :param answer: gives the answer; called with what the plugin sent.
    :raises ConfigError: if the contract cannot be kept.
    """

    name: str
    input: Any
    output: Any
    answer: Callable[[Any], Any]
    _input: _Codec = field(init=False, repr=False, compare=False)
    _output: _Codec = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_name("question", self.name)
        who = f"question {self.name!r}"
        if not callable(self.answer):
            raise ConfigError(f"{who}: answer is {show(self.answer)}; allowed: a function")
        object.__setattr__(self, "_input", _Codec(f"{who}: input", self.input))
        object.__setattr__(self, "_output", _Codec(f"{who}: output", self.output))

    def decode(self, data: bytes) -> Any:
        """Return what a plugin has sent; nothing at all stands for JSON's null.

        :raises PayloadError: if the bytes do not fit `input`.
        """
        try:
            return self._input.decode(data if data or self.input is bytes else b"null")
        except Exception as error:  # a type's own __post_init__ may raise anything
            raise PayloadError(f"what was sent does not fit {self.name!r}: {error}") from error

    def encode(self, answer: Any) -> bytes:
        """Return the bytes of an answer.

        :raises PayloadError: if the answer does not fit `output`.
        """
        try:
            return self._output.encode(answer)
        except Exception as error:
            raise PayloadError(f"the answer does not fit {self.name!r}: {error}") from error


class _Codec:
    """JSON, or plain bytes, of one type."""

    __slots__ = ("_decoder", "_raw", "_untyped")

    def __init__(self, who: str, kind: Any) -> None:
        self._raw = kind is bytes
        self._untyped = kind is None
        kind = Any if kind is None else kind
        try:
            self._decoder = msgspec.json.Decoder(kind)
            # A decoder accepts classes that it cannot decode; a schema can be made only of others.
            msgspec.json.schema(kind)
        except Exception as error:
            reason = str(error).rsplit("\n", 1)[-1]
            raise ConfigError(
                f"{who} is {show(kind)}, which msgspec cannot pass as JSON ({reason}); allowed: a"
                " msgspec.Struct, dataclass, TypedDict, or built-in type, bytes, or nothing"
            ) from error

    def encode(self, payload: Any) -> bytes:
        if self._raw or isinstance(payload, bytes | bytearray | memoryview):
            return self._encode_raw(payload)
        data = msgspec.json.encode(payload)
        if self._untyped:
            return data
        # By way of JSON, since msgspec.convert trusts an instance's fields without a look.
        return msgspec.json.encode(self._decoder.decode(data))

    def _encode_raw(self, payload: Any) -> bytes:
        if not self._raw:
            raise TypeError("bytes are no JSON; declare the type bytes to pass them as they are")
        if not isinstance(payload, bytes | bytearray | memoryview):
            raise TypeError(f"Expected `bytes`, got `{type(payload).__name__}`")
        return bytes(payload)

    def decode(self, data: bytes) -> Any:
        return bytes(data) if self._raw else self._decoder.decode(data)


def _check_name(what: str, name: Any) -> None:
    if not isinstance(name, str) or not re.match(HOOK_NAME, name):
        raise ConfigError(f"{what} {show(name)}: allowed as a name: {HOOK_ALLOWED}")
    if what == "hookspec" and name in HTTP_HOOKS:
        raise ConfigError(
            f"hookspec {name!r}: HTTP hooks have a contract of their own and need no hookspec;"
            " choose another name"
        )


def _check_timeout(who: str, timeout: Any) -> None:
    if timeout is None:
        return
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not number or not 0 < timeout <= _LONGEST:
        raise ConfigError(
            f"{who}: timeout is {show(timeout)}; allowed: more than 0 and at most {_LONGEST:g}"
            " seconds, or None for PLUGIN_HOST_TIMEOUT"
        )
