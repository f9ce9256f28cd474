"""Where the host functions of an instance take effect: in the app, or in a rehearsal of it."""

from __future__ import annotations

from typing import Final

from ..errors import GuestTrap
from ..state import Store, memory_store


class Stage:
    """Stands for the app while a plugin's own tests run: nothing that they do reaches the app.

    `Instance.stage` is None while an instance is being made, `LIVE` while it serves, and any other
    stage while it is tested. Instances on one stage see the same.
    """

    __slots__ = ("store",)

    def __init__(self) -> None:
        #: In place of the app's store.
        self.store: Store = memory_store()


#: The app itself; its store is each app's own, and not this one's.
LIVE: Final = Stage()


def too_early(what: str) -> GuestTrap:
    """Return what a host function raises that needs a stage where there is none yet.

    :param what: has happened: ``"the app was asked"``.
    """
    reason = f"{what} while the instance was being made; do so in hooks only"
    return GuestTrap(reason, "host")
