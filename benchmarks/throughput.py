"""Requests per second through gunicorn on the loopback interface: one worker, one client."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import works
from benchmarks.measure import Plan, Skipped, figures
from benchmarks.results import Outcome
from benchmarks.site import WITHOUT
from benchmarks.technology import optional

KINDS = (WITHOUT, "one header hook", "10 plugins that do not match",
         "Extism, JSON, in before_request")  # fmt: skip
CONNECTIONS = 4
PATH = "/product/7"
_START_TIMEOUT = 20.0


def throughput(_technologies: object, plan: Plan) -> Outcome:
    """Load each site in turn, a second or less at a time."""
    skipped: dict[str, str] = {}
    seconds = min(1.0, plan.batch_ns / 3e6)
    samples: dict[str, list[float]] = {}
    with ExitStack() as stack:
        ports = {}
        for kind in KINDS:
            try:
                ports[kind] = stack.enter_context(_server(kind))
            except Skipped as reason:
                skipped[kind] = str(reason)
        for kind, port in ports.items():
            samples[kind] = []
            _load(port, seconds / 2)
        for number in range(plan.rounds if ports else 0):
            for kind, port in ports.items():
                samples[kind].append(_load(port, seconds))
            plan.progress(f"round {number + 1}/{plan.rounds}")
    return Outcome(figures(samples, WITHOUT) if samples else [], skipped)


@contextmanager
def _server(kind: str) -> Iterator[int]:
    """A gunicorn with this kind of site; gives its port. Raises `Skipped`."""
    optional("gunicorn", "gunicorn")
    if kind.startswith("Extism"):
        optional("extism", "extism")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "1",
            "--worker-class", "gthread", "--threads", str(CONNECTIONS), "--log-level", "warning",
            "benchmarks.site:from_environment()",
        ]  # fmt: skip
        environ = os.environ | {"BENCHMARK_KIND": kind, "BENCHMARK_FOLDER": folder}
        process = subprocess.Popen(command, env=environ, cwd=Path(__file__).parents[1])
        try:
            _wait_for(port, process, kind)
            yield port
        finally:
            process.terminate()
            process.wait(20)


def _wait_for(port: int, process: subprocess.Popen[bytes], kind: str) -> None:
    end = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"gunicorn with {kind!r} ended with status {process.returncode}")
        try:
            status = _get(http.client.HTTPConnection("127.0.0.1", port, timeout=5))
        except OSError:
            time.sleep(0.05)
            continue
        if status != 200:
            raise RuntimeError(f"{kind}: the site answered {status}")
        return
    raise RuntimeError(f"gunicorn with {kind!r} did not answer in {_START_TIMEOUT:g} s")


def _headers() -> dict[str, str]:
    environ = works.environ(0, with_body=False)
    return {
        key[5:].replace("_", "-").title(): value
        for key, value in environ.items()
        if key.startswith("HTTP_") and key != "HTTP_HOST"
    }


def _get(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", PATH, headers=_headers())
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _load(port: int, seconds: float) -> float:
    """Requests per second."""
    wrk = shutil.which("wrk")
    if wrk is None or seconds < 1:
        return _load_from_python(port, seconds)
    headers = [part for pair in _headers().items() for part in ("-H", ": ".join(pair))]
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", *headers]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{PATH}"],
        capture_output=True, text=True, check=True, timeout=seconds + 30,
    )  # fmt: skip
    found = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    if found is None or "Non-2xx" in done.stdout:
        raise RuntimeError(f"wrk said: {done.stdout}")
    return float(found[1])


def _load_from_python(port: int, seconds: float) -> float:
    """A client in this process: slower than wrk, so that differences look smaller."""
    counts = [0] * CONNECTIONS
    began = time.perf_counter()
    end = began + seconds

    def client(index: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while time.perf_counter() < end:
            if _get(connection) == 200:
                counts[index] += 1
        connection.close()

    threads = [threading.Thread(target=client, args=(i,)) for i in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)
