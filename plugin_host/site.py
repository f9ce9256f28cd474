"""One app's requests: Flask's side of dispatch."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Request, Response, current_app, g, request
from werkzeug.datastructures import Headers
from werkzeug.exceptions import ServiceUnavailable

from . import bodies
from .errors import HookError
from .host import dispatch
from .host.dispatch import Exchange, Failed, Rerouted
from .host.host import Host
from .message import BODILESS, Answer

EXTENSION = "plugin_host"

#: Headers that describe a body and are wrong once it is replaced.
_OF_THE_BODY = ("ETag", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest", "Accept-Ranges")


class HookFailed(ServiceUnavailable):
    """What a client gets when a plugin fails whose policy is ``fail``: 503 and a request id.

    :param request_id: names the request in the log, where the cause is.
    """

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        super().__init__(
            f"A part of this site is unavailable at the moment. Request id: {request_id}"
        )

    def get_headers(self, *args: Any, **kwargs: Any) -> list[tuple[str, str]]:
        return [*super().get_headers(*args, **kwargs), ("X-Request-ID", self.request_id)]


def pinned_key(host: Host) -> str:
    """Where a request's environ keeps what is pinned to it: survives routing it afresh."""
    return f"plugin_host.{id(host)}"


class _Restart(BaseException):
    """Unwinds Flask's handling of a request that has to be routed afresh.

    Not an `Exception`, so that no error handler sees it.
    """


class Site:
    """Shows one app's requests and responses to its plugins."""

    def __init__(self, app: Flask, host: Host) -> None:
        self._app = app
        self._host = host
        self._key = pinned_key(host)
        self._limit = host.settings.max_body

    def register(self) -> None:
        """Register with the app. Nothing here can fail."""
        app, before, after = self._app, self._before_request(), self._after_request()
        # First before everything else, and last after it: a plugin sees what the client sent and
        # what the client will get.
        app.before_request_funcs.setdefault(None, []).insert(0, before)
        app.after_request_funcs.setdefault(None, []).insert(0, after)
        app.register_error_handler(HookError, _unavailable)
        app.wsgi_app = _restarting(app.wsgi_app)  # type: ignore[method-assign]

    def _before_request(self) -> Callable[[], Response | None]:
        """Return what shows each request to the plugins that match it.

        Every request pays for it, so it is a plain function that touches the proxy once.
        """
        host, key, travel, current_request = self._host, self._key, self._travel, _current_request()

        def before_request() -> Response | None:
            host.watch()
            current = current_request()
            environ = current.environ
            pinned = environ.get(key)  # there already when the request was routed afresh
            if pinned is None:
                environ[key] = pinned = host.snapshot
            exchange = pinned if pinned.__class__ is Exchange else None
            snapshot = exchange.snapshot if exchange else pinned
            if not snapshot.has_http_hooks:
                return None
            plan = snapshot.plan(current.method, current.path, current.endpoint)
            if exchange is None:
                if plan is None:
                    return None
                environ[key] = exchange = Exchange(snapshot)
            exchange.plan = plan
            return travel(exchange, current)

        return before_request

    def _travel(self, exchange: Exchange, current: Request) -> Response | None:
        body = bodies.RequestBody(current, self._limit)
        try:
            answer = exchange.on_request(
                current.environ, current.endpoint, current.view_args, body.read, body.replace
            )
        except Rerouted:
            raise _Restart from None
        except Failed as exc:
            raise HookFailed(exchange.request_id) from exc
        if exchange.edited:
            bodies.forget_cached(current)
        if exchange.g:
            for name, value in exchange.g.items():
                setattr(g, name, value)
        return None if answer is None else self._response(answer)

    def _response(self, answer: Answer) -> Response:
        response = self._app.response_class(answer.body, answer.status)
        response.headers = Headers([*answer.headers, ("Content-Length", str(len(answer.body)))])
        return response

    def _after_request(self) -> Callable[[Response], Response]:
        """Return what shows each response to the plugins that match the request."""
        key, return_through, current_request = self._key, self._return, _current_request()

        def after_request(response: Response) -> Response:
            current = current_request()
            exchange = current.environ.get(key)
            if exchange.__class__ is Exchange and exchange.has_response_hooks:
                return return_through(exchange, current.method, response)
            return response

        return after_request

    def _return(self, exchange: Exchange, method: str, response: Response) -> Response:
        body = bodies.ResponseBody(method, response, self._limit)
        headers = response.headers.to_wsgi_list()
        try:
            edited = exchange.on_response(response.status_code, headers, body.read)
        except Failed as exc:
            response.close()
            failure = HookFailed(exchange.request_id)
            failure.__cause__ = exc
            return self._app.make_response(self._app.handle_user_exception(failure))
        if edited is not None:
            _apply(edited, response, body.editable)
        return response


def _current_request() -> Callable[[], Request]:
    """Return what gives the request itself: each use of the proxy costs six times as much."""
    return request._get_current_object  # type: ignore[attr-defined,no-any-return]


def _apply(edited: dispatch.Response, response: Response, body_is_editable: bool) -> None:
    if edited.status != response.status_code:
        response.status_code = edited.status
        if edited.status in BODILESS:
            edited = edited._replace(body=b"")
    if edited.body is None or not body_is_editable:
        response.headers[:] = edited.headers
        return
    before = {name.lower(): value for name, value in response.headers}
    stale = {(name.lower(), before.get(name.lower())) for name in _OF_THE_BODY}
    response.headers[:] = [(n, v) for n, v in edited.headers if (n.lower(), v) not in stale]
    bodies.replace(response, edited.body)


def _unavailable(exc: HookError) -> Any:
    """Answer 503 for a business hook that failed and that the view did not catch."""
    exchange = next(
        (
            v
            for k, v in request.environ.items()
            if k.startswith(EXTENSION) and isinstance(v, Exchange)
        ),
        None,
    )
    request_id = exchange.request_id if exchange else secrets.token_hex(8)
    failure = HookFailed(request_id)
    failure.__cause__ = exc
    return current_app.handle_user_exception(failure)


def _restarting(wsgi_app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Wrap a WSGI app to start a request over when a plugin changed where it goes.

    Everything that Flask made of the first start is gone by then, so that routing, URL processors
    and a blueprint's own ``before_request`` see the request as if the client had sent it so. Each
    plugin sees a request once, which bounds the number of starts.
    """

    def start(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        while True:
            try:
                return wsgi_app(environ, start_response)
            except _Restart:
                continue

    return start
