"""The app's configuration and what its readers share."""

from .grants import (
    CAPABILITIES,
    CAPABILITIES_ALLOWED,
    capability_hint,
    common,
    is_capability,
    is_open,
    parts_of,
    shared_namespaces,
    touches,
)
from .keys import PREFIX
from .settings import KEYS, Settings
from .stateurl import StateUrl
from .text import did_you_mean, show
from .units import GIB, KIB, MIB

__all__ = [
    "CAPABILITIES",
    "CAPABILITIES_ALLOWED",
    "GIB",
    "KEYS",
    "KIB",
    "MIB",
    "PREFIX",
    "Settings",
    "StateUrl",
    "capability_hint",
    "common",
    "did_you_mean",
    "is_capability",
    "is_open",
    "parts_of",
    "shared_namespaces",
    "show",
    "touches",
]
