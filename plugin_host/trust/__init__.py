"""Whether a plugin's files are those of somebody whom the configuration trusts.

`check` asks before anything else reads the module, `admit` as soon as the plugin's name is known,
and `prepare` at start, whether the two can be asked at all. Kept versions are asked like files from
the folder: what was trusted once need not be any more.
"""

from __future__ import annotations

from ..config import Settings
from ..errors import PinError, SignatureError
from ..folder.scan import Candidate
from . import signature
from .keyring import trusted


def prepare(settings: Settings) -> None:
    """Read the trusted keys.

    :raises ConfigError: they cannot be read, or signatures cannot be checked.
    """
    if settings.trusted_keys is not None:
        trusted(settings.trusted_keys)


def check(candidate: Candidate, settings: Settings) -> str | None:
    """Check a candidate's signature; return the name that it is for, or None if none is asked for.

    :raises SignatureError: it is not signed by a trusted key.
    :raises ConfigError: see `prepare`.
    """
    if settings.trusted_keys is None:
        return None
    return signature.verify(candidate, trusted(settings.trusted_keys)).name


def admit(candidate: Candidate, name: str, signed_name: str | None, settings: Settings) -> None:
    """Check that a plugin of this name may come of these files.

    :param signed_name: what `check` returned.
    :raises SignatureError: they were signed for a plugin of another name.
    :raises PinError: the configuration pins the name to other files.
    """
    path = candidate.module_path
    if signed_name not in (None, name):
        raise SignatureError(
            path,
            f"was signed for a plugin called {signed_name}, and its name is {name}",
            "give it that name in its manifest or by its file's name, or sign it again",
        )
    pins = settings.pinned(name)
    if pins is not None and not pins & {candidate.digest, candidate.module_digest}:
        allowed = ", ".join(f"{digest:.12}" for digest in sorted(pins)) or "nothing"
        raise PinError(
            path,
            f"PLUGIN_HOST_PINS pins {name} to {allowed}; its module has the SHA-256"
            f" {candidate.module_digest:.12}, with its manifest {candidate.digest:.12}",
            "deploy what is pinned, or pin what is deployed",
        )
