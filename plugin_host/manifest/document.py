"""The keys of a manifest: type, range, default, and the phrase that says what is allowed.

A new key is one field here and one in `plugin_host.manifest.parse.Manifest`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from ..config import CAPABILITIES_ALLOWED
from ..hookspec import HOOK_NAME
from .policy import BusinessPolicy, HttpPolicy
from .rollout import RolloutTable
from .selftest import STRUCTS as SELFTESTS
from .table import documented

#: Letters of either case are accepted and folded to lower case: names are compared in grants and
#: logs, and some file systems do not tell ``Shop.wasm`` from ``shop.wasm``.
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z"
NAME_ALLOWED: Final = (
    "1 to 64 ASCII letters, digits, '_', '.' and '-', of which the first is a letter or digit"
)
_METHOD: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}\Z"

Name = Annotated[str, Meta(pattern=NAME_PATTERN, description=NAME_ALLOWED)]
Version = Annotated[
    str, Meta(pattern=r"^[!-~]{1,64}\Z", description="text of 1 to 64 visible ASCII characters")
]
Description = Annotated[str, Meta(max_length=1000, description="text of at most 1000 characters")]
Abi = Annotated[int, Meta(ge=1, le=65535, description="an integer from 1 to 65535")]
Order = Annotated[int, Meta(ge=-10_000, le=10_000, description="an integer from -10000 to 10000")]
Hooks = Annotated[
    list[Annotated[str, Meta(pattern=HOOK_NAME)]],
    Meta(
        min_length=1,
        description="a list of exports that are identifiers and start neither with '_' nor 'ph_'",
    ),
]
Paths = Annotated[
    list[Annotated[str, Meta(pattern=r"^/[^\x00]{0,511}\Z")]],
    Meta(min_length=1, description="a list of path patterns that start with '/'"),
]
Methods = Annotated[
    list[Annotated[str, Meta(pattern=_METHOD)]],
    Meta(min_length=1, description="a list of HTTP methods"),
]
Endpoints = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=512)]],
    Meta(min_length=1, description="a list of patterns of Flask endpoints"),
]
RequestWords = Annotated[
    list[str], Meta(description="a list of fields, such as 'path' or 'header:accept'")
]
ResponseWords = Annotated[
    list[str], Meta(description="a list of fields, such as 'headers' or 'body'")
]
Keys = Annotated[list[str], Meta(description="a list of keys, such as 'cart:{cookies:session}'")]
Milliseconds = Annotated[
    float, Meta(ge=1, le=60_000, description="a number of milliseconds from 1 to 60000")
]
Mebibytes = Annotated[
    float, Meta(ge=0.0625, le=4095.9375, description="a number of MiB from 0.0625 to 4095.9375")
]
Fuel = Annotated[int, Meta(ge=1, le=10**18, description="an integer from 1 to 10**18")]
OneOrMoreTables = Annotated[
    dict[str, Any] | list[Any], Meta(description="a table or a list of tables")
]
Table = Annotated[dict[str, Any], Meta(description="a table")]
Schema = Annotated[
    dict[str, Any], Meta(description="a table that is a JSON Schema (draft 2020-12)")
]
Capabilities = Annotated[list[str], Meta(description=f"a list out of {CAPABILITIES_ALLOWED}")]
OnFailure = Annotated[
    str | dict[str, Any],
    Meta(description="'skip' or 'fail', or a table that says for each hook what happens"),
]
Rollout = Annotated[dict[str, Any] | None, Meta(description="a table")]
Isolation = Annotated[Literal["shared", "request"], Meta(description="'shared' or 'request'")]
Oversize = Annotated[Literal["omit", "reject"], Meta(description="'omit' or 'reject'")]


class MatchTable(msgspec.Struct, frozen=True):
    """The keys of a table under ``match``."""

    paths: Paths | None = None
    methods: Methods | None = None
    endpoints: Endpoints | None = None


class NeedsTable(msgspec.Struct, frozen=True):
    """The keys of the table ``needs``."""

    on_request: RequestWords | None = None
    on_response: ResponseWords | None = None


class LimitsTable(msgspec.Struct, frozen=True):
    """The keys of the table ``limits``."""

    timeout_ms: Milliseconds | None = None
    memory_mb: Mebibytes | None = None
    fuel: Fuel | None = None


class StateTable(msgspec.Struct, frozen=True):
    """The keys of the table ``state``."""

    prefetch: Keys = msgspec.field(default_factory=list)


class Document(msgspec.Struct, frozen=True):
    """The keys of a manifest."""

    name: Name | None = None
    version: Version = "0"
    description: Description = ""
    abi: Abi | None = None
    order: Order = 100
    hooks: Hooks | None = None
    match: OneOrMoreTables = msgspec.field(default_factory=list)
    needs: NeedsTable = NeedsTable()
    limits: LimitsTable = LimitsTable()
    isolation: Isolation = "shared"
    state: StateTable = StateTable()
    config: Table = msgspec.field(default_factory=dict)
    config_schema: Schema | None = None
    capabilities: Capabilities | None = None
    on_failure: OnFailure = msgspec.field(default_factory=dict)
    oversize_body: Oversize = "omit"
    selftest: OneOrMoreTables = msgspec.field(default_factory=list)
    rollout: Rollout = None


#: Every key that a manifest can hold, dotted, with what it may be.
MANIFEST_KEYS: Final = (
    *documented(Document),
    *documented(MatchTable, "match."),
    *documented(HttpPolicy, "on_failure.HOOK."),
    *documented(BusinessPolicy, "on_failure.HOOK."),
    *documented(RolloutTable, "rollout."),
    *{key: what for kind in SELFTESTS for key, what in documented(kind, "selftest.")}.items(),
)
