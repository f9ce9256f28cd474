"""The app's configuration and what its readers share."""

from .grants import CAPABILITIES
from .keys import PREFIX
from .settings import KEYS, Settings
from .stateurl import StateUrl
from .text import did_you_mean, show
from .units import GIB, KIB, MIB

__all__ = [
    "CAPABILITIES",
    "GIB",
    "KEYS",
    "KIB",
    "MIB",
    "PREFIX",
    "Settings",
    "StateUrl",
    "did_you_mean",
    "show",
]
