"""Whole Flask requests, in the process, by CPU time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import works
from benchmarks.measure import Case, Plan, measure
from benchmarks.results import Outcome
from benchmarks.site import KINDS, WITHOUT, sites

NO_MATCH = (WITHOUT, "0 plugins", "1 plugins", "10 plugins", "100 plugins")


def _start_response(status: str, _headers: Any, _exc_info: Any = None) -> Callable[[bytes], None]:
    if not status.startswith("200"):
        raise RuntimeError(f"the site answered {status}")
    return lambda _data: None


def _call(app: Any) -> Callable[[dict[str, Any]], bytes]:
    def call(environ: dict[str, Any]) -> bytes:
        body = app(environ, _start_response)
        try:
            return b"".join(body)
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()

    return call


def _inputs(size: int) -> list[works.Environ]:
    return works.batch(size, with_body=False)


def _run(kinds: tuple[str, ...], plan: Plan) -> Outcome:
    skipped: dict[str, str] = {}
    with sites(kinds, skipped) as made:
        cases = [Case(kind, _call(app), _inputs) for kind, app in made.items()]
        for case in cases:
            _check(case)
        return Outcome(measure(cases, plan, reference=WITHOUT), skipped)


def _check(case: Case) -> None:
    """A hook that is silently not there would look very fast."""
    page = case.call(_inputs(1)[0])
    edited = "hook" in case.name or "before_request" in case.name
    if (b"In stock. de" in page) is not edited:  # type: ignore[operator]
        raise RuntimeError(f"{case.name}: the page is {page!r}")


def request(_technologies: object, plan: Plan) -> Outcome:
    """A request of one small page, with and without hooks."""
    return _run(KINDS, plan)


def no_match(_technologies: object, plan: Plan) -> Outcome:
    """A request that no plugin wants, with more and more plugins."""
    return _run(NO_MATCH, plan)
