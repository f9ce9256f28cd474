"""What several commands have in common: options, and how they fail."""

from __future__ import annotations

from pathlib import Path

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


class Failure(click.ClickException):
    """The command cannot do what it was asked for: a message on stderr, exit code 1."""

    exit_code = 1

    def __init__(self, message: object) -> None:
        super().__init__(safe(message))
