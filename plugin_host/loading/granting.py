"""What a plugin is shown of requests and responses: no more than it is granted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from ..errors import ManifestError
from ..manifest import AllBut, Manifest, RequestNeeds

_FIELD: Final = ":cookies"
_HEADER: Final = "set-cookie"


def shown(path: Path, manifest: Manifest, granted: frozenset[str]) -> Manifest:
    """Return the manifest, without cookies for a plugin that is not granted them.

    :param path: the file that errors name.
    :raises ManifestError: it names them among its needs.
    """
    if "cookies" in granted:
        return manifest
    request, response = manifest.request_needs, manifest.response_needs
    if _FIELD in request.fields and request != RequestNeeds():
        raise _refused(path, "needs.on_request has 'cookies'")
    headers = response.headers
    if headers is True:
        headers = AllBut((_HEADER,))
    elif _HEADER in headers:
        raise _refused(path, f"needs.on_response has 'header:{_HEADER}'")
    fields = tuple(field for field in request.fields if field != _FIELD)
    return replace(
        manifest,
        request_needs=replace(request, fields=fields),
        response_needs=replace(response, headers=headers),
    )


def _refused(path: Path, what: str) -> ManifestError:
    return ManifestError(
        path,
        f"{what}, but the app does not grant the plugin the capability 'cookies'",
        "add 'cookies' to PLUGIN_HOST_GRANTS, or use the plugin without it",
    )
