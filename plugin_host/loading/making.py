"""How a plugin's guests are made: of which module, on which engine, with which limits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..abi.guest import Guest, RestoredGuest, Wear
from ..compilecache.cache import CompileCache
from ..config import Settings
from ..hostfunctions.stage import LIVE, Stage
from ..manifest import Limits as PluginLimits
from ..manifest import Manifest
from ..modules.binary import ModuleInfo
from ..modules.caps import check_minimums
from ..modules.rewriting import restorable
from ..wasm.instance import UNLIMITED, HostFunction, Limits, Linked
from ..wasm.runtime import choose_engine, link

#: A guest whose linear memory is larger than this share of its cap is not kept.
WORN_SHARE = 0.5
#: A module whose bytes of code times the values of its widest type are more is not validated by
#: this process, where nothing could end that: a byte may name a label, and for each label the
#: engine looks at each value that a jump takes along, in up to 8 ns.
MOST_LOOKS = 1 << 28


class Maker:
    """Makes the guests of one version of a plugin.

    :param info: and ``wasm``: its module.
    :param hooks: the names of its hooks.
    :param functions: what it imports.
    :param cache: where compiled code is kept; None compiles.
    :param background: nobody waits for this.
    :raises PluginLoadError: the module cannot be compiled or linked.
    """

    def __init__(
        self,
        path: Path,
        wasm: bytes,
        info: ModuleInfo,
        hooks: tuple[str, ...],
        manifest: Manifest,
        limits: PluginLimits,
        functions: Sequence[HostFunction],
        settings: Settings,
        cache: CompileCache | None,
        background: bool,
    ) -> None:
        self._hooks = hooks
        self._config = manifest.config_json()
        self._max_result = settings.max_result
        self._caps = Limits(memory=limits.memory)
        check_minimums(path, info, self._caps.memory, self._caps.table_elements)
        self._fuel = limits.fuel or UNLIMITED
        engine = choose_engine(settings.fast_call, metered=limits.fuel is not None)
        self._kind: type[Guest] = Guest
        calls = settings.recycle_calls
        if limits.isolation == "request":
            rewritten = None
            if is_quick_to_validate(info):
                engine.validate(wasm, path)
                rewritten = restorable(wasm, info, hooks)
            if rewritten is None:
                calls = 1  # what cannot be restored is made anew
            else:
                wasm, self._kind = rewritten, RestoredGuest
        self._wear = Wear(calls, int(limits.memory * WORN_SHARE))
        if cache:
            module = cache.compile(engine, wasm, path, background)
        else:
            module = engine.compile(wasm, path, settings.compile_timeout, background)
        self._linked: Linked = link(engine, module, functions, path)

    def __call__(
        self, start: float, timeout: float, config: bytes | None = None, stage: Stage = LIVE, /
    ) -> Guest:
        """Make a guest that is ready for hooks, with the plugin's config or another.

        :param start: and ``timeout``: the deadline, in seconds.
        :param stage: where its host functions take effect.
        :raises HookError: it could not be made.
        """
        instance = self._linked.instance(self._caps, start, timeout)
        guest = self._kind(
            instance,
            self._hooks,
            self._config if config is None else config,
            self._max_result,
            start,
            timeout,
            self._wear,
            self._fuel,
        )
        instance.stage = stage
        return guest


def is_quick_to_validate(info: ModuleInfo) -> bool:
    """Whether a module is, and so may be validated outside of what bounds compiling."""
    code = sum(section.size for section in info.sections if section.kind == "code")
    return code * info.widest <= MOST_LOOKS
