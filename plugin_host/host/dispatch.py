"""What a request travels: the plugins of its plan, in order, and back in reverse."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..abi.native import BODY
from ..errors import HookError
from ..hookspec import HookSpec
from ..message import (
    Answer,
    OnlyHeaders,
    RequestEdits,
    apply_header_edits,
    apply_to_environ,
    apply_to_headers,
)
from .plugin import ON_REQUEST, ON_RESPONSE, Plugin
from .registry import UNDECIDED, Plan, Snapshot

logger = logging.getLogger("plugin_host")


class Body(NamedTuple):
    """A body as a plugin that needs it gets it: its bytes, or word that it was left out."""

    data: bytes = b""
    flags: int = 0
    #: Left out because it is larger than the limit, not because there is none to show.
    oversize: bool = False


NO_BODY = Body()


class Failed(Exception):
    """A hook failed whose plugin's policy is ``fail``: the request is answered with 503."""


class Rerouted(Exception):
    """A plugin changed where the request goes; it has to be routed afresh."""


class Exchange:
    """One request on its way through the plugins, from the first `on_request` to the last
    `on_response`: the snapshot it started with and what its plugins left on it.
    """

    __slots__ = ("_contexts", "_done", "_request_id", "edited", "g", "plan", "snapshot")

    def __init__(self, snapshot: Snapshot, plan: Plan | None = None) -> None:
        self.snapshot = snapshot
        #: The plugins to meet; UNDECIDED until the request is routed, if that matters.
        self.plan = plan
        #: What plugins set on ``g`` for the view; None if nothing.
        self.g: dict[str, str] | None = None
        #: Whether a plugin has changed the environ.
        self.edited = False
        self._contexts: dict[str, bytes] | None = None
        self._done: frozenset[Plugin] = frozenset()
        self._request_id: str | None = None

    @property
    def request_id(self) -> str:
        """Names this request in the log and in a 503; made when first asked for."""
        if self._request_id is None:
            self._request_id = secrets.token_hex(8)
        return self._request_id

    @property
    def has_response_hooks(self) -> bool:
        """Whether any plugin wants to see the response."""
        return self.plan is not None and bool(self.plan.on_response)

    def on_request(
        self,
        environ: dict[str, Any],
        endpoint: str | None,
        args: Mapping[str, Any] | None,
        read_body: Callable[[], Body],
        replace_body: Callable[[bytes], None],
    ) -> Answer | None:
        """Show the request to the plan's plugins and apply their edits to ``environ``.

        :param read_body: called if a plugin needs the body; gives the same each time.
        :param replace_body: called with the new body if a plugin sets it.
        :returns: a plugin's answer, which ends the request; None to go on.
        :raises Rerouted: path, method or host changed; call again after routing. Plugins that
            have seen the request are not called twice.
        :raises Failed: as it says.
        """
        plugins = self.plan.on_request if self.plan else ()
        done = self._done
        for plugin in plugins:
            if done and plugin in done:
                continue
            body = read_body() if plugin.request_body else NO_BODY
            if body.oversize and plugin.manifest.oversize_body == "reject":
                return _TOO_LARGE
            try:
                record = plugin.encode_request(environ, endpoint, args, body.data, body.flags)
                edits = plugin.call(ON_REQUEST, record, plugin.timeout, plugin.decode_request)
            except HookError as exc:
                self._fail_or_skip(plugin, ON_REQUEST, exc)
                continue
            if edits is None:
                continue
            self.edited = True
            if edits.__class__ is OnlyHeaders:
                apply_header_edits(environ, edits.headers)
                continue
            self._apply(environ, plugin, edits)
            if edits.body is not None:
                replace_body(edits.body)
            if edits.answer is not None:
                return edits.answer
            if edits.reroutes:
                self._done = done.union(plugins[: plugins.index(plugin) + 1])
                self.plan = UNDECIDED
                raise Rerouted
        return None

    def _apply(self, environ: dict[str, Any], plugin: Plugin, edits: RequestEdits) -> None:
        apply_to_environ(environ, edits)
        if edits.context is not None:
            self._contexts = {**(self._contexts or {}), plugin.name: edits.context}
        if edits.g:
            self.g = {**(self.g or {}), **dict(edits.g)}

    def on_response(
        self,
        status: int,
        headers: list[tuple[str, str]],
        read_body: Callable[[bool], Body],
    ) -> Response | None:
        """Show the response to the plan's plugins, in reverse order.

        :param headers: as the response has them; not changed.
        :param read_body: called if a plugin needs the body, with whether also a streamed body is
            to be buffered; gives the body before any edit.
        :returns: the edited response; None if no plugin changed anything.
        :raises Failed: as it says.
        """
        edited: bytes | None = None
        changed = False
        for plugin in self.plan.on_response if self.plan else ():
            body = NO_BODY
            if plugin.response_body:
                stream = plugin.manifest.response_needs.stream
                body = read_body(stream) if edited is None else Body(edited, BODY)
            context = self._contexts.get(plugin.name) if self._contexts else None
            try:
                record = plugin.encode_response(status, headers, context, body.data, body.flags)
                edits = plugin.call(ON_RESPONSE, record, plugin.timeout, plugin.decode_response)
            except HookError as exc:
                self._fail_or_skip(plugin, ON_RESPONSE, exc)
                continue
            if edits is None:
                continue
            changed = True
            headers = apply_to_headers(headers, edits)
            status = edits.status or status
            edited = edited if edits.body is None else edits.body
        return Response(status, headers, edited) if changed else None

    def _fail_or_skip(self, plugin: Plugin, hook: str, exc: HookError) -> None:
        policy = plugin.manifest.failure_policy(hook)
        log_failure(plugin, hook, exc, policy, self.request_id)
        if policy == "fail":
            raise Failed from exc


class Response(NamedTuple):
    """An edited response; ``body`` is None if no plugin set it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | None


_TOO_LARGE = Answer(
    413, (("Content-Type", "text/plain; charset=utf-8"),), b"The request body is too large.\n"
)


def log_failure(
    plugin: Plugin, hook: str, exc: HookError, policy: str, request_id: str | None
) -> None:
    """Write the one log line of a failed hook."""
    logger.error(
        "plugin %s %s, hook %s: %s; policy %s%s",
        plugin.name,
        plugin.version,
        hook,
        exc.message,
        policy,
        f", request {request_id}" if request_id else "",
        extra={"plugin": plugin.name, "hook": hook, "request_id": request_id},
    )


def call_hook(
    snapshot: Snapshot, spec: HookSpec, payload: Any, timeout: float, exchange: Exchange | None
) -> Any:
    """Call a business hook on every plugin that exports it, combined as its hookspec says.

    :param timeout: each plugin's deadline, in seconds, unless its own is lower.
    :param exchange: the request that the call belongs to, if any; its id goes into the log.
    :returns: ``first``: the first answer; ``chain``: the last plugin's answer, each having been
        fed the answer before it; ``collect``: the list of answers. Without any answer the Python
        default's, or None (``chain``: the payload; ``collect``: an empty list).
    :raises PayloadError: the payload does not fit the hookspec.
    :raises HookError: a plugin failed whose policy for this hook is ``fail``.
    """
    answers: list[Any] = []
    plugins = snapshot.hooks.get(spec.name, ())
    data = spec.encode(payload)  # checked even if nobody listens: a wrong payload is a bug

    def decode(raw: bytes) -> tuple[bytes, Any]:
        return raw, spec.decode(raw)

    for plugin in plugins:
        try:
            answer = plugin.call(spec.name, data, min(timeout, plugin.timeout), decode)
        except HookError as exc:
            policy = plugin.manifest.failure_policy(spec.name)
            log_failure(plugin, spec.name, exc, policy, exchange.request_id if exchange else None)
            if policy == "fail":
                raise
            continue
        if answer is None:
            continue
        raw, value = answer
        answers.append(value)
        if spec.combine == "first":
            return value
        if spec.combine == "chain":
            data = raw
    if spec.combine == "collect":
        return answers or ([spec.default(payload)] if spec.default else [])
    if answers:
        return answers[-1]
    if spec.default is not None:
        return spec.default(payload)
    return payload if spec.combine == "chain" else None
