"""A bounded client in Python that checks every response."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from typing import Self

from benchmarks.reload_guests import HEADER

#: Requests over one connection, so that in time every worker gets its share of them.
_PER_CONNECTION = 50
_TIMEOUT = 30.0


class Client:
    """Asks over several connections at once, until the block ends.

    Every response is to be a 200 that carries the same version from both hooks. `failures` are
    those that are not a 200, do not come, or lack the plugin; in `mixed` the hooks disagree.
    """

    def __init__(self, port: int, connections: int) -> None:
        self.times: list[float] = []  # of each request, in milliseconds
        self.failures: list[str] = []
        self.mixed: list[str] = []
        self.versions: Counter[str] = Counter()
        self.workers: Counter[str] = Counter()
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(connections)]

    @property
    def requests(self) -> int:
        """How many were answered, or failed."""
        return len(self.times)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)
            try:
                for left in reversed(range(_PER_CONNECTION)):
                    self._ask(connection, last=left == 0)
                    if self._stop.is_set():
                        break
            except (OSError, http.client.HTTPException) as exc:
                self.failures.append(f"{time.strftime('%X')} {type(exc).__name__}: {exc}")
            finally:
                connection.close()

    def _ask(self, connection: http.client.HTTPConnection, last: bool) -> None:
        status, way_out, body = self._get(connection, "/", last)
        if status != 200:
            self.failures.append(f"{time.strftime('%X')} status {status}: {body[:200]!r}")
            return
        self._judge(body, way_out)

    def _get(
        self, connection: http.client.HTTPConnection, path: str, last: bool
    ) -> tuple[int, str, str]:
        """Ask for a page; return status, what `on_response` said, and the body."""
        began = time.perf_counter()
        connection.request("GET", path, headers={"Connection": "close"} if last else {})
        answer = connection.getresponse()
        body = answer.read().decode()
        self.times.append((time.perf_counter() - began) * 1e3)
        return answer.status, answer.headers.get(HEADER, "None"), body

    def _judge(self, body: str, way_out: str) -> None:
        """Hold a page to one version, and note who gave it."""
        worker, way_in = body.split()
        self.versions[way_out] += 1
        self.workers[worker] += 1
        if way_in == way_out == "None":
            self.failures.append(f"{time.strftime('%X')} {worker}: without the plugin")
        elif way_in != way_out:
            self.mixed.append(f"{time.strftime('%X')} {worker}: {way_in} in, {way_out} out")


def percentile(values: list[float], percent: float) -> float:
    """The value below which so many per cent of them lie."""
    ordered = sorted(values)
    return ordered[round((len(ordered) - 1) * percent / 100)]
