"""A plugin's own tests: its ``ph_selftest``, and the calls that its manifest recorded.

They run before the plugin serves, on guests that never will, through the encoders and decoders
that requests go through. What they do with host functions reaches nothing beyond themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from ..abi.guest import Guest
from ..abi.native import BODY, BODY_OMITTED, EditsDecoder, ResponseEncoder
from ..abi.request_records import Encode
from ..config import Settings
from ..errors import (
    DeadlineExceeded,
    GuestError,
    HookError,
    ManifestError,
    NoResources,
    SelfTestFailed,
)
from ..folder.scan import Candidate
from ..hookspec import HookSpec
from ..hostfunctions.services import Services
from ..hostfunctions.stage import Stage
from ..hostfunctions.state_prefetch import request_encoder
from ..manifest import BusinessTest, Manifest, RequestTest, ResponseTest, SelfTest
from ..manifest.selftest import RecordedRequest
from ..message import (
    ADD_HEADER,
    BODILESS,
    RequestEdits,
    ResponseEdits,
    apply_header_edits,
    environ_key,
)
from .expectation import Came, came_of_answer, came_of_request, came_of_response, mismatch

#: Statuses whose body a hook is never shown, as with responses that are served.
_NOT_SHOWN = BODILESS | {206}
#: All recorded calls of a plugin may take so many times ``PLUGIN_HOST_INIT_TIMEOUT``.
TOTAL = 5


class Make(Protocol):
    """Makes a ready guest; may raise HookError."""

    def __call__(
        self, start: float, timeout: float, config: bytes | None, stage: Stage, /
    ) -> Guest: ...


class SelfTests:
    """The tests of one version of a plugin.

    :param hooks: the plugin's hooks.
    :param services: what the plugin's host functions use; of its store, nothing.
    :param make: makes guests with the config given, else with the plugin's own, on a stage.
    """

    def __init__(
        self,
        candidate: Candidate,
        manifest: Manifest,
        hooks: tuple[str, ...],
        make: Make,
        settings: Settings,
        services: Services,
    ) -> None:
        self._module = candidate.module_path
        #: What holds the manifest, and is blamed for recorded calls.
        self._source: Path = candidate.manifest_path or candidate.module_path
        self._manifest = manifest
        self._hooks = hooks
        self._make = make
        self._timeout = settings.init_timeout
        self._services = services
        response = manifest.response_needs
        self._encode_response = ResponseEncoder(response.headers, response.context).encode
        self._decode = EditsDecoder(settings.max_result)

    def run(self, *, exported: bool) -> None:
        """Run all tests; the first that fails ends it.

        The guests' making has ``PLUGIN_HOST_INIT_TIMEOUT`` each time; so has ``ph_selftest``, and
        so have all recorded calls with one config together; all recorded calls and the making of
        their guests have `TOTAL` times that.

        :param exported: whether the module exports ``ph_selftest``.
        :raises SelfTestFailed: saying which test, what was expected and what came.
        :raises ManifestError: a recorded call is of a hook that the plugin does not have.
        :raises NoResources: as it says.
        """
        self._check_hooks()
        ends = monotonic() + TOTAL * self._timeout
        for config, tests in self._by_config().items():
            self._replay(config, tests, ends)
        if exported:
            try:
                guest = self._make(monotonic(), self._timeout, None, Stage())
                guest.selftest(monotonic(), self._timeout)
            except NoResources:
                raise
            except HookError as exc:
                raise _failed(self._module, "ph_selftest", exc) from exc

    def _check_hooks(self) -> None:
        for index, test in enumerate(self._manifest.selftest):
            if test.hook not in self._hooks:
                raise ManifestError(
                    self._source,
                    f"selftest[{index}].hook is {test.hook!r}, which the plugin does not have",
                    "its hooks are " + ", ".join(self._hooks),
                )

    def _by_config(self) -> dict[bytes, list[tuple[str, SelfTest]]]:
        """Return the recorded calls in order, with what messages call them, by config."""
        groups: dict[bytes, list[tuple[str, SelfTest]]] = {}
        for index, test in enumerate(self._manifest.selftest):
            label = f" {test.name!r}" if test.name else ""
            who = f"selftest[{index}]{label} of {test.hook}"
            groups.setdefault(self._manifest.config_json(test.config), []).append((who, test))
        return groups

    def _replay(self, config: bytes, tests: list[tuple[str, SelfTest]], ends: float) -> None:
        """Make the calls, one after the other, on one guest, as it would be in service.

        :param ends: when all recorded calls must have begun (`time.monotonic`).
        """
        who, stage = tests[0][0], Stage()
        guest, start = None, monotonic()
        try:
            encode = request_encoder(self._manifest, self._services, stage, self._timeout)
            for who, test in tests:
                data, read = self._prepare(test, encode)
                if guest is None:
                    began = monotonic()
                    self._check_time(who, ends)
                    guest = self._make(began, self._timeout, config, stage)
                    start += monotonic() - began  # that has a time of its own
                came = read(guest.call(test.hook, data, start, self._timeout))
                guest.calls += 1
                if guest.is_worn():
                    guest = None
                wrong = mismatch(test.expect, came)
                if wrong:
                    raise SelfTestFailed(
                        self._source, f"{who}: {wrong}", "correct the plugin, or what is expected"
                    )
        except NoResources:
            raise
        except HookError as exc:
            raise _failed(self._source, who, exc) from exc

    def _check_time(self, who: str, ends: float) -> None:
        if monotonic() > ends:
            raise SelfTestFailed(
                self._source,
                f"its self-tests have taken more than {TOTAL * self._timeout:g} s before {who}",
                "make them fewer or quicker, or raise PLUGIN_HOST_INIT_TIMEOUT",
            )

    def _prepare(
        self, test: SelfTest, encode: Encode
    ) -> tuple[bytes, Callable[[bytes | None], Came]]:
        """Return what the hook is given, and what makes values of its result."""
        if isinstance(test, RequestTest):
            return self._request(test, encode), self._read_request
        if isinstance(test, ResponseTest):
            return self._response(test), self._read_response
        spec = HookSpec(test.hook)
        return spec.encode(test.payload), lambda result: _read_answer(test, spec, result)

    def _request(self, test: RequestTest, encode: Encode) -> bytes:
        request = test.request
        needed = self._manifest.request_needs.body
        body, flags = (request.body.encode(), BODY) if needed else (b"", 0)
        environ = _environ(request)
        return encode(environ, request.endpoint, request.args, body, flags)

    def _response(self, test: ResponseTest) -> bytes:
        response = test.response
        body, flags = b"", 0
        if self._manifest.response_needs.body:
            shown = response.status not in _NOT_SHOWN
            body, flags = (response.body.encode(), BODY) if shown else (b"", BODY_OMITTED)
        headers = list(_pairs(response.headers))
        context = None if response.context is None else response.context.encode()
        return self._encode_response(response.status, headers, context, body, flags)

    def _read_request(self, result: bytes | None) -> Came:
        return came_of_request(RequestEdits() if result is None else self._decode.request(result))

    def _read_response(self, result: bytes | None) -> Came:
        edits = ResponseEdits() if result is None else self._decode.response(result)
        return came_of_response(edits)


def _read_answer(test: BusinessTest, spec: HookSpec, result: bytes | None) -> Came:
    # Only what is compared has to be JSON: the app may have declared that it passes plain bytes.
    if result is None or test.expect.answer is None:
        return came_of_answer(result is None, None)
    return came_of_answer(False, spec.decode(result))


def _environ(request: RecordedRequest) -> dict[str, Any]:
    """Return what a server would make of the request."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method.upper(),
        "wsgi.url_scheme": request.scheme,
        "HTTP_HOST": _wsgi(request.host),
        "PATH_INFO": _wsgi(request.path),
        "QUERY_STRING": request.query,
        "REMOTE_ADDR": request.remote,
        "SERVER_PROTOCOL": "HTTP/1.1",
    }
    if request.body:
        environ["CONTENT_LENGTH"] = str(len(request.body.encode()))
    pairs = _pairs(request.headers)
    edits = tuple((ADD_HEADER, name, value, environ_key(name)) for name, value in pairs)
    apply_header_edits(environ, edits)
    return environ


def _pairs(headers: Mapping[str, str | list[str]]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        for item in [value] if isinstance(value, str) else value:
            yield name, _wsgi(item)


def _wsgi(text: str) -> str:
    """Return text as WSGI has it: a character for each byte of its UTF-8."""
    return text.encode().decode("latin-1")


def _failed(path: Path, who: str, error: HookError) -> SelfTestFailed:
    if isinstance(error, DeadlineExceeded):
        remedy = "make it quicker, or raise PLUGIN_HOST_INIT_TIMEOUT"
        return SelfTestFailed(path, f"{who} {error.message}", remedy)
    verb = "declared an error" if isinstance(error, GuestError) else "failed"
    return SelfTestFailed(path, f"{who} {verb}: {error.message}", "correct the plugin")
