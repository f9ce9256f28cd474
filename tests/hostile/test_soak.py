"""The soak in a short run: ``python -m benchmarks soak`` is the long one."""

from __future__ import annotations

import pytest

from benchmarks import growth, soak
from benchmarks.servers import Process
from tests.hostile.guest import FOLDER, read

pytestmark = pytest.mark.slow


def test_a_soak_keeps_all_promises() -> None:
    """Every kind of page is asked for, and answered as policies say; nothing stays behind."""
    verdict = soak.soak(requests=1500, reloads=10, workers=1)
    # Memory is not at rest so soon.
    assert [each for each in verdict.broken if "KiB of memory" not in each] == []
    assert verdict.failures == []
    assert {"/ 200", "/attack 200", "/attack 503", "/mirror 200"} == verdict.statuses.keys()
    assert verdict.swaps > 2


def test_the_hostile_guests_of_the_soak_do_there_what_they_do_here() -> None:
    """The statuses that a soak allows are those that the guests' own files name."""
    wanted = {"page": 200, "problem": 503}
    for name, statuses in soak.ATTACKS.items():
        guest = read(FOLDER / f"{name}.wat")
        answers = {guest.expected(hit) for hit in range(guest.hits)}
        assert {wanted[str(answer)] for answer in answers} == statuses, name


def test_growth_beyond_the_room_is_told() -> None:
    """A worker may grow by 2 %, and not by more."""
    held = Process(50_000, 8, 17, 330)
    assert growth.grown({1: held}, {1: held._replace(rss_kib=51_000)}, soak._room) == []
    assert growth.grown({1: held}, {1: held._replace(rss_kib=51_001)}, soak._room) == [
        "worker 1 has 51001 KiB of memory, it had 50000"
    ]
