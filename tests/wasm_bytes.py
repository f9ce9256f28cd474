"""Binary modules for tests, put together section by section."""

from __future__ import annotations

HEADER = b"\0asm\1\0\0\0"
#: A type section with the one type (i32) -> (i32).
TYPES = b"\1\x60\1\x7f\1\x7f"
LOCAL_0, END = b"\x20\0", b"\x0b"


def leb(number: int) -> bytes:
    """An unsigned integer in LEB128."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def section(number: int, content: bytes) -> bytes:
    """A section with its id and size."""
    return bytes([number]) + leb(len(content)) + content


def vector(*elements: bytes) -> bytes:
    """The elements, and before them their number."""
    return leb(len(elements)) + b"".join(elements)


def body(code: bytes, *locals_: bytes) -> bytes:
    """A function's body, with groups of locals."""
    content = vector(*locals_) + code + END
    return leb(len(content)) + content


def functions(*bodies: bytes) -> bytes:
    """A module of functions of the type (i32) -> (i32)."""
    return (
        HEADER
        + section(1, TYPES)
        + section(3, vector(*[b"\0"] * len(bodies)))
        + section(10, vector(*bodies))
    )


def nested_loops(depth: int) -> bytes:
    """A function whose loops lie in each other: the compiler takes the square of their number."""
    return functions(body(b"\x03\x40" * depth + LOCAL_0 + b"\x0d\0" + END * depth + LOCAL_0))


def changing_loops(depth: int, locals_: int) -> bytes:
    """The same with locals that change in all of them: that takes the cube."""
    change = b"".join(b"\x20" + leb(i) + b"\x45\x21" + leb(i) for i in range(1, locals_ + 1))
    loops = b"\x03\x40" * depth + change + (LOCAL_0 + b"\x0d\0" + END) * depth
    return functions(body(loops + LOCAL_0, leb(locals_) + b"\x7f"))
