"""Prints where the SDK for a language lies: ``python -m plugin_host.sdk assemblyscript``."""

from __future__ import annotations

import sys

from . import LANGUAGES, path


def main(arguments: list[str]) -> int:
    """Print the folder of one SDK; return the exit code."""
    if len(arguments) != 1 or arguments[0] not in LANGUAGES:
        languages = " | ".join(LANGUAGES)
        print(f"usage: python -m plugin_host.sdk {languages}", file=sys.stderr)
        return 2
    print(path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
