r"""Signature files: ``price.wasm.sig`` says that a key's holder made this module and manifest.

A file is JSON of one line per key::

    {
      "format": "plugin-host-signature-1",
      "key": "d1b3…",        the id of the public key, 16 digits
      "name": "price",       the plugin's name, in lower case
      "module": "3f2a…",     the SHA-256 of the module's file
      "manifest": "77ab…",   that of the .toml beside it, or null if there is none
      "signature": "…"       base64, over the message below
    }

The message is ASCII, and made anew from the files that are checked; what the signature file says
of digests only explains a failure::

    plugin-host-signature-1\n
    name price\n
    module 3f2a…\n
    manifest 77ab…\n          or "manifest -\n"

That is what minisign and signify do (an id that finds the key, Ed25519 over a digest, a detached
text file), with three differences: one signature covers two files, since a manifest alone changes
what a module does; the first line keeps a signature from meaning anything in another protocol or
version; and the name is signed, since grants and pins go by it and a module without a manifest has
its file's. Signatures within the module (the WebAssembly tool conventions' ``signature`` section)
cannot cover the manifest beside it.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal

import msgspec

from ..errors import SignatureError
from ..folder.scan import Candidate
from . import ed25519
from .keyring import Keyring, key_id

FORMAT: Final = "plugin-host-signature-1"
_Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a signature file holds."""

    format: Literal["plugin-host-signature-1"]
    key: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}\Z")]
    module: _Digest
    manifest: _Digest | None
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


def decode(content: bytes) -> Document:
    """Read a signature file.

    :raises ValueError: it is none; one line says why.
    """
    try:
        return msgspec.json.decode(content, type=Document)
    except RecursionError as exc:
        raise ValueError("JSON is nested too deeply") from exc


def message(candidate: Candidate, name: str) -> bytes:
    """Return what is signed."""
    manifest = manifest_digest(candidate) or "-"
    module = hashlib.sha256(candidate.module).hexdigest()
    return f"{FORMAT}\nname {name}\nmodule {module}\nmanifest {manifest}\n".encode("ascii")


def manifest_digest(candidate: Candidate) -> str | None:
    """Return the SHA-256 of the manifest beside the module, if there is one."""
    return None if candidate.manifest is None else hashlib.sha256(candidate.manifest).hexdigest()


def sign(candidate: Candidate, name: str, key: ed25519.PrivateKey) -> bytes:
    """Return the content of a signature file for these files under this plugin's name."""
    document = Document(
        format=FORMAT,
        key=key_id(key.public),
        name=name,
        module=hashlib.sha256(candidate.module).hexdigest(),
        manifest=manifest_digest(candidate),
        signature=key.sign(message(candidate, name)),
    )
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def verify(candidate: Candidate, keys: Keyring) -> Document:
    """Return the signature of a candidate's very bytes by one of these keys.

    That its ``name`` is the plugin's is for the caller to check, once that is known.

    :raises SignatureError: there is none: which file, which keys, what is wrong, the remedy.
    """
    path = candidate.module_path
    if candidate.signature is None:
        raise _error(candidate, keys, f"is not signed: there is no {path.name}.sig")
    try:
        found = decode(candidate.signature)
    except ValueError as exc:
        raise _error(candidate, keys, f"{path.name}.sig is no signature file: {exc}") from exc
    public = keys.get(found.key)
    if public is None:
        raise _error(candidate, keys, f"is signed by key {found.key}, which is not trusted")
    if difference := _difference(candidate, found):
        raise _error(candidate, keys, difference)
    if not ed25519.is_valid(public, found.signature, message(candidate, found.name)):
        raise _error(candidate, keys, f"{path.name}.sig is not by key {found.key}, as it says")
    return found


def _difference(candidate: Candidate, found: Document) -> str:
    """Say what was signed instead of these files; nothing if it is these."""
    manifest, text = candidate.manifest_path, "another manifest"
    if found.module != candidate.module_digest:
        return (
            f"is not what was signed: its SHA-256 is {candidate.module_digest:.12}, and"
            f" {candidate.module_path.name}.sig is for {found.module:.12}"
        )
    if found.manifest == manifest_digest(candidate):
        return ""
    if manifest is None:
        return "was signed with a manifest beside it, which is not there"
    if found.manifest is None:
        text = "no manifest"
    return f"was signed with {text}, and {manifest.name} lies beside it"


def _error(candidate: Candidate, keys: Keyring, reason: str) -> SignatureError:
    ids = ", ".join(sorted(keys))
    return SignatureError(
        candidate.module_path,
        reason,
        f"sign it with flask plugins sign, by a trusted key ({ids}), and deploy the .sig with it",
    )
