"""The SDKs for plugin authors, one folder per language; they ship with the package.

``python -m plugin_host.sdk assemblyscript`` prints where one lies, for ``npm install``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: The languages that there is an SDK for.
LANGUAGES: Final = ("assemblyscript",)


def path(language: str) -> Path:
    """Return the folder of the SDK for ``language``.

    :raises ValueError: there is no SDK for it.
    """
    if language not in LANGUAGES:
        raise ValueError(f"no SDK for {language!r}; there is one for: {', '.join(LANGUAGES)}")
    return Path(__file__).parent / language
