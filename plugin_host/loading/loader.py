"""From a candidate's bytes to a plugin that is proven to work, or the reason why not.

Everything that can fail is done here, before anything serves: nothing that this module returns has
to be taken back.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic

from .. import trust
from ..abi import guest as native
from ..abi.guest import Guest
from ..compilecache.cache import CompileCache
from ..config import Settings
from ..config.text import did_you_mean
from ..errors import (
    DeadlineExceeded,
    ExportError,
    GuestError,
    HookError,
    InitError,
    LoadDelayed,
    ManifestError,
    ModuleError,
    NoResources,
)
from ..folder.scan import Candidate
from ..hookspec import HOOK_NAME
from ..hostfunctions.offered import select
from ..hostfunctions.services import Services
from ..hostfunctions.state_prefetch import check_granted
from ..manifest import Manifest, effective_limits, parse_manifest
from ..modules.binary import BinaryError, FuncType, ModuleInfo, custom_sections, read_module
from ..modules.caps import refusal
from ..modules.debuginfo import harmless_debuginfo
from ..serving.breaker import Breaker
from ..serving.plugin import ON_REQUEST, ON_RESPONSE, Fresh, Plugin
from ..serving.policies import policies
from ..wasm.engine import wat_to_wasm
from .granting import shown
from .making import Maker
from .selftest import SelfTests

#: The custom section that may hold the manifest.
MANIFEST_SECTION = "plugin_host.manifest"

_HOOK_TYPE = FuncType(("i32",), ("i64",))
#: Exports that a guest must have, and those that must have this type if they are there.
REQUIRED = {
    "ph_abi_version": FuncType((), ("i32",)),
    "ph_alloc": FuncType(("i32",), ("i32",)),
}
OPTIONAL = {
    "ph_init": _HOOK_TYPE,
    native.SELFTEST: _HOOK_TYPE,
    "_initialize": FuncType((), ()),
}


def load(
    candidate: Candidate,
    settings: Settings,
    cache: CompileCache | None = None,
    background: bool = False,
    services: Callable[[str, Settings], Services] = Services.of,
) -> Plugin:
    """Verify a candidate completely and return the plugin.

    :param cache: where compiled code is kept; None compiles.
    :param background: requests are being served, and nobody waits for this.
    :param services: makes what the plugin's host functions may use, given its name.

    The module is checked, compiled and linked, and a trial instance is made under
    ``PLUGIN_HOST_INIT_TIMEOUT``; the trial instance then serves the first call. What the plugin
    has of tests of its own must pass, on other instances.

    :raises PluginLoadError: with the file, the reason and the remedy.
    """
    signed_name = trust.check(candidate, settings)
    path, wasm = candidate.module_path, _binary(candidate)
    info = inspect_module(candidate, wasm)
    manifest = read_manifest(candidate, wasm)
    trust.admit(candidate, manifest.name, signed_name, settings)
    granted = settings.granted(manifest.name)
    manifest = shown(candidate.manifest_path or path, manifest, granted)
    check_granted(candidate.manifest_path or path, manifest, granted)
    hooks = find_hooks(candidate, info, manifest)
    fallbacks = policies(candidate.manifest_path or path, manifest, hooks)
    given = services(manifest.name, settings)
    functions = select(path, info.imports, manifest.capabilities, granted, given)
    limits = effective_limits(manifest, settings)
    code = harmless_debuginfo(wasm)
    try:
        make = Maker(
            path, code, info, hooks, manifest, limits, functions, settings, cache, background
        )
        trial = _trial(candidate, functools.partial(make, monotonic(), settings.init_timeout))
        tests = SelfTests(candidate, manifest, hooks, make, settings, given)
        tests.run(exported=info.export(native.SELFTEST) is not None)
    except NoResources as exc:
        raise LoadDelayed(path, exc.message) from exc
    finally:
        given.flush(succeeded=False)
    return Fresh(
        path=path,
        digest=candidate.digest,
        manifest=manifest,
        abi=trial.version,
        hooks=hooks,
        timeout=limits.timeout,
        make=make,
        trial=trial,
        size=settings.max_instances,
        max_result=settings.max_result,
        init_timeout=settings.init_timeout,
        services=given,
        policies=fallbacks,
        breaker=Breaker.of(f"plugin {manifest.name} {manifest.version}", settings),
    )


def plugin_name(candidate: Candidate) -> str:
    """Return the name that the candidate's manifest gives it, without loading it.

    :raises PluginLoadError: the text, the sections or the manifest are wrong.
    """
    try:
        return read_manifest(candidate, _binary(candidate)).name
    except BinaryError:  # loading it will say what is wrong
        return candidate.stem.lower()


def known_hooks(candidate: Candidate) -> tuple[Manifest, tuple[str, ...]]:
    """Return the manifest and the hooks of files that may not load, as far as they tell.

    :raises PluginLoadError: there is no manifest that can be read.
    """
    try:
        wasm = _binary(candidate)
    except ModuleError:
        wasm = b""  # a manifest beside it tells enough
    try:
        manifest = read_manifest(candidate, wasm)
    except BinaryError as exc:
        raise refusal(candidate.module_path, exc) from exc
    if manifest.hooks is not None:
        return manifest, manifest.hooks
    try:
        return manifest, find_hooks(candidate, read_module(wasm), manifest)
    except (BinaryError, ExportError):
        said = manifest.on_failure
        return manifest, tuple(said) if isinstance(said, Mapping) else ()


def _binary(candidate: Candidate) -> bytes:
    if candidate.module_path.suffix == ".wat":
        return wat_to_wasm(candidate.module, candidate.module_path)
    return candidate.module


def inspect_module(candidate: Candidate, wasm: bytes) -> ModuleInfo:
    """Read what the module says of itself, before anything is compiled."""
    path = candidate.module_path
    try:
        info = read_module(wasm)
    except BinaryError as exc:
        raise refusal(path, exc) from exc
    if info.export("_start") is not None and info.export("_initialize") is None:
        raise ExportError(
            path,
            "is a WASI command, which runs once and ends: it exports _start, and no _initialize",
            "build it as a reactor: clang -mexec-model=reactor, Rust's crate-type cdylib,"
            " go build or tinygo build with -buildmode=c-shared",
        )
    memory = info.export("memory")
    if memory is None or memory.kind != "memory":
        raise ExportError(path, "exports no memory", 'export the linear memory as "memory"')
    for name, expected in REQUIRED.items():
        _check_type(candidate, info, name, expected)
    for name, expected in OPTIONAL.items():
        if info.export(name) is not None:
            _check_type(candidate, info, name, expected)
    return info


def read_manifest(candidate: Candidate, wasm: bytes) -> Manifest:
    """Parse the manifest beside the module, else the one embedded in it, else the default."""
    path, text = candidate.module_path, None
    if candidate.manifest is not None and candidate.manifest_path is not None:
        path, text = candidate.manifest_path, candidate.manifest
    else:
        sections = custom_sections(wasm, MANIFEST_SECTION)
        if len(sections) > 1:
            raise ManifestError(
                path,
                f"has {len(sections)} custom sections {MANIFEST_SECTION!r}",
                "embed one manifest",
            )
        text = bytes(sections[0]) if sections else None
    manifest = _parsed(path, candidate.stem, text)
    if manifest.abi is not None and manifest.abi not in native.VERSIONS:
        raise ManifestError(
            path,
            f"abi is {manifest.abi}, this host speaks {_versions()}",
            "build the plugin for a version that the host speaks, or upgrade the host",
        )
    return manifest


@functools.lru_cache(maxsize=16)
def _parsed(path: Path, stem: str, text: bytes | None) -> Manifest:
    """Parse a manifest: for the plugin's name first, and then to load it."""
    return parse_manifest(path, stem=stem, text=text)


def find_hooks(candidate: Candidate, info: ModuleInfo, manifest: Manifest) -> tuple[str, ...]:
    """Return the plugin's hooks: those that the manifest lists, else every export that can be."""
    if manifest.hooks is not None:
        for name in manifest.hooks:
            _check_type(candidate, info, name, _HOOK_TYPE)
        return manifest.hooks
    hooks = tuple(
        item.name
        for item in info.exports
        if item.type == _HOOK_TYPE and re.match(HOOK_NAME, item.name)
    )
    if not hooks:
        raise ExportError(
            candidate.module_path,
            "exports no hook",
            f"export on_request, on_response or a business hook as {_show(_HOOK_TYPE)}",
        )
    for name in (ON_REQUEST, ON_RESPONSE):
        if info.export(name) is not None:
            _check_type(candidate, info, name, _HOOK_TYPE)
    return hooks


def _check_type(candidate: Candidate, info: ModuleInfo, name: str, expected: FuncType) -> None:
    item = info.export(name)
    remedy = f"export it as {_show(expected)}"
    if item is None or item.kind != "func":
        found = "no export of that name" if item is None else f"a {item.kind} of that name"
        alike = (each.name for each in info.exports if each.type == expected)
        if item is None and (hint := did_you_mean(name, alike)):
            remedy = f"{hint} Else {remedy}"
        raise ExportError(
            candidate.module_path,
            f"does not export the function {name}: there is {found}",
            remedy,
        )
    if item.type != expected:
        raise ExportError(candidate.module_path, f"exports {name} as {_show(item.type)}", remedy)


def _show(kind: FuncType | None) -> str:
    params, results = kind or FuncType((), ())
    return f"({', '.join(params)}) -> ({', '.join(results)})"


def _versions() -> str:
    return ", ".join(map(str, native.VERSIONS))


def _trial(candidate: Candidate, make: Callable[[], Guest]) -> Guest:
    """Make the first guest; what goes wrong here is the plugin's fault, not a request's."""
    path = candidate.module_path
    try:
        return make()
    except NoResources:
        raise
    except native.UnknownVersion as exc:
        raise ExportError(
            path, str(exc), "build it for a version that the host speaks, or upgrade the host"
        ) from exc
    except GuestError as exc:
        raise InitError(path, f"ph_init declared an error: {exc.message}") from exc
    except DeadlineExceeded as exc:
        raise InitError(
            path,
            f"its initialisation {exc.message}",
            "make its initialisation quicker, or raise PLUGIN_HOST_INIT_TIMEOUT",
        ) from exc
    except HookError as exc:
        raise InitError(path, f"its initialisation failed: {exc.message}") from exc
