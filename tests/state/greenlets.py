"""A store under gevent's patching: ``python -m tests.state.greenlets URL SERVER_PID``.

Prints how often another greenlet ran during operations, whether the store works, what an operation
on a server that hangs did, and how often the other greenlet ran when it was let.
"""

# ruff: noqa: E402  # patching comes first

from gevent import monkey

monkey.patch_all()

import os
import signal
import sys
import time

import gevent

from plugin_host.errors import StateUnavailable
from tests.state.crowd import open_by_text

ticks = 0


def tick() -> None:
    """Run whenever somebody lets go."""
    global ticks
    while ticks < 1000:
        ticks += 1
        gevent.sleep(0)


def main(url: str, server: int) -> None:
    """Use the store while another greenlet wants to run."""
    store = open_by_text(url)
    space = store.namespace("greenlets")
    greenlet = gevent.spawn(tick)
    for number in range(100):
        space.put(b"k", b"%d" % number, deadline=time.monotonic() + 60)
    worked = space.get(b"k", deadline=time.monotonic() + 60) == b"99"
    os.kill(server, signal.SIGSTOP)
    try:
        space.get(b"k", deadline=time.monotonic() + 0.1)
        waited = "answered"
    except StateUnavailable:
        waited = "waited"
    finally:
        os.kill(server, signal.SIGCONT)
    print(ticks, worked, waited)
    greenlet.join()
    print(ticks)
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
