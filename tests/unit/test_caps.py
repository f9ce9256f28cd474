"""How much of anything a module may have."""

from __future__ import annotations

from pathlib import Path

import pytest
from wasm_bytes import END, HEADER, LOCAL_0, TYPES, body, functions, leb, section, vector

from plugin_host.errors import ModuleError
from plugin_host.modules import caps
from plugin_host.modules.binary import BinaryError, read_module
from plugin_host.modules.bytereader import ByteReader
from plugin_host.modules.caps import BODY, COUNTS, CUSTOM, LOCALS, NAME, TooMuch, check_minimums
from plugin_host.wasm.engine import wat_to_wasm

PATH = Path("guest.wasm")
#: Section ids and the shortest elements, of sections that may stand alone.
ELEMENTS = {
    "type": (1, b"\x60\0\0"),
    "import": (2, b"\0\0\3\x7f\0"),
    "function": (3, b"\0"),
    "table": (4, b"\x70\0\0"),
    "memory": (5, b"\0\0"),
    "tag": (13, b"\0\0"),
    "global": (6, b"\x7f\0\x41\0\x0b"),
    "export": (7, b"\0\2\0"),
    "element": (9, b"\1\0\0"),
    "data": (11, b"\1\0"),
}


def refused(data: bytes) -> TooMuch:
    with pytest.raises(TooMuch) as caught:
        read_module(data)
    return caught.value


def test_every_count_has_a_case() -> None:
    """Each section whose elements are counted is tested here."""
    assert set(ELEMENTS) == set(COUNTS)


@pytest.mark.parametrize("kind", COUNTS)
def test_one_element_more_than_allowed_is_refused(kind: str) -> None:
    """Of each kind of section, a module may have so many elements and no more."""
    cap, (number, element) = COUNTS[kind], ELEMENTS[kind]
    error = refused(HEADER + section(number, leb(cap.most + 1) + element * (cap.most + 1)))
    assert error.rule == f"has {cap.most + 1} {cap.what}, where at most {cap.most} are allowed"
    assert error.remedy == cap.remedy


@pytest.mark.parametrize("kind", ["type", "global", "element", "data", "table", "memory"])
def test_as_many_elements_as_allowed_are_read(kind: str) -> None:
    """A cap is what is allowed, not the first that is not."""
    number, element = ELEMENTS[kind]
    most = COUNTS[kind].most
    data = HEADER + section(number, leb(most) + element * most)
    assert read_module(data).sections[0].count == most


def test_the_size_of_a_function_is_capped() -> None:
    """A function may have so many bytes, and the refusal says which one has more."""
    around = len(b"\0" + LOCAL_0 + END)
    exact, large = (body(b"\1" * (BODY.most - around + n) + LOCAL_0) for n in (0, 1))
    assert len(read_module(functions(body(LOCAL_0), exact)).sections) == 3
    assert refused(functions(body(LOCAL_0), large)).rule == (
        f"has a function (1) of {BODY.most + 1} bytes, where at most {BODY.most} are allowed"
    )


@pytest.mark.parametrize("groups", [1, 100])
def test_the_number_of_locals_is_capped(groups: int) -> None:
    """All groups of a function's locals count together."""
    most = LOCALS.most // groups
    allowed = body(LOCAL_0, *[leb(most) + b"\x7f"] * groups)
    over = body(LOCAL_0, *[leb(most) + b"\x7f"] * groups, b"\1\x7e")
    read_module(functions(allowed))
    assert refused(functions(allowed, over)).rule == (
        f"has a function (1) of {LOCALS.most + 1} locals, where at most {LOCALS.most} are allowed"
    )


def test_an_imported_function_shifts_the_index_of_the_others() -> None:
    """A function's index is the engine's: imports come first."""
    over = body(LOCAL_0, leb(LOCALS.most + 1) + b"\x7f")
    data = (
        HEADER
        + section(1, TYPES)
        + section(2, vector(b"\1m\1f\0\0"))
        + section(3, vector(b"\0"))
        + section(10, vector(over))
    )
    assert "a function (1) of" in refused(data).rule


def test_custom_sections_are_capped_in_number_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debugging information may be large, but not without bound."""
    empty = section(0, b"\0")
    assert len(read_module(HEADER + empty * CUSTOM.most).sections) == CUSTOM.most
    error = refused(HEADER + empty * (CUSTOM.most + 1))
    assert error.rule.startswith(f"has {CUSTOM.most + 1} custom sections")
    assert "strip" in error.remedy
    monkeypatch.setattr(caps, "CUSTOM_BYTES", caps.CUSTOM_BYTES._replace(most=100))
    read_module(HEADER + section(0, b"\0" + bytes(49)) * 2)
    assert "101 bytes of custom sections" in refused(HEADER + section(0, bytes(101))).rule


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (section(2, vector(leb(1001) + b"m" * 1001 + b"\0\3\x7f\0")), "an import's module"),
        (section(0, leb(1001) + b"n" * 1001), "a custom section with a name"),
        (section(2, vector(b"\0" + leb(1001) + b"n" * 1001 + b"\3\x7f\0")), "an import's name"),
        (
            section(5, b"\1\0\0") + section(7, vector(leb(1001) + b"e" * 1001 + b"\2\0")),
            "an export's name",
        ),
    ],
)
def test_names_are_capped(data: bytes, what: str) -> None:
    """Names of imports, exports and custom sections have a bounded length."""
    assert refused(HEADER + data).rule == (
        f"has {what} of 1001 bytes, where at most {NAME.most} are allowed"
    )


def test_a_function_that_ends_among_its_locals_is_malformed() -> None:
    """Locals are read inside their function only."""
    with pytest.raises(BinaryError, match="cannot fit into 0 bytes"):
        read_module(functions(b"\1\1"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "(module (memory 3))",
            "starts with 196608 bytes of memory, where at most 131072 are allowed; link it with a"
            " smaller initial memory",
        ),
        (
            '(module (import "m" "t" (table 11 funcref)))',
            "starts with a table of 11 elements, where at most 10 are allowed",
        ),
    ],
)
def test_what_cannot_be_instantiated_is_refused_before(text: str, message: str) -> None:
    """A first memory or table above its limit is an error of the module, with a remedy."""
    info = read_module(wat_to_wasm(text.encode(), PATH))
    with pytest.raises(ModuleError, match=message):
        check_minimums(PATH, info, 2 * 65_536, 10)
    check_minimums(PATH, info, 3 * 65_536, 11)


HOSTILE = {
    "locals": functions(body(LOCAL_0, *[b"\0\x7f"] * 100_000)),
    "functions": functions(*[body(LOCAL_0)] * 20_000),
    "types": HEADER + section(1, leb(20_000) + (b"\x60" + leb(40) + b"\x7f" * 40 + b"\0") * 20_000),
    "data": HEADER + section(11, leb(100_000) + b"\1\0" * 100_000),
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_each_byte_is_read_once(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader takes no more steps than a module has bytes, however it is made."""
    steps = 0
    skip = ByteReader.skip

    def counting(self: ByteReader, size: int, what: str) -> int:
        nonlocal steps
        steps += 1
        return skip(self, size, what)

    monkeypatch.setattr(ByteReader, "skip", counting)
    read_module(HOSTILE[shape])
    assert steps <= len(HOSTILE[shape])
