"""Guests for tests of what plugins ask of the app: hooks that make one host call after another."""

from __future__ import annotations

import guests
from guests import HEAP, packed

#: Where names lie, where the host writes to, and where the hook keeps its results.
NAME, OUT, RESULTS = 2048, 131_072, 65_536

#: By name, parameters and results.
TYPES = {
    "emit": ("i32 i32 i32 i32", "i32"),
    "call": ("i32 i32 i32 i32 i32 i32", "i32"),
    "call_receive": ("i32 i32 i32", ""),
    "counter": ("i32 i32 i64", ""),
    "histogram": ("i32 i32 i64", ""),
    "session_get": ("i32 i32 i32 i32", "i32"),
    "random": ("i32 i32", ""),
    "log": ("i32 i32 i32", ""),
}
#: The hook's own argument, and where its payload lies.
LEN, DATA = "$len", HEAP


def imported(name: str) -> str:
    """The import of a host function."""
    params, result = TYPES[name]
    given = f"(result {result})" if result else ""
    return f'(import "plugin_host" "{name}" (func ${name} (param {params}) {given}))'


def calling(name: str, *arguments: int | str) -> str:
    """A call of a host function; a text argument is a local variable."""
    kinds = TYPES[name][0].split()
    values = (
        f"(local.get {value})" if isinstance(value, str) else f"({kind}.const {value})"
        for kind, value in zip(kinds, arguments, strict=True)
    )
    return f"(call ${name} {' '.join(values)})"


def guest(
    hooks: dict[str, str], *names: str, text: bytes = b"", extra: str = "", **more: object
) -> str:
    """A guest that imports the functions called ``names`` and has ``text`` at `NAME`."""
    imports = "".join(map(imported, names))
    data = [(NAME, text)]
    return guests.module(hooks, imports=imports, data=data, extra=extra, **more)  # type: ignore[arg-type]


def answering(call: str, at: int = OUT, most: int | None = None) -> str:
    """The body of a hook that answers with what the host wrote, or with the error's number.

    An error is a declared one, of that many bytes: so a test sees which it was.
    """
    capped = "(local.get $n)" if most is None else f"(i32.const {most})"
    return f"""(local $n i32)
      (local.set $n {call})
      (if (result i64) (i32.lt_s (local.get $n) (i32.const 0))
        (then (i64.or (i64.const {packed(NAME, 0, error=True)})
          (i64.extend_i32_u (i32.sub (i32.const 0) (local.get $n)))))
        (else (i64.or (i64.const {packed(at, 0)}) (i64.extend_i32_u {capped}))))"""
