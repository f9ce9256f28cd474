"""What several commands have in common: options, and how they fail."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from .output import safe

as_json = click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text.")

directory = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The plugins folder, instead of the app's, PLUGIN_HOST_DIR or ./plugins.",
)


class Seconds(click.FloatRange):
    """A number of seconds; no range keeps out what is no number."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; fails with a usage error."""
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


class Failure(click.ClickException):
    """The command cannot do what it was asked for: a message on stderr, exit code 1."""

    exit_code = 1

    def __init__(self, message: object) -> None:
        super().__init__(safe(message))
