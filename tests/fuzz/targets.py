"""What is fuzzed: each target reads any bytes, and raises nothing but the error it promises."""

from __future__ import annotations

import functools
import logging
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from plugin_host.abi.edits import MAX_EDITS, EditsDecoder
from plugin_host.errors import BadResult, ManifestError, SignatureError
from plugin_host.files.private import write_whole
from plugin_host.folder.scan import Candidate
from plugin_host.host.switch import Switch
from plugin_host.machine.control import Control
from plugin_host.machine.controlfile import ControlFile
from plugin_host.machine.datadir import DataDir
from plugin_host.machine.fleet import Beacon, fleet
from plugin_host.machine.versionfile import parse as parse_version
from plugin_host.machine.versionfile import parts_of
from plugin_host.manifest import parse_manifest
from plugin_host.message import HeaderEdit, apply_to_environ, edited_headers
from plugin_host.modules.binary import BinaryError, custom_sections, read_module
from plugin_host.modules.debuginfo import harmless_debuginfo
from plugin_host.trust import keyring, signature

CORPUS: Final = Path(__file__).parent / "corpus"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PUBLIC: Final = bytes(range(32))
_KEYS: Final = {keyring.key_id(_PUBLIC): _PUBLIC}


def _headers_are_safe(edits: tuple[HeaderEdit, ...]) -> None:
    for _, name, value, _ in edits:
        _header_is_safe(name, value)
    edited_headers([("x", "y")], list(edits))


def _header_is_safe(name: str, value: str) -> None:
    assert _TOKEN.fullmatch(name), name
    assert not set("\r\n\0") & set(value), value
    value.encode("latin-1")


def _lies_within(offset: int, data: bytes) -> None:
    assert 0 <= offset <= len(data)


def request_edits(data: bytes) -> None:
    """A result of ``on_request``: what comes out can be applied and sent."""
    try:
        edits = EditsDecoder().request(data)
    except BadResult as error:
        _lies_within(error.offset, data)
        return
    assert len(edits.headers) + len(edits.g) <= MAX_EDITS
    _headers_are_safe(edits.headers)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "QUERY_STRING": "", "RAW_URI": "/"}
    apply_to_environ(environ, edits)
    for key in ("REQUEST_METHOD", "QUERY_STRING", "RAW_URI"):  # a path is decoded, and free
        assert environ[key].isascii()
        assert not set("\r\n\0 ") & set(environ[key])
    if edits.answer is not None:
        assert 100 <= edits.answer.status <= 599
        for name, value in edits.answer.headers:
            _header_is_safe(name, value)


def response_edits(data: bytes) -> None:
    """A result of ``on_response``."""
    try:
        edits = EditsDecoder().response(data)
    except BadResult as error:
        _lies_within(error.offset, data)
        return
    _headers_are_safe(edits.headers)
    assert edits.status is None or 100 <= edits.status <= 599


def module(data: bytes) -> None:
    """The reader of modules, and of their custom sections."""
    try:
        info = read_module(data)
    except BinaryError as error:
        _lies_within(error.offset, data)
    else:
        assert sum(section.size for section in info.sections) <= len(data)
    try:
        sections = custom_sections(data, "plugin_host.manifest")
        harmless = harmless_debuginfo(data)
        assert harmless_debuginfo(harmless) == harmless
    except BinaryError:
        return
    assert sum(map(len, sections)) <= len(data)


def manifest(data: bytes) -> None:
    """A manifest, beside a module or within it: what is accepted can be given to a guest."""
    try:
        found = parse_manifest(Path("fuzzed.toml"), stem="fuzzed", text=data)
    except ManifestError:
        return
    assert re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", found.name)
    found.config_json()


def signature_file(data: bytes) -> None:
    """A signature beside a module: nothing that was not made with the key is good."""
    candidate = Candidate.of("fuzzed", [Path("fuzzed.wasm")], [b"module"], data)
    try:
        signature.verify(candidate, _KEYS)
    except SignatureError:
        return
    raise AssertionError("a forged signature was taken for good")


@functools.cache
def _data_dir() -> tuple[tempfile.TemporaryDirectory[str], DataDir]:
    folder = tempfile.TemporaryDirectory()
    return folder, DataDir.open(Path(folder.name) / "data")


def key_file(data: bytes) -> None:
    """A file of public keys."""
    path = Path(_data_dir()[0].name) / "keys"
    write_whole(path, [data])
    try:
        keys = keyring.read_keys(path)
    except keyring.KeyTextError:
        return
    assert keys
    assert all(keyring.from_text(keyring.to_text(key)) == key for key in keys)


def control_file(data: bytes) -> None:
    """The file of decisions: a worker that cannot understand it goes on, and learns nothing."""
    file = ControlFile(_data_dir()[1])
    write_whole(file.path, [data])
    logger = logging.getLogger("plugin_host")
    logger.disabled = True  # every input is worth a line
    try:
        assert isinstance(file.read(), Control)
    finally:
        logger.disabled = False


def switch_file(data: bytes) -> None:
    """What workers that swap together agree on: whoever cannot understand it begins anew."""
    datadir = _data_dir()[1]
    switch = Switch(datadir, Beacon(datadir), "/plugins", 0.1)
    write_whole(switch.path, [data])
    switch._read()


def beacon(data: bytes) -> None:
    """A worker's published state: whoever lists the workers leaves out what is none."""
    datadir = _data_dir()[1]
    write_whole(datadir.folder("workers") / "1-0123456789abcdef.json", [data])
    for worker in fleet(datadir):
        assert isinstance(worker.status, dict)


def kept_version(data: bytes) -> None:
    """A kept version: what comes out can be kept again."""
    try:
        candidate = parse_version(data)
    except ValueError:
        return
    assert b"".join(parts_of(candidate, "1"))


#: By name: what reads bytes, and asserts what must hold of them.
TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        request_edits,
        response_edits,
        module,
        manifest,
        signature_file,
        key_file,
        control_file,
        switch_file,
        beacon,
        kept_version,
    )
}


def corpus(name: str) -> dict[str, bytes]:
    """Return the kept inputs of a target, by file name."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / name).iterdir())}
