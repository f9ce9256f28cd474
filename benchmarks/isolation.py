"""What isolation costs: W1 in instances that are kept, put back after each call, or made anew."""

from __future__ import annotations

from benchmarks.inprocess import Technologies, edits
from benchmarks.measure import Plan
from benchmarks.ours import PluginHost
from benchmarks.results import Outcome


class Shared(PluginHost):
    """The instance stays as the guest left it."""

    name = "shared"


class Request(PluginHost):
    """The instance is put back after each call."""

    name = "request"
    isolation = "request"


class SharedWritten(PluginHost):
    """Of a memory of 18 pages, 64 KiB have been written."""

    name = "shared, 64 KiB written"
    guest = "written.wasm"


class RequestWritten(SharedWritten):
    """The same, put back after each call."""

    name = "request, 64 KiB written"
    isolation = "request"


class Anew(PluginHost):
    """An instance for each call, made by the call before it."""

    name = "a new instance"
    recycle_calls = 1


class AnewWritten(SharedWritten):
    """The same, and its init writes."""

    name = "a new instance, 64 KiB written"
    recycle_calls = 1


ALL = (Shared, Request, Anew, SharedWritten, RequestWritten, AnewWritten)


def isolation(_technologies: Technologies, plan: Plan) -> Outcome:
    """W1 through the dispatcher, in each mode."""
    return edits(ALL, plan)
