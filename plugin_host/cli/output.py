"""Writing for people and for programs.

Much of what is shown comes out of files that nobody has vetted, so every text goes through `safe`:
a plugin must not move the cursor of the terminal that it is inspected in.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import click

from ..config import GIB, KIB, MIB
from ..errors import PluginLoadError, printable


class Styled(NamedTuple):
    """A table's cell in a colour, which a terminal shows and anything else does not."""

    text: str
    colour: str


Cell = str | Styled

#: What a table shows where there is nothing to show.
NONE = "-"
_BOLD = "bold"


def safe(text: object) -> str:
    """Return a text on one line, with whatever is not printable as a visible escape."""
    return printable(str(text))


def say(text: str = "", *, err: bool = False) -> None:
    """Write a line to stdout, or to stderr; what its encoding lacks comes out as an escape."""
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err)


def warn(text: str) -> None:
    """Write a warning to stderr."""
    say(f"{click.style('Warning', fg='yellow')}: {safe(text)}", err=True)


def say_json(value: Any) -> None:
    """Write a value as JSON, in ASCII."""
    click.echo(json.dumps(value, indent=2))


def title(text: str) -> str:
    """Return a heading."""
    return click.style(safe(text), bold=True)


def table(
    rows: Iterable[Sequence[Cell]], header: Sequence[str] = (), indent: str = ""
) -> Iterator[str]:
    """Yield the lines of a table whose columns are aligned; cells are made `safe`."""
    titles = [[Styled(text, _BOLD) for text in header]] if header else []
    everything = titles + [[_cell(cell) for cell in row] for row in rows]
    widths = [max(len(cell.text) for cell in column) for column in zip(*everything, strict=True)]
    for *row, last in everything:
        padded = [_paint(c.text.ljust(w), c.colour) for c, w in zip(row, widths, strict=False)]
        yield (indent + "  ".join([*padded, _paint(*last)])).rstrip()


def _cell(cell: Cell) -> Styled:
    text, colour = cell if isinstance(cell, Styled) else (cell, "")
    return Styled(safe(text), colour)


def _paint(text: str, colour: str) -> str:
    if not colour:
        return text
    return click.style(text, bold=True) if colour == _BOLD else click.style(text, fg=colour)


def size(count: int) -> str:
    """Return bytes for people: ``64 MiB``, ``1581 bytes``."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count >= 10 * unit or (count >= unit and count % unit == 0):
            return f"{count / unit:.4g} {name}"
    return "1 byte" if count == 1 else f"{count} bytes"


def error_json(error: PluginLoadError | None) -> dict[str, str] | None:
    """Return what JSON says of an error."""
    if error is None:
        return None
    return {
        "type": type(error).__name__,
        "file": str(error.path),
        "reason": error.reason,
        "remedy": error.remedy,
    }
