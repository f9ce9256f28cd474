"""What a module says about itself before it is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

Kind = Literal["func", "table", "memory", "global", "tag"]
KINDS: Final[tuple[Kind, ...]] = ("func", "table", "memory", "global", "tag")


class FuncType(NamedTuple):
    """A function's type; equal to the plain tuple of its parts."""

    params: tuple[str, ...]
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory's type; sizes in pages."""

    minimum: int
    maximum: int | None = None
    shared: bool = False
    is64: bool = False


@dataclass(frozen=True, slots=True)
class Import:
    """An import; `type` is None for anything but a function."""

    module: str
    name: str
    kind: Kind
    type: FuncType | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """An export; `type` is None for anything but a function."""

    name: str
    kind: Kind
    index: int
    type: FuncType | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """A section; `name` is a custom section's own, `count` None if it holds no vector."""

    kind: str
    name: str
    offset: int
    size: int
    count: int | None


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """What a module says about itself.

    :param memories: the imported ones, then its own.
    :param tables: the same, the number of elements that each begins with.
    :param start: the index of the start function.
    :param widest: how many parameters or results its types have at most.
    """

    imports: tuple[Import, ...]
    exports: tuple[Export, ...]
    memories: tuple[Memory, ...]
    tables: tuple[int, ...]
    start: int | None
    sections: tuple[Section, ...]
    widest: int = 0

    def export(self, name: str) -> Export | None:
        """Return the export of that name."""
        return next((export for export in self.exports if export.name == name), None)
