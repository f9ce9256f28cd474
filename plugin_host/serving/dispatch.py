"""What a request travels: the plugins of its plan, in order, and back in reverse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import HookError, PayloadError
from ..hookspec import HookSpec
from ..message import (
    BODILESS,
    Answer,
    OnlyHeaders,
    RequestEdits,
    apply_header_edits,
    apply_to_environ,
    apply_to_headers,
)
from .failure import log_failure, request_id
from .plugin import ON_REQUEST, ON_RESPONSE, Plugin
from .registry import UNDECIDED, Plan, Snapshot


class Body(NamedTuple):
    """A body as a plugin that needs it gets it: its bytes, or word that it was left out."""

    data: bytes = b""
    flags: int = 0
    #: Left out because it is larger than the limit, not because there is none to show.
    oversize: bool = False


NO_BODY = Body()


class Failed(Exception):
    """A hook failed whose plugin's policy is ``fail``: the request is answered with 503."""


class TooLarge(Exception):
    """A plugin wants no request whose body is as large: it is answered with 413."""


class Rerouted(Exception):
    """A plugin changed where the request goes; it has to be routed afresh."""


class Exchange:
    """One request on its way through the plugins, from the first `on_request` to the last
    `on_response`: the snapshot it started with and what its plugins left on it.
    """

    __slots__ = ("_contexts", "_done", "edited", "g", "method", "plan", "snapshot")

    def __init__(self, snapshot: Snapshot, plan: Plan | None = None) -> None:
        self.snapshot = snapshot
        #: The plugins to meet; UNDECIDED until the request is routed, if that matters.
        self.plan = plan
        #: What plugins set on ``g`` for the view; None if nothing.
        self.g: dict[str, str] | None = None
        #: The client's own method, if a plugin has changed it: it decides how responses are framed.
        self.method: str | None = None
        #: Whether a plugin has changed the environ.
        self.edited = False
        self._contexts: dict[str, bytes] | None = None
        self._done: frozenset[Plugin] = frozenset()

    @property
    def is_done(self) -> bool:
        """Whether plugins have nothing to do with the response."""
        plan = self.plan
        if plan is UNDECIDED or self.method is not None or self._done:
            return False
        return plan is None or not plan.on_response

    def on_request(
        self,
        environ: dict[str, Any],
        endpoint: str | None,
        args: Mapping[str, Any] | None,
        read_body: Callable[[], Body],
        replace_body: Callable[[bytes], None],
    ) -> Answer | None:
        """Show the request to the plan's plugins and apply their edits to ``environ``.

        :param endpoint: what the path routes to; None if it routes nowhere.
        :param read_body: called if a plugin needs the body; gives the same each time.
        :param replace_body: called with the new body if a plugin sets it.
        :returns: a plugin's answer, which ends the request; None to go on.
        :raises Rerouted: path, method, host or cookies changed, or the query of what routes
            nowhere; call again after routing. Plugins that have seen the request are not called
            twice.
        :raises Failed: as it says; so does TooLarge.
        """
        plugins = self.plan.on_request if self.plan else ()
        done = self._done
        for plugin in plugins:
            if done and plugin in done:
                continue
            body = read_body() if plugin.request_body else NO_BODY
            if body.oversize and plugin.manifest.oversize_body == "reject":
                raise TooLarge
            try:
                record = plugin.encode_request(environ, endpoint, args, body.data, body.flags)
                edits = plugin.call(ON_REQUEST, record, plugin.timeout, plugin.decode_request)
            except HookError as exc:
                answer = _apply_policy(plugin, ON_REQUEST, exc, environ)
                if answer is not None:
                    return answer
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
            if edits.reroutes or (edits.query is not None and endpoint is None):
                # A path that routes nowhere may be a redirect, which repeats the query.
                self._done = done.union(plugins[: plugins.index(plugin) + 1])
                self.plan = UNDECIDED
                raise Rerouted
        return None

    def _apply(self, environ: dict[str, Any], plugin: Plugin, edits: RequestEdits) -> None:
        if edits.method is not None and self.method is None:
            self.method = environ["REQUEST_METHOD"]
        apply_to_environ(environ, edits)
        if edits.context is not None:
            self._contexts = {**(self._contexts or {}), plugin.name: edits.context}
        if edits.g:
            self.g = {**(self.g or {}), **dict(edits.g)}

    def on_response(
        self,
        environ: dict[str, Any],
        status: int,
        headers: list[tuple[str, str]],
        read_body: Callable[[bool, bytes | None], Body],
    ) -> Response | None:
        """Show the response to the plan's plugins, in reverse order.

        :param environ: the request's.
        :param headers: as the response has them; not changed.
        :param read_body: called if a plugin needs the body, with whether also a streamed body is
            to be buffered, and with what plugins have made of the body, if anything.
        :returns: the edited response; None if no plugin changed anything.
        :raises Failed: as it says.
        """
        edited: bytes | None = None
        changed = whole = False
        for plugin in self.plan.on_response if self.plan else ():
            body = NO_BODY
            if plugin.response_body:
                body = read_body(plugin.manifest.response_needs.stream, edited)
            context = self._contexts.get(plugin.name) if self._contexts else None
            try:
                record = plugin.encode_response(status, headers, context, body.data, body.flags)
                edits = plugin.call(ON_RESPONSE, record, plugin.timeout, plugin.decode_response)
            except HookError as exc:
                answer = _apply_policy(plugin, ON_RESPONSE, exc, environ)
                if answer is not None:
                    status, headers, edited = answer.status, list(answer.headers), answer.body
                    changed = whole = True
                continue
            if edits is None:
                continue
            changed = True
            headers = apply_to_headers(headers, edits)
            status = edits.status or status
            if status in BODILESS:
                edited = b""
            elif edits.body is not None:
                edited = edits.body
        return Response(status, headers, edited, whole) if changed else None


class Response(NamedTuple):
    """An edited response; ``body`` is None if no plugin set it.

    :param whole: it is not the view's any more, but a plugin's fixed response to its own failure.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes | None
    whole: bool = False


def _apply_policy(
    plugin: Plugin, hook: str, exc: HookError, environ: dict[str, Any]
) -> Answer | None:
    """Return what the client is answered instead; None to go on.

    :raises Failed: as it says.
    """
    policy = plugin.policies[hook]
    log_failure(plugin, hook, exc, policy.word, request_id(environ))
    if policy.word == "fail":
        raise Failed from exc
    return policy.response


def call_hook(
    snapshot: Snapshot,
    spec: HookSpec,
    payload: Any,
    timeout: float,
    environ: dict[str, Any] | None,
) -> Any:
    """Call a business hook on every plugin that exports it, combined as its hookspec says.

    :param timeout: each plugin's deadline, in seconds, unless its own is lower.
    :param environ: of the request that the call belongs to, if any; its id goes into the log.
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
            answer = _fallback(plugin, spec, exc, environ)
            if plugin.policies[spec.name].word == "fail":
                raise
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


def _fallback(
    plugin: Plugin, spec: HookSpec, exc: HookError, environ: dict[str, Any] | None
) -> tuple[bytes, Any] | None:
    """Return what stands for a failed plugin's answer, as bytes and as a value; None for none."""
    policy = plugin.policies[spec.name]
    word, answer = policy.word, None
    if policy.answer is not None:
        try:
            answer = policy.answer, spec.decode(policy.answer)
        except PayloadError as unfit:
            word = f"skip ({unfit.message})"
    log_failure(plugin, spec.name, exc, word, request_id(environ) if environ else None)
    return answer
