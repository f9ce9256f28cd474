"""The form of a kept version: a line of JSON, the module, the manifest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from ..files.private import open_private
from ..folder.scan import Candidate

_MAX_HEADER: Final = 64 * 1024


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first line; file names may hold any bytes, so they are %-quoted.

    The signature is what came with the files: whoever loads the version verifies it again.
    """

    version: str
    stem: str
    module_path: str
    manifest_path: str | None
    module_size: int
    signature: bytes | None = None

    @property
    def file_name(self) -> str:
        """The name of the module's file."""
        return _unquote(self.module_path).name


def parts_of(candidate: Candidate, version: str) -> list[bytes]:
    """Return what a file of that version consists of."""
    manifest_path = candidate.manifest_path
    header = Header(
        version,
        _quote(candidate.stem),
        _quote(candidate.module_path),
        None if manifest_path is None else _quote(manifest_path),
        len(candidate.module),
        candidate.signature,
    )
    return [msgspec.json.encode(header) + b"\n", candidate.module, candidate.manifest or b""]


def is_kept(path: Path, parts: list[bytes]) -> bool:
    """Whether a file has that size and header: its name has the digest of all else.

    :raises OSError: it cannot be read.
    """
    header, size = parts[0], sum(map(len, parts))
    try:
        with open(open_private(path, os.O_RDONLY), "rb") as file:
            return os.fstat(file.fileno()).st_size == size and file.read(len(header)) == header
    except FileNotFoundError:
        return False


def read_header(file: BinaryIO) -> Header:
    """Read the first line.

    :raises ValueError: it is damaged.
    """
    return _decode(file.readline(_MAX_HEADER))


def parse(content: bytes) -> Candidate:
    """Turn a file's content into what was put, without checking the digest.

    :raises ValueError: it is damaged.
    """
    line, _, rest = content.partition(b"\n")
    header = _decode(line + b"\n")
    paths, parts = [_unquote(header.module_path)], [rest[: header.module_size]]
    if header.manifest_path is not None:
        paths.append(_unquote(header.manifest_path))
        parts.append(rest[header.module_size :])
    return Candidate.of(str(_unquote(header.stem)), paths, parts, header.signature)


def _decode(line: bytes) -> Header:
    try:
        return msgspec.json.decode(line, type=Header)
    except (ValueError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _quote(text: str | Path) -> str:
    return quote_from_bytes(os.fsencode(text))


def _unquote(text: str) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(text)))
