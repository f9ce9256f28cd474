"""From a manifest's text to a checked, immutable `Manifest`."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from ..config import CAPABILITIES_ALLOWED, KIB, MIB, Settings, capability_hint, is_capability, show
from ..errors import ManifestError
from . import schema
from .bounded import TooLong, bounded
from .document import NAME_ALLOWED, NAME_PATTERN, Document, MatchTable
from .matching import Match, Rule
from .needs import RequestNeeds, ResponseNeeds, UnknownNeed
from .policy import OnFailure, Policy, policy_of, read_on_failure
from .prefetch import BadTemplate, Template, parse_templates
from .rollout import Rollout, RolloutTable
from .schema import check_config, check_json
from .selftest import SelfTest, read_selftests
from .table import BadKey, read_table

#: The longest manifest, in bytes.
MAX_MANIFEST: Final = 256 * KIB
#: Seconds of processor time to read one in; what is not meant to last takes milliseconds.
MOST_TIME: Final = 2.0
#: Characters and wildcards of all patterns under ``match`` together: each may cost a step for each
#: character of a request's path.
MOST_PATTERNS, MOST_WILDCARDS = 8192, 256

#: The time tomllib takes for a dotted key grows with the square of its parts, up to minutes.
_ENDLESS_KEY: Final = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*"|'[^'\n]*')[ \t]*+\.[ \t]*+){64}"""
)

Isolation = Literal["shared", "request"]
_Needs = TypeVar("_Needs", RequestNeeds, ResponseNeeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A checked manifest.

    :param name: in lower case.
    :param abi: the ABI version that the export must agree with; None is whatever the export says.
    :param hooks: the exports that are hooks; None is every export that can be one.
    :param timeout: the plugin's own deadline in seconds; None is the host's.
    :param memory: the plugin's own limit of linear memory in bytes; None is the host's.
    :param fuel: the plugin's own limit of fuel per call; None is the host's.
    :param isolation: whether what a guest keeps outlives a request.
    :param prefetch: the keys of the store that come along with a request.
    :param capabilities: what the plugin asks for; None is whatever it imports.
    :param on_failure: see `failure_policy`.
    :param rollout: how a new version is tried before it serves all; None: it serves all at once.
    :param selftest: calls that must come out as recorded before the plugin serves.
    """

    name: str
    version: str = "0"
    description: str = ""
    abi: int | None = None
    order: int = 100
    hooks: tuple[str, ...] | None = None
    match: Match = field(default_factory=Match)
    request_needs: RequestNeeds = field(default_factory=RequestNeeds)
    response_needs: ResponseNeeds = field(default_factory=ResponseNeeds)
    timeout: float | None = None
    memory: int | None = None
    fuel: int | None = None
    isolation: Isolation = "shared"
    prefetch: tuple[Template, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    config_schema: Mapping[str, Any] | None = None
    capabilities: frozenset[str] | None = None
    on_failure: OnFailure = field(default_factory=dict)
    oversize_body: Literal["omit", "reject"] = "omit"
    selftest: tuple[SelfTest, ...] = ()
    rollout: Rollout | None = None

    def failure_policy(self, hook: str) -> Policy:
        """Return what happens when ``hook`` fails."""
        return policy_of(self.on_failure, hook)

    def config_json(self, config: Mapping[str, Any] | None = None) -> bytes:
        """Return what ``ph_init`` gets: the same bytes for the same config.

        :param config: one to be used in place of the plugin's own.
        """
        value = self.config if config is None else config
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode()


@dataclass(frozen=True, slots=True)
class Limits:
    """What one plugin may use: seconds and fuel per call, bytes of linear memory per instance, and
    instances for more than one request. Fuel None is not counted.
    """

    timeout: float
    memory: int
    fuel: int | None = None
    isolation: Isolation = "shared"


def effective_limits(manifest: Manifest, settings: Settings) -> Limits:
    """Return the plugin's limits where they are lower than the app's, else the app's."""
    timeout, memory = manifest.timeout, manifest.memory
    fuels = [fuel for fuel in (manifest.fuel, settings.max_fuel) if fuel]
    isolated = manifest.isolation == "request" or settings.isolates(manifest.name)
    return Limits(
        timeout=settings.timeout if timeout is None else min(timeout, settings.timeout),
        memory=settings.max_memory if memory is None else min(memory, settings.max_memory),
        fuel=min(fuels) if fuels else None,
        isolation="request" if isolated else "shared",
    )


def parse_manifest(path: Path, *, stem: str, text: bytes | None) -> Manifest:
    """Return the manifest in ``text``, or the one that a plugin without a manifest has.

    :param path: the file that errors name, the ``.toml`` or the module.
    :param stem: the module's file name without suffix, the plugin's default name.
    :param text: TOML in UTF-8, or None if there is no manifest.
    :raises ManifestError: naming file, dotted key, value and what is allowed.
    """
    if text is not None and b"config_schema" in text:
        schema.prepare()
    try:
        # A schema's references to references can ask for the same check two to their number.
        with bounded(MOST_TIME):
            return _build(read_table(Document, _parse_toml(text), ""), stem)
    except TooLong:
        reason = f"the manifest takes more than {MOST_TIME:g} s to check"
        raise ManifestError(path, reason, "make it, or its config_schema, simpler") from None
    except BadKey as bad:
        raise ManifestError(path, bad.reason, bad.remedy) from bad.__cause__
    except RecursionError:
        raise ManifestError(path, "the manifest is nested too deeply", "flatten it") from None


def _parse_toml(text: bytes | None) -> dict[str, Any]:
    if text is None:
        return {}
    if len(text) > MAX_MANIFEST:
        reason = f"the manifest has {len(text)} bytes"
        raise BadKey(reason, f"allowed: at most {MAX_MANIFEST} bytes")
    try:
        # Editors on Windows put a byte order mark before UTF-8.
        source = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"the manifest is not UTF-8 at byte {error.start}"
        raise BadKey(reason, "save it as UTF-8") from error
    if _ENDLESS_KEY.search(source):
        raise BadKey("the manifest has a key of more than 64 parts", "flatten it")
    try:
        return tomllib.loads(source)
    except ValueError as error:  # TOMLDecodeError, and integers of thousands of digits
        reason = f"the manifest is not TOML: {error}"
        raise BadKey(reason, "see https://toml.io for the syntax") from error


def _build(document: Document, stem: str) -> Manifest:
    hooks = None if document.hooks is None else tuple(dict.fromkeys(document.hooks))
    needs, limits = document.needs, document.limits
    check_json(document.config, "config")
    if document.config_schema is not None:
        check_json(document.config_schema, "config_schema")
        check_config(document.config, document.config_schema)
    return Manifest(
        name=_name(document.name, stem),
        version=document.version,
        description=document.description,
        abi=document.abi,
        order=document.order,
        hooks=hooks,
        match=_match(document.match),
        request_needs=_needs(RequestNeeds, "needs.on_request", needs.on_request),
        response_needs=_needs(ResponseNeeds, "needs.on_response", needs.on_response),
        timeout=None if limits.timeout_ms is None else limits.timeout_ms / 1000,
        memory=None if limits.memory_mb is None else int(limits.memory_mb * MIB),
        fuel=limits.fuel,
        isolation=document.isolation,
        prefetch=_prefetch(document.state.prefetch),
        config=document.config,
        config_schema=document.config_schema,
        capabilities=_capabilities(document.capabilities),
        on_failure=read_on_failure(document.on_failure, hooks),
        oversize_body=document.oversize_body,
        rollout=_rollout(document.rollout),
        selftest=read_selftests(document.selftest, hooks, document.config_schema),
    )


def _name(name: str | None, stem: str) -> str:
    if name is None and not re.fullmatch(NAME_PATTERN, stem):
        reason = f"the file's name {stem!r} cannot be the plugin's name"
        remedy = f'rename the file, or say name = "…" in a manifest; allowed: {NAME_ALLOWED}'
        raise BadKey(reason, remedy)
    return (name or stem).lower()


def _match(tables: dict[str, Any] | list[Any]) -> Match:
    if isinstance(tables, dict):
        rules = [_rule(tables, "match.")]
    else:
        rules = [_rule(table, f"match[{i}].") for i, table in enumerate(tables)]
    text = "".join(chain(*(rule.paths or () for rule in rules)))
    text += "".join(chain(*(rule.endpoints or () for rule in rules)))
    wildcards = sum(map(text.count, "*?["))
    if len(text) > MOST_PATTERNS or wildcards > MOST_WILDCARDS:
        reason = f"match has patterns of {len(text)} characters with {wildcards} wildcards"
        raise BadKey(reason, f"allowed: {MOST_PATTERNS} and {MOST_WILDCARDS} in all")
    return Match(tuple(rules))


def _rule(table: Any, prefix: str) -> Rule:
    read = read_table(MatchTable, table, prefix)
    return Rule(
        paths=None if read.paths is None else tuple(read.paths),
        methods=None if read.methods is None else frozenset(map(str.upper, read.methods)),
        endpoints=None if read.endpoints is None else tuple(read.endpoints),
    )


def _needs(kind: type[_Needs], key: str, words: list[str] | None) -> _Needs:
    if words is None:
        return kind()
    try:
        return kind.parse(words)
    except UnknownNeed as unknown:
        raise BadKey(
            f"{key}[{unknown.index}] is {show(words[unknown.index])}", unknown.remedy
        ) from None


def _prefetch(texts: list[str]) -> tuple[Template, ...]:
    try:
        return parse_templates(texts)
    except BadTemplate as bad:
        reason = f"state.prefetch[{bad.index}] is {show(texts[bad.index])}"
        raise BadKey(reason, bad.remedy) from None


def _rollout(table: dict[str, Any] | None) -> Rollout | None:
    return None if table is None else Rollout.of(read_table(RolloutTable, table, "rollout."))


def _capabilities(names: list[str] | None) -> frozenset[str] | None:
    for index, name in enumerate(names or ()):
        if not is_capability(name):
            hint = capability_hint(name) or "the known are " + CAPABILITIES_ALLOWED
            raise BadKey(f"capabilities[{index}] is {name!r}", hint)
    return None if names is None else frozenset(names)
