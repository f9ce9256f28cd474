"""Modules compiled once per machine: the first worker compiles, the others map its result.

`CompileCache.compile` never fails for the cache's sake: whatever is wrong with the folder, the
module is compiled as if there were no cache, and the log says so once.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import logging
import os
import platform
import re
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import wasmtime

from .. import osthread
from ..errors import ModuleError
from ..files.locking import Claim, acquire
from ..files.remedies import remedy
from ..wasm.compiler import BUDGET, OverBudget
from ..wasm.engine import Engine, fingerprint, over_budget
from .artefacts import Artefact, Artefacts, Rejected
from .key import NotRoots, Unusable
from .trim import trim_memory

logger = logging.getLogger("plugin_host")

#: Seconds to wait for another worker's compile before compiling the same: at start-up well below
#: the 30 s after which gunicorn kills a worker that has not reported.
WAIT = 10.0
#: The same in the background, where nobody waits for us.
WAIT_BACKGROUND = 60.0


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache did in this process, and how many bytes of artefacts its folder holds.

    :param hits: modules that were mapped.
    :param misses: modules that were compiled.
    :param rejected: artefacts that were altered, or not private; each was compiled anew.
    :param errors: times that the folder could not be used.
    """

    hits: int = 0
    misses: int = 0
    rejected: int = 0
    errors: int = 0
    bytes: int = 0


class CompileCache:
    """Compiled modules in a private folder, shared by all processes of a user.

    Artefacts are the same for fast and public engines. Safe to use from several threads and after
    a fork.

    :param directory: becomes a folder of mode 0700, of the user that first compiles.
    :param max_bytes: what all artefacts may take; a larger module is compiled each time.
    :param wait: seconds to wait for another worker's compile, in the foreground and background.
    :param budget: seconds of processor time that a compile may take. What takes longer is not
        tried again under the same budget, by no worker.
    """

    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        wait: tuple[float, float] = (WAIT, WAIT_BACKGROUND),
        budget: float = BUDGET,
    ) -> None:
        self.artefacts = Artefacts(directory, max_bytes)
        self._wait = wait
        self._budget = budget
        self._logged: set[str] = set()  # troubles that stand in the log, until a save succeeds
        self._forget()
        _caches.add(self)

    def compile(
        self, engine: Engine, wasm: bytes, path: Path, background: bool = False
    ) -> wasmtime.Module:
        """Map the compiled form of a binary module, or compile and keep it.

        Blocks the calling operating-system thread, without the GIL, while it compiles, and up to
        the cache's ``wait`` while another worker compiles the same.

        :param background: nobody waits for this worker: wait longer for another's compile.
        :raises ModuleError: see `Engine.compile`.
        """
        name = artefact_name(wasm, engine.metered)
        try:
            module = self._map(engine, name)
        except Rejected:
            module = None  # looked at again, and reported, when the lock is ours
        except Unusable as exc:
            self._trouble(exc)
            return self._compile(engine, wasm, path, background)
        if module is not None:
            return module
        with self._locked(name, self._wait[background]):
            return self._map_or_report(engine, name) or self._compile_and_keep(
                engine, wasm, path, name, background
            )

    def stats(self) -> CacheStats:
        """Counts of this process since its start or fork; reads the folder."""
        with self._counting:
            counts = dict(self._counts)
        return CacheStats(**counts, bytes=self.artefacts.total())

    def _map(self, engine: Engine, name: str) -> wasmtime.Module | None:
        with self.artefacts.verified(name) as artefact:
            if artefact is None:
                return None
            module = _load(engine, artefact)
            self.artefacts.touch(artefact, name)
        self._count("hits")
        return module

    def _map_or_report(self, engine: Engine, name: str) -> wasmtime.Module | None:
        try:
            return self._map(engine, name)
        except Rejected as exc:
            self._count("rejected")
            logger.warning(
                "compile cache: %s is not loaded but compiled again: %s",
                self.artefacts.directory / name,
                exc,
            )
        except Unusable as exc:
            self._trouble(exc)
        return None

    def _compile_and_keep(
        self, engine: Engine, wasm: bytes, path: Path, name: str, background: bool
    ) -> wasmtime.Module:
        verdict = artefact_name(wasm, engine.metered, f"abandoned after {self._budget} s")
        if why := self._verdict(verdict):
            raise over_budget(path, why) from why
        try:
            module = self._compile(engine, wasm, path, background)
        except ModuleError as exc:
            if isinstance(exc.__cause__, OverBudget):
                with suppress(Unusable, OSError):  # then every worker finds out by itself
                    self.artefacts.save(verdict, str(exc.__cause__).encode())
            raise
        try:
            self.artefacts.save(name, module.serialize())
            self._logged.clear()
            with self.artefacts.verified(name) as artefact:
                if artefact is not None:
                    # Mapped pages are shared with the other workers, what was compiled is not.
                    module = _load(engine, artefact)
        except Unusable as exc:
            self._trouble(exc)
        except Rejected as exc:
            what = "see whether the disk has a fault, and whether others write there"
            path = self.artefacts.directory / name
            self._trouble(Unusable(f"{path} cannot be read back: {exc}; {what}"))
        except OSError as exc:
            text = f"{self.artefacts.directory} cannot be written: {exc.strerror}"
            what = remedy(exc, "make room, or make it writable to this user")
            self._trouble(Unusable(f"{text}; {what}"))
        trim_memory()
        return module

    def _verdict(self, name: str) -> OverBudget | None:
        """Why a worker has abandoned a module, if one has."""
        with suppress(Unusable, Rejected), self.artefacts.verified(name) as artefact:
            if artefact is not None:
                return OverBudget(artefact.code().decode())
        return None

    def _compile(
        self, engine: Engine, wasm: bytes, path: Path, background: bool
    ) -> wasmtime.Module:
        module = engine.compile(wasm, path, self._budget, background)
        self._count("misses")
        return module

    @contextmanager
    def _locked(self, name: str, timeout: float) -> Iterator[None]:
        """Hold the machine's lock on a module, or go on without if that takes too long."""
        path = self.artefacts.directory / f"{name}.lock"
        claim: Claim | None = None
        try:
            claim = acquire(path, timeout)
            if claim is None:
                logger.warning(
                    "compile cache: another worker has been compiling the same module for %g s;"
                    " this one compiles it too",
                    timeout,
                )
        except OSError as exc:
            # Where the folder is the trouble, keeping the module will fail too, and say so.
            logger.info(
                "compile cache: %s cannot be locked: %s; workers may compile the same module",
                self.artefacts.directory,
                exc.strerror,
            )
        try:
            yield
        finally:
            if claim is not None:
                claim.remove(path)

    def _trouble(self, exc: Unusable) -> None:
        self._count("errors")
        if (text := str(exc)) in self._logged:
            return
        self._logged.add(text)
        if isinstance(exc, NotRoots):
            logger.info("compile cache: %s", text)
        else:
            logger.warning("compile cache: %s; until then every worker compiles by itself", text)

    def _count(self, what: str) -> None:
        with self._counting:
            self._counts[what] += 1

    def _forget(self) -> None:
        """Start counting; a forked child does not know who had the lock."""
        self._counting = osthread.allocate_lock()
        self._counts = dict.fromkeys(("hits", "misses", "rejected", "errors"), 0)


def artefact_name(wasm: bytes, metered: bool = False, verdict: str = "") -> str:
    """The file name of a module's compiled form: by content, and by all that compiling depends on.

    It begins with wasmtime's version, by which `Artefacts.prune` goes.

    :param metered: whether the code counts fuel.
    :param verdict: for what is kept in place of the code.
    """
    digest = hashlib.sha256()
    words = [_release(), fingerprint(metered), _machine(), *[verdict] * bool(verdict)]
    for part in (wasm, *map(str.encode, words)):
        digest.update(hashlib.sha256(part).digest())
    return f"{_release()}-{digest.hexdigest()}.cwasm"


@functools.cache
def _release() -> str:
    """wasmtime's version, as a part of a file name."""
    return re.sub(r"[^\w.+]", "_", importlib.metadata.version("wasmtime"))


@functools.cache
def _machine() -> str:
    """The processor that code is compiled for: wasmtime uses every feature it finds."""
    features = ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            # x86 calls them flags, ARM Features; the first processor stands for all.
            features = next((line for line in lines if line[:5] in ("flags", "Featu")), "")
    except OSError:
        pass  # not Linux; a folder is hardly shared between such machines
    return f"{sys.platform} {platform.machine()} {sys.maxsize} {' '.join(features.split())}"


def _load(engine: Engine, artefact: Artefact) -> wasmtime.Module:
    """Map what was verified.

    :raises Rejected: wasmtime refuses it, or it has changed since.
    """
    # The open file itself is mapped: nothing can take its place between verifying and mapping.
    path = f"/proc/self/fd/{artefact.fd}"
    if artefact.is_at(path):
        try:
            return wasmtime.Module.deserialize_file(engine.raw, path)
        except wasmtime.WasmtimeError:
            pass  # a file system mounted noexec; or the artefact is refused, below too
    try:
        return wasmtime.Module.deserialize(engine.raw, artefact.code())
    except wasmtime.WasmtimeError as exc:
        raise Rejected("wasmtime refuses it: " + str(exc).partition("\n")[0]) from exc


#: Every cache of this process.
_caches: weakref.WeakSet[CompileCache] = weakref.WeakSet()


def _after_fork() -> None:
    for cache in _caches:
        cache._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
