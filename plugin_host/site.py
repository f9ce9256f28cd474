"""One app's requests: Flask's side of dispatch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from flask import Flask, Request, Response, current_app, g, request
from werkzeug.datastructures import Headers

from . import bodies
from .errors import HookError
from .host.host import Host
from .message import BODILESS, Answer
from .problem import BodyTooLarge, HookFailed
from .serving import dispatch
from .serving.dispatch import Exchange, Failed, Rerouted, TooLarge
from .serving.failure import request_id
from .serving.registry import UNDECIDED

EXTENSION = "plugin_host"

_WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

#: Headers that describe a body and are wrong once it is replaced.
_OF_THE_BODY = ("ETag", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest", "Accept-Ranges")


def pinned_key(host: Host) -> str:
    """Where a request's environ keeps the snapshot, or the `Exchange`, that is pinned to it."""
    return f"plugin_host.{id(host)}"


class _Restart(BaseException):
    """Unwinds Flask's handling of a request that has to be routed afresh.

    Not an `Exception`, so that no error handler sees it.
    """


class Site:
    """Shows one app's requests and responses to its plugins.

    It stands around three of the app's methods: ``wsgi_app`` decides whether a request may meet a
    plugin at all, ``preprocess_request`` shows it to plugins before anything else runs, and
    ``process_response`` shows them the response after everything else has run, the session's
    cookie included (docs/rationale.md, "Why not before_request and after_request?").
    """

    def __init__(self, app: Flask, host: Host) -> None:
        self._app = app
        self._host = host
        self._key = pinned_key(host)
        self._limit = host.settings.max_body
        #: The exchange of the request that this context handles, while it may meet plugins.
        self._exchange: ContextVar[Exchange | None] = ContextVar(self._key, default=None)

    def register(self) -> None:
        """Register with the app. Nothing here can fail."""
        app = self._app
        app.register_error_handler(HookError, _unavailable)
        app.wsgi_app = self._around_wsgi_app(app.wsgi_app)  # type: ignore[assignment,method-assign]
        app.preprocess_request = self._before(app.preprocess_request)  # type: ignore[method-assign]
        app.process_response = self._after(app.process_response)  # type: ignore[method-assign]

    def _around_wsgi_app(self, wsgi_app: _WsgiApp) -> _WsgiApp:
        """Pin the snapshot; let a request that no plugin can match pass at once."""
        host, key, current = self._host, self._key, self._exchange

        def pinning(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            host.watch()
            environ[key] = snapshot = host.snapshot.for_request(environ)
            # The method as the framework's request will have it, or a plugin could be passed by.
            method = environ["REQUEST_METHOD"].upper()
            plan = snapshot.plan_early(method, environ.get("PATH_INFO", ""))
            if plan is None:
                return wsgi_app(environ, start_response)
            environ[key] = exchange = Exchange(snapshot, plan)
            token = current.set(exchange)
            try:
                return _start(wsgi_app, environ, start_response)
            finally:
                current.reset(token)

        return pinning

    def _before(self, preprocess_request: Callable[..., Any]) -> Callable[..., Any]:
        current = self._exchange

        def preprocess(*args: Any) -> Any:
            exchange = current.get()
            if exchange is not None:
                answer = self._travel(exchange)
                if answer is not None:
                    return answer
            return preprocess_request(*args)

        return preprocess

    def _after(self, process_response: Callable[..., Response]) -> Callable[..., Response]:
        current = self._exchange

        def process(*args: Any) -> Response:
            response = process_response(*args)
            exchange = current.get()
            if exchange is None:
                return response
            if exchange.method is not None:
                # The client waits for a body, or for none, by the method that it sent: the server's
                # connection, which may be a proxy's for many clients, would get out of step.
                request.environ["REQUEST_METHOD"] = exchange.method
            if exchange.has_response_hooks:
                return self._return(exchange, response)
            return response

        return process

    def _travel(self, exchange: Exchange) -> Response | None:
        """Show a request to the plugins that match it, on its way in."""
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        plan, answer = exchange.plan, None
        if plan is UNDECIDED:
            plan = exchange.snapshot.plan(current.method, current.path, current.endpoint)
            exchange.plan = plan
        if plan is not None and plan.on_request:
            body = bodies.RequestBody(current, self._limit)
            try:
                answer = exchange.on_request(
                    current.environ, current.endpoint, current.view_args, body.read, body.replace
                )
            except Rerouted:
                raise _Restart from None
            except Failed as exc:
                raise HookFailed(request_id(current.environ)) from exc
            except TooLarge:
                raise BodyTooLarge(request_id(current.environ)) from None
            if exchange.edited:
                bodies.forget_cached(current)
        if exchange.g:  # also what was set before the request was routed afresh
            for name, value in exchange.g.items():
                setattr(g, name, value)
        return None if answer is None else self._response(answer)

    def _response(self, answer: Answer) -> Response:
        response = self._app.response_class(answer.body, answer.status)
        response.headers = Headers([*answer.headers, ("Content-Length", str(len(answer.body)))])
        return response

    def _return(self, exchange: Exchange, response: Response) -> Response:
        """Show a response to the plugins that match the request, on its way out."""
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        body = bodies.ResponseBody(exchange.method or current.method, response, self._limit)
        headers, environ = response.headers.to_wsgi_list(), current.environ
        try:
            edited = exchange.on_response(environ, response.status_code, headers, body.read)
        except Failed as exc:
            response.close()
            failure = HookFailed(request_id(environ))
            failure.__cause__ = exc
            return self._app.make_response(self._app.handle_user_exception(failure))
        if edited is None:
            return response
        if edited.whole:
            response.close()
            body_of = b"" if edited.status in BODILESS else edited.body or b""
            return self._response(Answer(edited.status, tuple(edited.headers), body_of))
        _apply(edited, response, body.editable)
        return response


def _apply(edited: dispatch.Response, response: Response, body_is_editable: bool) -> None:
    if edited.status != response.status_code:
        response.status_code = edited.status
        body_is_editable |= edited.status in BODILESS  # it has none now, whatever it had
    if edited.body is None or not body_is_editable:
        response.headers[:] = edited.headers
        return
    before = {name.lower(): value for name, value in response.headers}
    stale = {(name.lower(), before.get(name.lower())) for name in _OF_THE_BODY}
    response.headers[:] = [(n, v) for n, v in edited.headers if (n.lower(), v) not in stale]
    bodies.replace(response, edited.body)


def _unavailable(exc: HookError) -> Any:
    """Answer 503 for a business hook that failed and that the view did not catch."""
    failure = HookFailed(request_id(request.environ))
    failure.__cause__ = exc
    return current_app.handle_user_exception(failure)


def _start(wsgi_app: _WsgiApp, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Handle a request, and start over when a plugin changed where it goes.

    Everything that Flask made of the first start is gone by then, so that routing, URL processors
    and a blueprint's own ``before_request`` see the request as if the client had sent it so. Each
    plugin sees a request once, which bounds the number of starts.
    """
    while True:
        try:
            return wsgi_app(environ, start_response)
        except _Restart:
            continue
