"""How much of anything a module may have: checked where it is read, before it is compiled.

Compilers of real languages stay far below: 11 MB of Go have 6 541 functions, the largest of 50 kB,
and 100 000 data segments; 5 MB of C++ have functions of up to 56 kB with 90 locals. What the caps
bound is the reader's own work and memory, and what every instance pays for; the time to compile has
a budget of its own (`compiler`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from ..errors import ModuleError
from .bytereader import BinaryError, ByteReader
from .moduleinfo import ModuleInfo, Section
from .sections import bodies, count_locals

PAGE: Final = 65_536


class Cap(NamedTuple):
    """A bound, what it bounds (in the plural), and what to do about more."""

    most: int
    what: str
    remedy: str


_SMALLER: Final = "build it with optimisation, and without what it does not use"
_STRIP: Final = "strip its debugging information: wasm-strip, wasm-opt --strip-debug, or -s"
_SHORTER: Final = "give it a shorter name"

#: By section, the elements it may have. Each costs the reader some 5 µs and 100 bytes.
COUNTS: Final = {
    "type": Cap(20_000, "types", _SMALLER),
    "import": Cap(1_000, "imports", "import only what the plugin calls"),
    "function": Cap(100_000, "functions", _SMALLER),
    # As many as an instance may have (`Limits`).
    "table": Cap(4, "tables", "build it for a single table of functions"),
    "memory": Cap(1, "memories", "build it for a single memory"),
    "global": Cap(20_000, "globals", "build it without dynamic linking"),
    "export": Cap(10_000, "exports", "export only what the host calls"),
    "tag": Cap(1_000, "tags", "build it without exceptions"),
    "element": Cap(10_000, "element segments", _SMALLER),
    # The engine's own; Go writes one for each variable that is not zero.
    "data": Cap(100_000, "data segments", _SMALLER),
}
#: A function type's parameters, and its results: the engine's own.
VALUES: Final = Cap(1_000, "value types", "pass them through memory")
#: Bytes of one name: those of imports, exports and custom sections are kept, logged and shown.
NAME: Final = Cap(1_000, "bytes", _SHORTER)
#: Bytes of one function. The time to compile grows with its square.
BODY: Final = Cap(1 << 20, "bytes", "split it, or build it with optimisation for size")
#: Locals of one function. A few bytes of code declare thousands, and each costs the compiler memory
#: in every block: 110 kB of code with 5 000 took 1.2 GB. Code without optimisation has hundreds.
LOCALS: Final = Cap(10_000, "locals", "split it, or build it with optimisation")
#: Custom sections: DWARF is ten of them, and often far more than the code.
CUSTOM: Final = Cap(200, "custom sections", _STRIP)
CUSTOM_BYTES: Final = Cap(16 << 20, "bytes of custom sections", _STRIP)


class TooMuch(BinaryError):
    """The module has more of something than this host takes; the rule says of what.

    :param remedy: what its author can do.
    """

    def __init__(self, offset: int, rule: str, remedy: str) -> None:
        super().__init__(offset, rule)
        self.remedy = remedy


def check(found: int, cap: Cap, offset: int, has: str = "has") -> None:
    """Raise `TooMuch` if more was found than ``cap`` allows.

    :param has: the words between the module's name and the figure.
    """
    if found > cap.most:
        rule = f"{has} {found} {cap.what}, where at most {cap.most} are allowed"
        raise TooMuch(offset, rule, cap.remedy)


def check_sections(sections: list[Section]) -> None:
    """Check how many elements sections have, and the custom sections' number, size and names."""
    custom = [section.size for section in sections if section.kind == "custom"]
    check(len(custom), CUSTOM, 0)
    check(sum(custom), CUSTOM_BYTES, 0)
    for section in sections:
        if cap := COUNTS.get(section.kind):
            check(section.count or 0, cap, section.offset)
        has = "has a custom section with a name of"
        check(len(section.name.encode()), NAME, section.offset, has)


def check_bodies(reader: ByteReader, first: int) -> None:
    """Check each function's size and its locals (5.4.1, 5.5.13).

    :param reader: of the code section.
    :param first: the index of its first function.
    """
    for index, body in enumerate(bodies(reader), first):
        start = body.at
        if body.end - start > BODY.most:
            check(body.end - start, BODY, start, f"has a function ({index}) of")
        locals_ = count_locals(body)
        if locals_ > LOCALS.most:
            check(locals_, LOCALS, start, f"has a function ({index}) of")


def check_minimums(path: Path, info: ModuleInfo, memory: int, table_elements: int) -> None:
    """Check that an instance's first memory and tables fit into its limits.

    :param memory: bytes that it may have.
    :raises ModuleError: they do not: every attempt to make an instance would fail.
    """
    for least in (kind.minimum * PAGE for kind in info.memories):
        if least > memory:
            raise ModuleError(
                path,
                f"starts with {least} bytes of memory, where at most {memory} are allowed",
                "link it with a smaller initial memory or stack, or raise limits.memory_mb of its"
                " manifest, or PLUGIN_HOST_MAX_MEMORY",
            )
    for least in info.tables:
        if least > table_elements:
            raise ModuleError(
                path,
                f"starts with a table of {least} elements, where at most {table_elements} are"
                " allowed",
                _SMALLER,
            )


def refusal(path: Path, exc: BinaryError) -> ModuleError:
    """The error of a module that could not be read; raise it from ``exc``."""
    if isinstance(exc, TooMuch):
        return ModuleError(path, exc.rule, exc.remedy)
    return ModuleError(
        path, f"is not a WebAssembly core module: {exc}", "copy the whole, built module"
    )
