"""The pool: bounded, last in first out, waiting bounded by the hook's deadline."""

from __future__ import annotations

import os
import threading
from itertools import count
from time import monotonic

import pytest

from plugin_host.errors import DeadlineExceeded, GuestTrap, PoolExhausted
from plugin_host.wasm.pool import Pool


def numbered(size: int) -> Pool[int]:
    numbers = count(1)
    return Pool(lambda start, timeout: next(numbers), size)


def test_an_idle_instance_is_lent_before_one_is_made() -> None:
    """The latest returned comes first, so that its memory is warm."""
    pool = numbered(8)
    first, second = pool.acquire(0, 1), pool.acquire(0, 1)
    pool.release(first)
    pool.release(second)
    assert [first, second, pool.acquire(0, 1), pool.acquire(0, 1), pool.live] == [1, 2, 2, 1, 2]


def test_a_discarded_instance_makes_room_for_another() -> None:
    """A spent instance is replaced by a new one, never lent again."""
    pool = numbered(1)
    assert pool.acquire(0, 1) == 1
    pool.discard()
    assert (pool.acquire(monotonic(), 1), pool.live) == (2, 1)


def test_an_exhausted_pool_gives_up_at_the_deadline() -> None:
    """Waiting for an instance ends when the hook's deadline has passed."""
    pool = numbered(1)
    pool.acquire(0, 1)
    with pytest.raises(PoolExhausted, match="all 1 instances stayed busy for 20 ms"):
        pool.acquire(monotonic(), 0.02)
    with pytest.raises(PoolExhausted):
        pool.acquire(monotonic() - 1, 0.02)


def test_a_waiting_call_gets_the_instance_that_comes_back() -> None:
    """Whoever waits is woken by a release."""
    pool = numbered(1)
    held = pool.acquire(0, 1)
    got: list[int] = []
    waiter = threading.Thread(target=lambda: got.append(pool.acquire(monotonic(), 30)))
    waiter.start()
    while not pool.waiting:
        pass
    pool.release(held)
    waiter.join(30)
    assert got == [held]


def test_a_failure_to_make_an_instance_frees_its_place() -> None:
    """The pool does not shrink when making an instance fails."""
    fail = [True]

    def make(start: float, timeout: float) -> str:
        if fail.pop():
            raise GuestTrap("start section")
        return "instance"

    pool = Pool(make, 1)
    with pytest.raises(GuestTrap):
        pool.acquire(0, 1)
    fail.append(False)
    assert (pool.acquire(monotonic(), 1), pool.live) == ("instance", 1)


def test_hammer_no_instance_is_ever_lent_twice() -> None:
    """Many threads on few instances: each is used by one thread at a time, and none is lost."""
    pool, inside, clashes = Pool(lambda s, t: [0], 3), set(), []

    def work() -> None:
        for n in range(400):
            item = pool.acquire(monotonic(), 30)
            if id(item) in inside:
                clashes.append(item)
            inside.add(id(item))
            item[0] += 1
            inside.discard(id(item))
            if n % 50 == 49:
                pool.discard()
            else:
                pool.release(item)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (clashes, pool.live <= 3) == ([], True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("begun", ["lent", "made"])
def test_a_forked_child_does_not_wait_for_the_parents_threads(begun: str) -> None:
    """What another thread had, or was making, when the process forked takes no place in the child,
    where it never comes back; and what is made in the background there is.
    """

    def make(start: float, timeout: float) -> int:
        if timeout < 1:
            raise DeadlineExceeded(timeout)
        return 7

    pool = Pool(make, 1, patience=5.0)
    if begun == "lent":
        pool.acquire(monotonic(), 5.0)
    else:  # as by a thread that is in the middle of it
        pool._live = pool._making.acquire()
    child = os.fork()
    if not child:
        try:
            with pytest.raises(DeadlineExceeded):
                pool.acquire(monotonic(), 0.01)
            os._exit(0 if pool.acquire(monotonic(), 30.0) == 7 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.live == 1
