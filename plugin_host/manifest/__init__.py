"""A plugin's manifest: TOML text, checked in full before anything uses it.

``document`` declares the keys, ``table`` reads them, ``needs`` and ``matching`` hold what two of
them mean, ``schema`` checks the plugin's config, and ``parse`` puts it all together.
"""

from __future__ import annotations

from .document import MANIFEST_KEYS
from .matching import Match, Rule
from .needs import RequestNeeds, ResponseNeeds
from .parse import Limits, Manifest, Policy, effective_limits, parse_manifest

__all__ = [
    "MANIFEST_KEYS",
    "Limits",
    "Manifest",
    "Match",
    "Policy",
    "RequestNeeds",
    "ResponseNeeds",
    "Rule",
    "effective_limits",
    "parse_manifest",
]
