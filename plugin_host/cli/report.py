"""Everything there is to know of one plugin's files, as JSON-able values.

Sections, names and types are read out of the module without compiling it. Whether it would load,
and its ABI version, come from loading it, or from all the steps of that which run none of its code.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any, Final, Literal

from ..abi.guest import UnknownVersion
from ..config import KIB, Settings, touches
from ..errors import PluginLoadError
from ..folder.scan import Candidate
from ..hookspec import HOOK_NAME
from ..hostfunctions.offered import capabilities, select
from ..hostfunctions.services import Services
from ..loading import loader
from ..manifest import Manifest, RequestNeeds, ResponseNeeds, effective_limits
from ..modules.binary import (
    BinaryError,
    Export,
    FuncType,
    Import,
    ModuleInfo,
    custom_sections,
    read_module,
)
from ..modules.caps import refusal
from ..serving.plugin import ON_REQUEST, ON_RESPONSE
from ..wasm.engine import wat_to_wasm
from ..wasm.runtime import choose_engine, link
from .checking import attempt
from .output import error_json

PAGE: Final = 64 * KIB
_HOOK_TYPE: Final = FuncType(("i32",), ("i64",))


class Report:
    """One plugin's files, looked at.

    :param run: whether the plugin's code may run, under ``PLUGIN_HOST_INIT_TIMEOUT``.
    :raises ModuleError: it is no WebAssembly core module.
    """

    def __init__(self, candidate: Candidate, settings: Settings, *, run: bool) -> None:
        self.candidate = candidate
        self.settings = settings
        self.wasm, self.info = _module(candidate)
        self.source = _source(candidate, self.wasm)
        self.manifest: Manifest | None = None
        self.hooks: tuple[str, ...] = ()
        with contextlib.suppress(PluginLoadError):  # which is found again, in order, below
            self.manifest = loader.read_manifest(candidate, self.wasm)
            self.hooks = loader.find_hooks(candidate, self.info, self.manifest)
        self.ran = run
        self.abi: int | None = None
        self.error = self._run() if run else self._dry_run()

    @property
    def loads(self) -> bool | None:
        """Whether the plugin would load; None if only running its code could tell."""
        if self.error is not None:
            return False
        return True if self.ran else None

    def _run(self) -> PluginLoadError | None:
        """Load the plugin; return what is wrong."""
        plugin = attempt(self.candidate, self.settings)
        if not isinstance(plugin, PluginLoadError):
            self.abi = plugin.abi
            return None
        if isinstance(plugin.__cause__, UnknownVersion):
            self.abi = plugin.__cause__.version
        return plugin

    def _dry_run(self) -> PluginLoadError | None:
        """Take the loader's steps up to the trial instance; return what is wrong."""
        candidate, settings, path = self.candidate, self.settings, self.candidate.module_path
        try:
            loader.inspect_module(candidate, self.wasm)
            manifest = loader.read_manifest(candidate, self.wasm)
            loader.find_hooks(candidate, self.info, manifest)
            chosen = select(
                path,
                self.info.imports,
                manifest.capabilities,
                settings.granted(manifest.name),
                Services.of(manifest.name, settings),
            )
            engine = choose_engine(settings.fast_call)
            link(engine, engine.compile(self.wasm, path, settings.compile_timeout), chosen, path)
        except PluginLoadError as exc:
            return exc
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the whole report."""
        candidate = self.candidate
        return {
            "file": str(candidate.module_path),
            "format": candidate.module_path.suffix[1:],
            "size": len(candidate.module),
            "module_size": len(self.wasm),
            "digest": candidate.digest,
            "module_digest": candidate.module_digest,
            "loads": self.loads,
            "ran": self.ran,
            "error": error_json(self.error),
            "abi": self.abi,
            "memory": self._memory(),
            "start": self.info.start is not None,
            "manifest": self._manifest(),
            "imports": [self._import(item) for item in self.info.imports],
            "exports": [self._export(item) for item in self.info.exports],
            "sections": [
                {
                    "kind": section.kind,
                    "name": section.name or None,
                    "offset": section.offset,
                    "size": section.size,
                    "count": section.count,
                }
                for section in self.info.sections
            ],
        }

    def _memory(self) -> dict[str, Any] | None:
        """Return the sizes in bytes of the memory that is exported as such."""
        export = self.info.export("memory")
        if export is None or export.kind != "memory":
            return None
        memory = self.info.memories[export.index]
        return {
            "minimum": memory.minimum * PAGE,
            "maximum": None if memory.maximum is None else memory.maximum * PAGE,
            "limit": effective_limits(self.manifest or Manifest(name=""), self.settings).memory,
        }

    def _import(self, item: Import) -> dict[str, Any]:
        capability = capabilities().get((item.module, item.name))
        manifest = self.manifest
        asked = manifest is None or manifest.capabilities is None
        wanted = manifest.capabilities or () if manifest else ()
        asked = asked or touches(capability or "", wanted)
        name = manifest.name if manifest else "*"
        granted = touches(capability or "", self.settings.granted(name))
        return {
            "module": item.module,
            "name": item.name,
            "kind": item.kind,
            "type": _type(item.type),
            "offered": capability is not None,
            "capability": capability or None,
            "asked": asked if capability else None,
            "granted": granted if capability else None,
        }

    def _export(self, item: Export) -> dict[str, Any]:
        return {
            "name": item.name,
            "kind": item.kind,
            "type": _type(item.type),
            "role": self._role(item),
        }

    def _role(self, item: Export) -> Literal["hook", "unlisted", "abi"] | None:
        if item.name == "memory" or item.name in (*loader.REQUIRED, *loader.OPTIONAL):
            return "abi"
        if item.name in self.hooks:
            return "hook"
        can_be = item.type == _HOOK_TYPE and re.match(HOOK_NAME, item.name)
        return "unlisted" if can_be else None

    def _manifest(self) -> dict[str, Any]:
        beside = self.candidate.manifest_path if self.source == "beside" else None
        return {
            "source": self.source,
            "file": None if beside is None else str(beside),
            "values": None if self.manifest is None else self._values(self.manifest),
        }

    def _values(self, manifest: Manifest) -> dict[str, Any]:
        limits = effective_limits(manifest, self.settings)
        wanted = manifest.capabilities
        needs: dict[str, RequestNeeds | ResponseNeeds] = {
            ON_REQUEST: manifest.request_needs,
            ON_RESPONSE: manifest.response_needs,
        }
        return {
            "name": manifest.name,
            "version": manifest.version,
            "description": manifest.description,
            "abi": manifest.abi,
            "order": manifest.order,
            "hooks": list(self.hooks),
            "match": [
                {
                    "paths": rule.paths,
                    "methods": None if rule.methods is None else sorted(rule.methods),
                    "endpoints": rule.endpoints,
                }
                for rule in manifest.match.rules
            ],
            "needs": {hook: _words(need) for hook, need in needs.items() if hook in self.hooks},
            "limits": {
                "timeout": limits.timeout,
                "memory": limits.memory,
                "fuel": limits.fuel,
                "isolation": limits.isolation,
            },
            "capabilities": None if wanted is None else sorted(wanted),
            "on_failure": {hook: manifest.failure_policy(hook).word for hook in self.hooks},
            "oversize_body": manifest.oversize_body,
            "config": dict(manifest.config),
            "config_schema": manifest.config_schema,
            "selftest": len(manifest.selftest),
        }


def _module(candidate: Candidate) -> tuple[bytes, ModuleInfo]:
    path, wasm = candidate.module_path, candidate.module
    if path.suffix == ".wat":
        wasm = wat_to_wasm(wasm, path)
    try:
        return wasm, read_module(wasm)
    except BinaryError as exc:
        raise refusal(path, exc) from exc


def _source(candidate: Candidate, wasm: bytes) -> Literal["beside", "embedded", "none"]:
    if candidate.manifest is not None:
        return "beside"
    return "embedded" if custom_sections(wasm, loader.MANIFEST_SECTION) else "none"


def _words(needs: RequestNeeds | ResponseNeeds) -> list[str]:
    """Return what is needed in the manifest's words."""
    words = []
    if isinstance(needs, RequestNeeds):
        words += [name[1:] for name in needs.fields]
    if needs.headers is True:
        words.append("headers")
    else:
        words += [f"header:{name}" for name in needs.headers]
    flags = {name: getattr(needs, name, False) for name in ("body", "stream", "context")}
    return words + [name for name, needed in flags.items() if needed]


def _type(kind: FuncType | None) -> dict[str, list[str]] | None:
    return None if kind is None else {"params": list(kind.params), "results": list(kind.results)}
