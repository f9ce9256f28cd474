"""``flask plugins keygen``, ``sign`` and ``verify``: whose plugins may be loaded."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from .. import trust
from ..config import GIB, Settings
from ..config.trust import KEY_PREFIX
from ..errors import ConfigError, PluginLoadError
from ..files.private import write_whole
from ..folder.scan import Candidate
from ..folder.settling import SIGNATURE_SUFFIX
from ..loading.loader import plugin_name
from ..trust import keyring, signature
from ..trust.ed25519 import PrivateKey, SigningError
from . import options
from .configuration import find_configuration
from .files import Unread, read_file, read_folder
from .options import Failure
from .output import NONE, Cell, Styled, error_json, safe, say, say_json, table, warn

_MAX_KEY = 64 * 1024

_passphrase_file = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Read the passphrase from the first line of this file instead of asking for it.",
)


def _epilog(*lines: str, failure: str) -> str:
    examples = ["\b", "Examples:", *(f"  flask plugins {line}" for line in lines)]
    codes = ["  0  done", f"  1  {failure}", "  2  the command line is wrong"]
    return "\n".join([*examples, "", "\b", "Exit codes:", *codes])


@click.command(
    "keygen",
    epilog=_epilog(
        "keygen plugins.key",
        "keygen plugins.key --encrypt",
        failure="the key cannot be made, or FILE is there",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--encrypt", is_flag=True, help="Ask for a passphrase, and encrypt the key with it.")
@_passphrase_file
@click.option("--force", is_flag=True, help="Replace a key that is there.")
@options.as_json
def keygen(
    file: Path, encrypt: bool, passphrase_file: Path | None, force: bool, as_json: bool
) -> None:
    """Make a key to sign plugins with: the private half in FILE, the public one in FILE.pub.

    FILE is for whoever signs: only its owner may read it, and it is no part of a deployment. The
    public half is one line of text, for PLUGIN_HOST_TRUSTED_KEYS, itself or as the path of a file.
    """
    public_file = file.with_name(file.name + ".pub")
    for path in (file, public_file):
        if os.path.lexists(path) and not force:
            raise Failure(f"{path} is there already; name another file, or replace it with --force")
    passphrase = _passphrase(passphrase_file, ask=encrypt, confirm=True)
    try:
        key = PrivateKey.generate()
        # Written aside and renamed: the old one goes only when the new one is there.
        write_whole(file, [key.pem(passphrase)], durable=True)
        text = keyring.to_text(key.public)
        write_whole(public_file, [f"{text}\n".encode()], durable=True, public=True)
    except SigningError as exc:
        raise Failure(exc) from exc
    except OSError as exc:
        raise Failure(f"{file} cannot be written: {exc.strerror}") from exc
    if as_json:
        files = {"private_key": str(file), "public_key_file": str(public_file)}
        say_json({**files, "public_key": text, "key": keyring.key_id(key.public)})
        return
    say(safe(f"private key {file}: keep it where plugins are signed, and a copy in a safe place"))
    say(safe(f"public key  {public_file}, key {keyring.key_id(key.public)}:"))
    say(f'PLUGIN_HOST_TRUSTED_KEYS = ["{text}"]')


@click.command(
    "sign",
    epilog=_epilog(
        "sign build/price.wasm --key plugins.key",
        "sign build/*.wasm --key plugins.key --passphrase-file /run/secrets/passphrase",
        failure="a file cannot be signed, or the key not be used; what came before is signed",
    ),
)
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@click.option(
    "--key",
    "key_file",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The private key that flask plugins keygen made.",
)
@_passphrase_file
@options.as_json
def sign(
    files: tuple[Path, ...], key_file: Path, passphrase_file: Path | None, as_json: bool
) -> None:
    """Sign plugins: write FILE.sig beside each FILE.

    It covers the module, the manifest NAME.toml beside it or that there is none, and the plugin's
    name. No app is needed.
    """
    key = _private_key(key_file, passphrase_file)
    signed = [_sign(path, key) for path in files]
    if as_json:
        say_json({"key": keyring.key_id(key.public), "plugins": signed})
        return
    for line in table([("signed", s["file"], f"{s['name']}: {s['signature']}") for s in signed]):
        say(line)


def _sign(path: Path, key: PrivateKey) -> dict[str, Any]:
    try:
        # The site has its own limits.
        limits = Settings.from_mapping({"PLUGIN_HOST_MAX_MODULE_SIZE": GIB}, Path.cwd())
        candidate = read_file(path, limits)
        name = plugin_name(candidate)
    except PluginLoadError as exc:
        raise Failure(exc) from exc
    target = path.with_name(path.name + SIGNATURE_SUFFIX)
    try:
        write_whole(target, [signature.sign(candidate, name, key)], public=True)
    except OSError as exc:
        raise Failure(f"{target} cannot be written: {exc.strerror}") from exc
    return {
        "file": str(path),
        "signature": str(target),
        "name": name,
        "digest": candidate.digest,
        "manifest": None if candidate.manifest_path is None else str(candidate.manifest_path),
    }


def _private_key(path: Path, passphrase_file: Path | None) -> PrivateKey:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pem = file.read(_MAX_KEY)
    except OSError as exc:
        raise Failure(f"key {path}: cannot be read: {exc.strerror}") from exc
    if os.name == "posix" and mode & 0o077:
        warn(f"key {path} can be read by others (mode {mode:04o}); chmod 600 it")
    passphrase = _passphrase(passphrase_file, ask=b"BEGIN ENCRYPTED" in pem, confirm=False)
    try:
        return PrivateKey.load(pem, passphrase)
    except SigningError as exc:
        raise Failure(f"key {path}: {exc}") from exc


def _passphrase(file: Path | None, *, ask: bool, confirm: bool) -> bytes | None:
    if file is not None:
        first, *_ = file.read_bytes().splitlines() or [b""]
        if not first:
            raise Failure(f"{file} holds no passphrase")
        return first
    if not ask:
        return None
    text: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return text.encode()


@dataclass(frozen=True)
class Verdict:
    """What was found of one plugin; `error` is None if it is trusted."""

    path: Path
    digest: str | None = None
    name: str | None = None
    key: str | None = None
    error: PluginLoadError | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        found = {"name": self.name, "key": self.key, "digest": self.digest}
        ok, error = self.error is None, error_json(self.error)
        return {"file": str(self.path), "ok": ok, **found, "error": error}


@click.command(
    "verify",
    epilog=_epilog(
        "verify",
        "verify build/price.wasm --key plugins.key.pub",
        failure="a plugin is not trusted, or there is no key to verify with",
    ),
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="KEY",
    help="A public key or a file of them, instead of PLUGIN_HOST_TRUSTED_KEYS; may be repeated.",
)
@options.directory
@options.as_json
@click.pass_context
def verify(
    ctx: click.Context,
    files: tuple[Path, ...],
    keys: tuple[str, ...],
    directory: Path | None,
    as_json: bool,
) -> None:
    """Say whether plugins are signed by trusted keys and are what the configuration pins.

    Without FILE, every plugin of the folder is looked at. Nothing is compiled or run.
    """
    if files and directory:
        raise click.UsageError("give either FILE or --dir, not both", ctx)
    found = find_configuration(ctx, directory, app_needed=not (files and keys))
    settings = found.settings
    if keys:
        here = Path.cwd()
        sources = tuple(k if k.startswith(KEY_PREFIX) else str(here / k) for k in keys)
        settings = dataclasses.replace(settings, trusted_keys=sources)
    ring = _keyring(settings)
    plugins = map(_reader(settings), files) if files else read_folder(settings)
    verdicts = [_verify(plugin, ring, settings) for plugin in plugins]
    if as_json:
        plugins_json = [verdict.to_json() for verdict in verdicts]
        ok = not any(verdict.error for verdict in verdicts)
        say_json({"ok": ok, "keys": sorted(ring), "plugins": plugins_json})
    else:
        _show(verdicts)
    if any(verdict.error for verdict in verdicts):
        ctx.exit(1)


def _keyring(settings: Settings) -> keyring.Keyring:
    if settings.trusted_keys is None:
        raise Failure("no key to verify with; name one with --key, or set PLUGIN_HOST_TRUSTED_KEYS")
    try:
        return keyring.trusted(settings.trusted_keys)
    except ConfigError as exc:
        raise Failure(exc) from exc


def _reader(settings: Settings) -> Any:
    def read(path: Path) -> Candidate | Unread:
        try:
            return read_file(path, settings)
        except PluginLoadError as exc:
            return Unread(path, exc)

    return read


def _verify(plugin: Candidate | Unread, ring: keyring.Keyring, settings: Settings) -> Verdict:
    if isinstance(plugin, Unread):
        return Verdict(plugin.path, error=plugin.error)
    path, digest = plugin.module_path, plugin.digest
    try:
        found = signature.verify(plugin, ring)
        trust.admit(plugin, plugin_name(plugin), found.name, settings)
    except PluginLoadError as exc:
        return Verdict(path, digest, error=exc)
    return Verdict(path, digest, found.name, found.key)


def _show(verdicts: Iterable[Verdict]) -> None:
    rows: list[tuple[Cell, ...]] = []
    for verdict in verdicts:
        if verdict.error is None:
            what = f"{verdict.name}, by key {verdict.key}"
            rows.append((Styled("OK", "green"), str(verdict.path), what))
        else:
            rows.append((Styled("FAILED", "red"), str(verdict.path), verdict.error.reason))
            rows.append(("", "", verdict.error.remedy or NONE))
    for line in table(rows):
        say(line)
