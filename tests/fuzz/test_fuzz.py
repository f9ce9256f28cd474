"""Everything that reads bytes which others wrote: nothing but its own errors, within bounds."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings

from fuzz.making import inputs
from fuzz.targets import CORPUS, TARGETS, corpus

#: Peak of memory that reading may take, by the byte of the input, and besides.
PER_BYTE, BESIDES = 400, 4 << 20

KEPT = [pytest.param(name, key, id=f"{name}/{key}") for name in TARGETS for key in corpus(name)]


def test_each_target_has_a_corpus() -> None:
    """The kept inputs are for targets that there are, and small."""
    assert {folder.name for folder in CORPUS.iterdir()} == TARGETS.keys()
    sizes = [len(data) for name in TARGETS for data in corpus(name).values()]
    assert max(sizes) < 25_000
    assert sum(sizes) < 200_000


@pytest.mark.parametrize(("name", "key"), KEPT)
def test_a_kept_input_is_read(name: str, key: str) -> None:
    """What was interesting once is read, or refused with the error that is promised."""
    TARGETS[name](corpus(name)[key])


@pytest.mark.parametrize(("name", "key"), KEPT)
def test_reading_takes_memory_by_the_size_of_the_input(name: str, key: str) -> None:
    """A small input that announces much, or nests deeply, takes little memory."""
    data = corpus(name)[key]
    TARGETS[name](data)  # what is made once is there
    tracemalloc.start()
    try:
        TARGETS[name](data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < BESIDES + PER_BYTE * len(data)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_any_input_is_read(target: Callable[[bytes], None]) -> None:
    """Kept inputs with changes, inputs of the right form with wrong values, and noise."""

    @settings(max_examples=300, suppress_health_check=list(HealthCheck))
    @given(inputs(target.__name__))
    def read(data: bytes) -> None:
        target(data)

    read()
