"""One app's requests: Flask's side of dispatch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from flask import Flask, Request, Response, current_app, g, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from . import bodies
from .abi.edit_values import FILES_TO_SEND
from .errors import HookError
from .host.host import Host
from .message import BODILESS, Answer
from .problem import BodyTooLarge, HookFailed
from .serving import dispatch
from .serving.dispatch import Exchange, Failed, Rerouted, TooLarge
from .serving.failure import request_id
from .serving.registry import UNDECIDED, Plan

EXTENSION = "plugin_host"

_WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

#: In a request's environ once a plugin has read its session.
SESSION_READ = "plugin_host.session_read"
#: Where test clients and debuggers ask for the context that a request leaves.
_PRESERVE = "werkzeug.debug.preserve_context"

#: Headers that describe or name a body and are wrong once it is replaced.
_OF_THE_BODY = FILES_TO_SEND.union(
    ("etag", "content-md5", "digest", "content-digest", "repr-digest", "accept-ranges")
)


def pinned_key(host: Host) -> str:
    """Where a request's environ keeps the snapshot, or the `Exchange`, that is pinned to it."""
    return f"plugin_host.{id(host)}"


class _Restart(BaseException):
    """Unwinds Flask's handling of a request that has to be routed afresh.

    Not an `Exception`, so that no error handler sees it.

    :param environ: as the plugins have left it, which may be a copy that middleware has made.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        self.environ = environ


class Site:
    """Shows one app's requests and responses to its plugins.

    It stands around four of the app's methods: ``wsgi_app`` decides whether a request may meet a
    plugin at all, ``preprocess_request`` shows it to plugins before anything else runs,
    ``finalize_request`` has the client's own method when a response is made, and
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
        if HookError not in app.error_handler_spec[None][None]:  # the app's own answer is kept
            app.register_error_handler(HookError, _unavailable)
        app.wsgi_app = self._around_wsgi_app(app.wsgi_app)  # type: ignore[assignment,method-assign]
        app.preprocess_request = self._before(app.preprocess_request)  # type: ignore[method-assign]
        app.finalize_request = self._framing(app.finalize_request)  # type: ignore[method-assign]
        app.process_response = self._after(app.process_response)  # type: ignore[method-assign]
        ignores = _ignoring_restarts(app.should_ignore_error)
        app.should_ignore_error = ignores  # type: ignore[assignment,method-assign]

    def _around_wsgi_app(self, wsgi_app: _WsgiApp) -> _WsgiApp:
        """Pin the snapshot; let a request that no plugin can match pass at once."""
        host, key, current = self._host, self._key, self._exchange
        # Middleware further in may change method and path: then nothing is known before routing.
        wrapped = getattr(wsgi_app, "__func__", None) is not Flask.wsgi_app

        def pinning(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            host.watch()
            if key in environ:  # a view forwards the request that it handles, which is not over
                environ = dict(environ)
            environ[key] = snapshot = host.snapshot.for_request(environ)
            if wrapped:
                plan: Plan | None = UNDECIDED
            else:
                # As the framework's request will have it, or a plugin could be passed by.
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

    def _framing(self, finalize_request: Callable[..., Response]) -> Callable[..., Response]:
        """Have responses made for the method that the client sent, also those to errors.

        The client waits for a body, or for none, by that method: the server's connection, which may
        be a proxy's for many clients, would get out of step.
        """
        current = self._exchange

        def finalize(rv: Any, *args: Any, **more: Any) -> Response:
            exchange = current.get()
            if exchange is not None and exchange.method is not None:
                asked: Request = request._get_current_object()  # type: ignore[attr-defined]
                if self._is_of(exchange, asked):
                    if isinstance(rv, HTTPException):  # called as a WSGI app it would be a stream
                        rv = rv.get_response(asked.environ)
                    else:  # a WSGI app that a view has returned is called as plugins have it
                        rv = self._app.make_response(rv)
                    asked.environ["REQUEST_METHOD"] = exchange.method
            return finalize_request(rv, *args, **more)

        return finalize

    def _after(self, process_response: Callable[..., Response]) -> Callable[..., Response]:
        current = self._exchange

        def process(*args: Any) -> Response:
            response = process_response(*args)
            exchange = current.get()
            if exchange is None or exchange.is_done:
                return response
            return self._return(exchange, response)

        return process

    def _travel(self, exchange: Exchange) -> Response | None:
        """Show a request to the plugins that match it, on its way in."""
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        if not self._is_of(exchange, current):
            return None
        plan, answer = self._plan(exchange, current), None
        if plan is not None and plan.on_request:
            body = bodies.RequestBody(current, self._limit)
            try:
                answer = exchange.on_request(
                    current.environ, current.endpoint, current.view_args, body.read, body.replace
                )
            except Rerouted:
                body.rewind()
                raise _restart(current.environ) from None
            except Failed as exc:
                raise HookFailed(request_id(current.environ)) from exc
            except TooLarge:
                raise BodyTooLarge(request_id(current.environ)) from None
            finally:  # an error handler sees what plugins have made of it so far, as a view does
                if exchange.edited:
                    body.forget_cached()
        if exchange.g:  # also what was set before the request was routed afresh
            for name, value in exchange.g.items():
                setattr(g, name, value)
        return None if answer is None else self._response(answer)

    def _is_of(self, exchange: Exchange, current: Request) -> bool:
        """Whether an exchange is the request's own.

        A view may make requests in a context of its own, with a test client for instance; those
        that no plugin matches have no exchange, and find that of the request around them.
        """
        return current.environ.get(self._key) is exchange

    def _plan(self, exchange: Exchange, current: Request) -> Plan | None:
        if exchange.plan is UNDECIDED:
            snapshot = exchange.snapshot
            exchange.plan = snapshot.plan(current.method, current.path, current.endpoint)
        return exchange.plan

    def _response(self, answer: Answer) -> Response:
        response = self._app.response_class(answer.body, answer.status)
        response.headers = Headers([*answer.headers, ("Content-Length", str(len(answer.body)))])
        return response

    def _return(self, exchange: Exchange, response: Response) -> Response:
        """Show a response to the plugins that match the request, on its way out."""
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        if not self._is_of(exchange, current):
            return response
        plan = self._plan(exchange, current)  # not made yet if a signal's receiver has failed
        if current.method == "HEAD" and exchange.method not in (None, "HEAD"):
            bodies.measure(response)
        if plan is not None and plan.on_response:
            response = self._show(exchange, current, response)
        if SESSION_READ in current.environ:
            # Which Flask has seen to before, if it was read by then and in this context.
            response.vary.add("Cookie")
        return response

    def _show(self, exchange: Exchange, current: Request, response: Response) -> Response:
        body = bodies.ResponseBody(exchange.method or current.method, response, self._limit)
        headers, environ = response.headers.to_wsgi_list(), current.environ
        try:
            edited = exchange.on_response(environ, response.status_code, headers, body.read)
        except Failed as exc:
            response.close()
            return self._app.make_response(_answer_failure(environ, exc))
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
    before = [(name.lower(), value) for name, value in response.headers]
    # That nothing is modified is said of the body that they describe.
    names = FILES_TO_SEND if edited.status == 304 else _OF_THE_BODY
    stale = {(name, value) for name, value in before if name in names}
    response.headers[:] = [(n, v) for n, v in edited.headers if (n.lower(), v) not in stale]
    bodies.replace(response, edited.body)


def _unavailable(exc: HookError) -> Any:
    """Answer 503 for a business hook that failed and that the view did not catch."""
    return _answer_failure(request.environ, exc)


def _answer_failure(environ: dict[str, Any], cause: Exception) -> Any:
    try:
        raise HookFailed(request_id(environ)) from cause
    except HookFailed as failure:  # an app that traps HTTP errors raises what it is handling
        return current_app.handle_user_exception(failure)


def _ignoring_restarts(
    own: Callable[[BaseException | None], bool] | None,
) -> Callable[[BaseException | None], bool]:
    """Return an app's ``should_ignore_error`` that hides a start over from teardown functions."""
    return lambda error: isinstance(error, _Restart) or bool(own and own(error))


def _restart(environ: dict[str, Any]) -> _Restart:
    """Return what starts a request over with its environ as it is now."""
    edited = dict(environ)
    environ.pop(_PRESERVE, None)  # of the context that is left; the next one's is wanted
    return _Restart(edited)


def _start(wsgi_app: _WsgiApp, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Handle a request, and start over when a plugin changed where it goes.

    Everything that Flask made of the first start is gone by then, so that routing, URL processors
    and a blueprint's own ``before_request`` see the request as if the client had sent it so. Each
    plugin sees a request once, which bounds the number of starts.
    """
    while True:
        try:
            return wsgi_app(environ, start_response)
        except _Restart as restart:
            environ.clear()
            environ.update(restart.environ)
