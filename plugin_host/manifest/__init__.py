"""A plugin's manifest: TOML text, checked in full before anything uses it.

``document`` declares the keys, ``table`` reads them, ``needs``, ``matching``, ``policy`` and
``selftest`` hold what some of them mean, ``schema`` checks the plugin's config,
and ``parse`` puts it all together.
"""

from __future__ import annotations

from .document import MANIFEST_KEYS
from .matching import Match, Rule
from .needs import AllBut, RequestNeeds, ResponseNeeds
from .parse import Limits, Manifest, effective_limits, parse_manifest
from .policy import Policy, Respond
from .rollout import Rollout
from .selftest import BusinessTest, RequestTest, ResponseTest, SelfTest

__all__ = [
    "MANIFEST_KEYS",
    "AllBut",
    "BusinessTest",
    "Limits",
    "Manifest",
    "Match",
    "Policy",
    "RequestNeeds",
    "RequestTest",
    "Respond",
    "ResponseNeeds",
    "ResponseTest",
    "Rollout",
    "Rule",
    "SelfTest",
    "effective_limits",
    "parse_manifest",
]
