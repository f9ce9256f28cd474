"""One of many processes that use a store at once: ``python -m tests.state.crowd URL JOB …``.

It prints a line for everything that the store acknowledged, as soon as it did.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from plugin_host.config.stateurl import parse_state
from plugin_host.state import Namespace, Outcome, Store, open_store


def soon() -> float:
    """A deadline that a busy machine meets."""
    return time.monotonic() + 60


def say(text: object) -> None:
    """Tell whoever started this process; whole lines, also when it is killed."""
    os.write(1, f"{text}\n".encode())


def admit(space: Namespace, me: str, number: str, limit: str) -> None:
    """Ask for many keys of its own, and some that all ask for."""
    for turn in range(int(number)):
        for key in (f"id/{me}-{turn}", f"id/all-{turn % 7}"):
            got = space.put_if_fewer_than(
                b"id/", int(limit), key.encode(), me.encode(), deadline=soon()
            )
            if got.outcome is Outcome.ADDED:
                say(key)
            elif got.outcome is Outcome.PRESENT:
                assert key.startswith("id/all")


def add(space: Namespace, me: str, number: str) -> None:
    """Count, in whole numbers and in halves, with a ceiling that is never met."""
    for _ in range(int(number)):
        space.add(b"n", 1, deadline=soon(), ceiling=1 << 40)
        say("n")
        space.add_float(b"x", 0.5, deadline=soon())
        say("x")


def take(space: Namespace, me: str, number: str) -> None:
    """Take from a stock that may not become negative."""
    for _ in range(int(number)):
        if space.add(b"stock", -1, deadline=soon(), floor=0).done:
            say("taken")


def swap(space: Namespace, me: str, number: str) -> None:
    """Count by comparing, again and again until nobody came in between."""
    for _ in range(int(number)):
        old = space.get(b"s", deadline=soon())
        while True:
            new = b"%d" % (int(old or b"0") + 1)
            done, old = space.compare_and_set(b"s", old, new, deadline=soon())
            if done:
                break
        say("s")


def pairs(space: Namespace, me: str, number: str) -> None:
    """Write two keys together, and never see halves of it."""
    for turn in range(int(number)):
        value = f"{me}-{turn}".encode()
        space.put_many([(b"left", value), (b"right", value)], deadline=soon())
        left, right = space.get_many([b"left", b"right"], deadline=soon())
        assert left == right, (left, right)
        say("pair")


def put(space: Namespace, me: str, number: str) -> None:
    """Put key after key."""
    for turn in range(int(number)):
        space.put(f"{me}/{turn}".encode(), b"x" * 100, deadline=soon())
        say(turn)


def forks(space: Namespace, me: str, number: str) -> None:
    """Fork while threads use the store; parent and children go on with it."""
    ended = threading.Event()

    def use() -> None:
        while not ended.is_set():
            space.add(b"threads", 1, deadline=soon())
            say("threads")

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(int(number)):
        space.add(b"parent", 1, deadline=soon())
        child = os.fork()
        if not child:
            try:
                space.add(b"child", 1, deadline=soon())
                space.add(b"child", 1, deadline=soon())
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        space.add(b"parent", 1, deadline=soon())
    ended.set()
    for thread in threads:
        thread.join()


JOBS = {job.__name__: job for job in (admit, add, take, swap, pairs, put, forks)}


def open_by_text(url: str) -> Store:
    """The store at a URL."""
    parsed = parse_state(url)
    assert parsed is not None
    return open_store(parsed)


if __name__ == "__main__":
    store = open_by_text(sys.argv[1])
    JOBS[sys.argv[2]](store.namespace("crowd"), *sys.argv[3:])
    store.close()
