"""A hostile guest's file: the attack in a sentence, what must come of it, and the module.

::

    ;; A hook never returns.
    ;;
    ;; answer = "problem"
    ;; log = "missed its deadline of 20 ms"
    (module …)

What follows the sentence is TOML, with the keys of `Guest`. In the module ``{{1000*nop }}`` stands
for a thousand times what follows the star; ``{i}`` is the count.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "guests"

_repeated = re.compile(r"\{\{(\d+)\*(.*?)\}\}", re.DOTALL)

#: What refusals say of a guest whose code has run.
_WHEN_CALLED = ("initialisation", "ph_init", "selftest", "missed its deadline", "ABI version")

#: First words of the names of guests whose hooks run well: the attack is in the edits they return.
_IN_EDITS = {
    *("answer", "body", "content", "edit", "edits", "g", "header", "host", "location", "method"),
    *("path", "query", "request", "reroute", "status"),
}

#: What a client is answered: ``page`` as if the guest were not there, ``problem`` a 503,
#: ``default`` what the app answers where plugins do not, or a table of what differs from ``page``.
Answer = str | dict[str, Any]


@dataclass(frozen=True)
class Guest:
    """One hostile guest.

    :param attack: what it does, a sentence.
    :param refused: what the reason says why it does not load; several texts are alternatives, since
        releases of the engine word things differently; none: it loads.
    :param request: how it is attacked by; ``send`` bytes of body go with it if there are any.
    :param answer: what the client gets each time; ``answers`` if they differ, again and again.
    :param log: what the log must say; of several texts, one.
    :param hits: how often.
    :param copies: under so many names it is deployed.
    """

    name: str
    attack: str
    text: str = dataclasses.field(repr=False)
    refused: tuple[str, ...] = ()
    request: str = "GET /hit"
    send: int = 0
    answer: Answer = "page"
    answers: tuple[Answer, ...] = ()
    log: tuple[str, ...] = ()
    hits: int = 4
    copies: int = 1

    @property
    def attacks_calls(self) -> bool:
        """Whether the way in which guests are called can matter: its code runs, and is hostile."""
        runs = not self.refused or any(word in self.refused[0] for word in _WHEN_CALLED)
        return runs and self.name.split("_")[0] not in _IN_EDITS

    @property
    def method(self) -> str:
        """The request's method; with a body it is POST."""
        return "POST" if self.send else self.request.split()[0]

    @property
    def path(self) -> str:
        """The request's path."""
        return self.request.split()[1]

    def expected(self, hit: int) -> Answer:
        """What the client must get that time."""
        return self.answers[hit % len(self.answers)] if self.answers else self.answer

    def files(self) -> list[str]:
        """The names of the files that it is deployed as."""
        return [f"{self.name}{n or ''}.wat" for n in range(self.copies)]


def read(path: Path) -> Guest:
    """Read one file."""
    lines = path.read_text().splitlines()
    head = [line[2:].strip() for line in itertools.takewhile(lambda s: s.startswith(";;"), lines)]
    attack = list(itertools.takewhile(bool, head))
    keys = tomllib.loads(_expanded("\n".join(head[len(attack) :])))
    for key in {"answers", "log", "refused"} & keys.keys():
        keys[key] = tuple(keys[key]) if isinstance(keys[key], list) else (keys[key],)
    return Guest(path.stem, " ".join(attack), _expanded("\n".join(lines)), **keys)


def _expanded(text: str) -> str:
    return _repeated.sub(
        lambda found: "".join(found[2].replace("{i}", str(i)) for i in range(int(found[1]))), text
    )


def all_guests() -> list[Guest]:
    """All of them, by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.wat"))]
