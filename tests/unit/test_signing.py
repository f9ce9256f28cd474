"""Signatures: only what a trusted key's holder made is loaded, and everything else says why not."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import guests
import pytest
from click.testing import CliRunner, Result
from flask.cli import ScriptInfo
from guests import MakeApp
from hypothesis import given, settings
from hypothesis import strategies as st

from plugin_host import ConfigError, SignatureError, trust
from plugin_host.cli import cli
from plugin_host.config import Settings
from plugin_host.folder.scan import Candidate
from plugin_host.host.host import Host
from plugin_host.machine.control import disable
from plugin_host.trust import keyring, signature
from plugin_host.trust.ed25519 import PrivateKey, SigningError, is_valid
from plugin_host.wasm.engine import wat_to_wasm

#: The first test key of RFC 8032, section 7.1, as PKCS #8.
PEM = b"""-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
"""
KEY = PrivateKey.load(PEM, None)
OTHER = PrivateKey.generate()
KEYS = {keyring.key_id(KEY.public): KEY.public}
TEXT = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,63}", fullmatch=True)
GOOD = guests.module({"on_response": guests.UNCHANGED})
BETTER = guests.module({"on_response": guests.UNCHANGED}, data=[(8, b"better")])


def candidate(module: bytes, manifest: bytes | None = None, stem: str = "price") -> Candidate:
    paths = [Path(f"/plugins/{stem}.wasm"), Path(f"/plugins/{stem}.toml")]
    contents = [module] if manifest is None else [module, manifest]
    return Candidate.of(stem, paths[: len(contents)], contents)


def signed(which: Candidate, name: str = "price", key: PrivateKey = KEY) -> Candidate:
    return dataclasses.replace(which, signature=signature.sign(which, name, key))


def sign(path: Path, key: PrivateKey = KEY, name: str | None = None) -> None:
    """Put a signature beside a module."""
    manifest = path.with_suffix(".toml")
    paths = [path, manifest] if manifest.exists() else [path]
    which = Candidate.of(path.stem, paths, [each.read_bytes() for each in paths])
    content = signature.sign(which, name or path.stem, key)
    path.with_name(path.name + ".sig").write_bytes(content)


# What is signed


def test_a_signature_is_what_the_documentation_says() -> None:
    """The message is these bytes, and the file these keys; another implementation can make it."""
    which = candidate(b"module", b"manifest")
    module, manifest = (hashlib.sha256(part).hexdigest() for part in (b"module", b"manifest"))
    text = f"plugin-host-signature-1\nname price\nmodule {module}\nmanifest {manifest}\n"
    assert signature.message(which, "price") == text.encode()
    assert signature.message(candidate(b"module"), "price").endswith(b"\nmanifest -\n")
    assert json.loads(signature.sign(which, "price", KEY)) == {
        "format": "plugin-host-signature-1",
        "key": "21fe31dfa154a261",
        "name": "price",
        "module": module,
        "manifest": manifest,
        "signature": base64.b64encode(KEY.sign(text.encode())).decode(),
    }


def test_keys_are_those_of_rfc_8032() -> None:
    """The public key and the signature of the empty message are the standard's."""
    expected = (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
        "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    assert keyring.to_text(KEY.public) == TEXT
    assert KEY.sign(b"").hex() == expected
    assert is_valid(KEY.public, bytes.fromhex(expected), b"")


@settings(max_examples=50)
@given(st.binary(), st.none() | st.binary(), NAMES)
def test_what_was_signed_verifies(module: bytes, manifest: bytes | None, name: str) -> None:
    """Whatever the files hold, their signature is good, and tells the plugin's name."""
    which = signed(candidate(module, manifest), name)
    assert signature.verify(which, KEYS).name == name


@settings(max_examples=200)
@given(st.data())
def test_no_changed_byte_verifies(data: st.DataObject) -> None:
    """One changed byte in module, manifest or signature file is an error, or changes nothing."""
    which = signed(candidate(b"module", b"manifest"))
    field = data.draw(st.sampled_from(["module", "manifest", "signature"]))
    content = bytearray(getattr(which, field))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    parts = {"module": which.module, "manifest": which.manifest, "signature": which.signature}
    parts[field] = bytes(content)
    changed = candidate(parts["module"] or b"", parts["manifest"])
    changed = dataclasses.replace(changed, signature=parts["signature"])
    try:
        found = signature.verify(changed, KEYS)
    except SignatureError:
        return
    assert field == "signature"  # white space between two tokens
    assert found == signature.verify(which, KEYS)


def test_the_name_is_signed() -> None:
    """A signature for one name is none for another, also if the file says so."""
    which = signed(candidate(b"module"))
    assert which.signature is not None
    forged = which.signature.replace(b'"price"', b'"guard"')
    with pytest.raises(SignatureError, match=r"price\.wasm\.sig is not by key 21fe31dfa154a261"):
        signature.verify(dataclasses.replace(which, signature=forged), KEYS)


FIXED = signed(candidate(b"module", b"manifest"))
WITHOUT = signed(candidate(b"module"))

#: What is there, and what the error says of it.
REFUSED: dict[str, tuple[Candidate, str]] = {
    "nothing": (candidate(b"module"), "is not signed: there is no price.wasm.sig"),
    "another key": (
        signed(candidate(b"module"), key=OTHER),
        f"is signed by key {keyring.key_id(OTHER.public)}, which is not trusted",
    ),
    "another module": (
        dataclasses.replace(candidate(b"changed", b"manifest"), signature=FIXED.signature),
        f"is not what was signed: its SHA-256 is {hashlib.sha256(b'changed').hexdigest():.12}, and"
        f" price.wasm.sig is for {hashlib.sha256(b'module').hexdigest():.12}",
    ),
    "another manifest": (
        dataclasses.replace(candidate(b"module", b"changed"), signature=FIXED.signature),
        "was signed with another manifest, and price.toml lies beside it",
    ),
    "a manifest more": (
        dataclasses.replace(candidate(b"module", b"manifest"), signature=WITHOUT.signature),
        "was signed with no manifest, and price.toml lies beside it",
    ),
    "a manifest less": (
        dataclasses.replace(candidate(b"module"), signature=FIXED.signature),
        "was signed with a manifest beside it, which is not there",
    ),
    "a bad signature": (
        dataclasses.replace(
            WITHOUT,
            signature=json.dumps(
                {
                    **json.loads(WITHOUT.signature or b""),
                    "signature": base64.b64encode(bytes(64)).decode(),
                }
            ).encode(),
        ),
        "price.wasm.sig is not by key 21fe31dfa154a261, as it says",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_error_says_what_is_wrong(case: str) -> None:
    """Which file, what is wrong with it, which keys are trusted, and the remedy."""
    which, reason = REFUSED[case]
    with pytest.raises(SignatureError) as error:
        signature.verify(which, KEYS)
    assert str(error.value) == (
        f"price.wasm: {reason}; sign it with flask plugins sign, by a trusted key"
        " (21fe31dfa154a261), and deploy the .sig with it"
    )


def spoil(**changes: Any) -> bytes:
    document = json.loads(WITHOUT.signature or b"")
    document.update(changes)
    return json.dumps({k: v for k, v in document.items() if v is not ...}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 10_000,
        b"untrusted comment: minisign public key\nRWQ=\n",
        spoil(format="plugin-host-signature-2"),
        spoil(format=...),
        spoil(key="21FE31DFA154A261"),
        spoil(key="21fe31dfa154a2610"),
        spoil(name="price\nmodule 00"),
        spoil(name="Price"),
        spoil(name=""),
        spoil(module="00"),
        spoil(module=None),
        spoil(manifest=1),
        spoil(manifest=...),
        spoil(signature=""),
        spoil(signature="AAAA"),
        spoil(signature=base64.b64encode(bytes(65)).decode()),
        spoil(signature="€"),
        spoil(more=1),
    ],
)
def test_what_is_no_signature_file_is_refused(content: bytes) -> None:
    """Anything but exactly the documented keys, of the documented form, is no signature."""
    which = dataclasses.replace(WITHOUT, signature=content)
    with pytest.raises(SignatureError, match=r"price\.wasm\.sig is no signature file: "):
        signature.verify(which, KEYS)


# Keys


def test_keys_come_from_text_and_files(tmp_path: Path) -> None:
    """A file holds keys on lines of their own; relative paths are below the root."""
    (tmp_path / "keys").write_text(f"# ours\n\n  {TEXT}\n{keyring.to_text(OTHER.public)}\n")
    third = PrivateKey.generate()
    config = {"PLUGIN_HOST_TRUSTED_KEYS": ["keys", keyring.to_text(third.public)]}
    found = Settings.from_mapping(config, tmp_path).trusted_keys
    assert found is not None
    publics = {key.public for key in (KEY, OTHER, third)}
    assert {*keyring.trusted(found).values()} == publics
    assert keyring.trusted(found).keys() == {keyring.key_id(public) for public in publics}


@pytest.mark.parametrize("end", ["\r", "\x0b", "\x0c", "\x1e", "\x85", "\u2028"], ids=ascii)
def test_a_comment_hides_no_key(tmp_path: Path, end: str) -> None:
    """A comment goes on to the end of the line that people see."""
    hidden = keyring.to_text(OTHER.public)
    (tmp_path / "keys").write_bytes(f"# ours{end}{hidden}\r\n{TEXT}\r\n".encode())
    assert keyring.read_keys(tmp_path / "keys") == [KEY.public]


def test_keys_in_the_environment_are_one_text(tmp_path: Path) -> None:
    """Keys and paths with commas between them."""
    found = Settings.from_mapping({"PLUGIN_HOST_TRUSTED_KEYS": f"{TEXT}, /etc/keys"}, tmp_path)
    assert found.trusted_keys == (TEXT, "/etc/keys")


@pytest.mark.parametrize("value", ["", [], [""], [1], 7, True, {"a": 1}, " , "])
def test_no_keys_is_not_no_signatures(value: Any, tmp_path: Path) -> None:
    """A list that names nothing, as from a variable that is not set, does not open the door."""
    with pytest.raises(ConfigError, match="PLUGIN_HOST_TRUSTED_KEYS is "):
        Settings.from_mapping({"PLUGIN_HOST_TRUSTED_KEYS": value}, tmp_path)


@pytest.mark.parametrize(
    "text",
    ["ed25519:", "ed25519:AAAA", TEXT[:-1], TEXT + "=", TEXT + " x", TEXT[8:]],
)
def test_a_wrong_key_is_an_error_at_start(text: str, make_app: MakeApp) -> None:
    """Text that is no key does not start the app."""
    with pytest.raises(ConfigError, match="PLUGIN_HOST_TRUSTED_KEYS: "):
        make_app(TRUSTED_KEYS=[text])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file or directory"),
        ("", "holds no key"),
        ("# none\n", "holds no key"),
        (f"{TEXT}\nnonsense\n", "line 2 is not 'ed25519:' and 32 bytes in base64"),
        (PEM.decode(), "line 1 is not 'ed25519:'"),
        (f"{TEXT}\n" * 2000, "has more than 65536 bytes"),
    ],
)
def test_a_wrong_key_file_is_an_error_at_start(
    content: str | None, why: str, tmp_path: Path, make_app: MakeApp
) -> None:
    """A file that cannot be read, or holds something else, does not start the app."""
    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)
        path.chmod(0o644)
    with pytest.raises(ConfigError, match=f"PLUGIN_HOST_TRUSTED_KEYS: '{path}' {why}"):
        make_app(TRUSTED_KEYS=[str(path)])


@pytest.mark.skipif(os.name != "posix", reason="uses POSIX modes")
def test_a_key_file_that_others_may_write_is_an_error(tmp_path: Path, make_app: MakeApp) -> None:
    """Whoever may write the file could trust themselves."""
    path = tmp_path / "keys"
    path.write_text(TEXT)
    path.chmod(0o664)
    with pytest.raises(ConfigError, match=r"can be written by others \(mode 0664\); chmod go-w it"):
        make_app(TRUSTED_KEYS=[str(path)])


def test_without_the_package_the_app_does_not_start(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signatures that cannot be checked are not taken for good; it says what to install."""
    name = "cryptography.hazmat.primitives.asymmetric"
    monkeypatch.setitem(sys.modules, name, None)
    keyring.trusted.cache_clear()
    with pytest.raises(ConfigError) as error:
        make_app(TRUSTED_KEYS=[TEXT])
    assert "'cryptography', which cannot be imported" in str(error.value)
    assert str(error.value).endswith("install flask-plugin-host[signing]")
    make_app()  # which needs it for nothing else


def test_other_keys_are_no_private_keys() -> None:
    """What is no Ed25519 key, or does not open, says so."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
    )
    locked = KEY.pem(b"secret")
    assert PrivateKey.load(locked, b"secret").public == KEY.public
    cases: list[tuple[bytes, bytes | None, str]] = [
        (b"", None, "cannot be read; give a key"),
        (curve, None, "is no Ed25519 key"),
        (locked, None, "is encrypted; give its passphrase"),
        (locked, b"wrong", "cannot be read, or the passphrase is wrong"),
        (PEM, b"secret", "is not encrypted"),
    ]
    for pem, passphrase, why in cases:
        with pytest.raises(SigningError, match=why):
            PrivateKey.load(pem, passphrase)


# The host


@pytest.fixture
def host(folder: Path, tmp_path: Path) -> Callable[..., Host]:
    """Make a host on ``folder`` that trusts `KEY`; keywords are PLUGIN_HOST_ keys."""

    def make(**config: Any) -> Host:
        values = {"DIR": str(folder), "DATA_DIR": str(tmp_path / "data"), "TRUSTED_KEYS": [TEXT]}
        values.update(config)
        named = {f"PLUGIN_HOST_{key}": value for key, value in values.items()}
        made = Host(Settings.from_mapping(named, tmp_path))
        made.reconcile(initial=True)
        return made

    return make


def serving(host: Host) -> dict[str, str]:
    """The digests of the modules that serve, by name."""
    return {p.name: p.digest for p in host.snapshot.plugins}


def errors(host: Host) -> dict[str, str]:
    return {
        p["name"]: p["load_error"] for p in host.status()["plugins"] if p["load_error"] is not None
    }


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_only_signed_plugins_load(folder: Path, host: Callable[..., Host]) -> None:
    """Module and text form alike; one that is not signed, or for another name, is told of."""
    for name in ("a", "b", "c"):
        (folder / f"{name}.wat").write_text(GOOD)
    sign(folder / "a.wat")
    sign(folder / "b.wat", OTHER)
    sign(folder / "c.wat", name="other")
    found = host()
    assert serving(found) == {"a": digest(GOOD)}
    assert errors(found).keys() == {"b", "c"}
    assert "which is not trusted" in errors(found)["b"]
    assert "was signed for a plugin called other, and its name is c" in errors(found)["c"]


def test_without_keys_signatures_are_not_looked_at(folder: Path, host: Callable[..., Host]) -> None:
    """An app that asks for none loads a plugin beside which something else lies."""
    (folder / "a.wat").write_text(GOOD)
    (folder / "a.wat.sig").write_bytes(b"of another tool")
    assert serving(host(TRUSTED_KEYS=None)) == {"a": digest(GOOD)}


def test_nothing_reads_what_is_not_signed(
    folder: Path, host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module is neither assembled, inspected nor compiled before its signature is verified."""
    from plugin_host.compilecache.cache import CompileCache
    from plugin_host.host import operations
    from plugin_host.host.known import OperationError
    from plugin_host.loading import loader

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("the module was read")

    monkeypatch.setattr(loader, "wat_to_wasm", fail)
    monkeypatch.setattr(loader, "inspect_module", fail)
    monkeypatch.setattr(CompileCache, "compile", fail)
    (folder / "a.wat").write_text(GOOD)
    found = host()
    assert "is not signed" in errors(found)["a"]
    with pytest.raises(OperationError, match="no earlier version"):
        operations.rollback(found, "a", "ann")


def test_what_is_not_signed_names_no_other_plugin(folder: Path, host: Callable[..., Host]) -> None:
    """An unsigned file does not take over what an operator decided of the name that it gives."""
    old, path = folder / "old.wasm", folder / "guard.wasm"
    for each, text in ((old, BETTER), (path, GOOD)):
        each.write_bytes(wat_to_wasm(text.encode(), each))
        sign(each)
    found = host()
    assert found.depot is not None
    found.depot.control.update(lambda control: disable(control, "old"))
    found.reconcile(initial=True)
    before = found.snapshot.plugins
    assert [plugin.name for plugin in before] == ["guard"]
    (folder / "guard.toml").write_text('name = "old"')
    found.reconcile(initial=True)
    assert found.snapshot.plugins == before
    assert "was signed with no manifest" in errors(found)["guard"]


def test_a_module_may_come_before_its_signature(folder: Path, host: Callable[..., Host]) -> None:
    """The version before serves on, visibly refused, until the signature is there."""
    path = folder / "a.wat"
    path.write_text(GOOD)
    sign(path)
    found = host()
    path.write_text(BETTER)
    found.reconcile(initial=True)
    assert serving(found) == {"a": digest(GOOD)}
    assert "is not what was signed" in errors(found)["a"]
    sign(path)
    found.reconcile(initial=True)
    assert (serving(found), errors(found)) == ({"a": digest(BETTER)}, {})


@pytest.mark.parametrize("beside", ["the next version's", "half", None])
def test_a_signature_may_change_before_its_module(
    beside: str | None, folder: Path, host: Callable[..., Host]
) -> None:
    """A worker that starts meanwhile serves what the others serve, not the version before that."""
    path, signed = folder / "a.wat", folder / "a.wat.sig"
    for text in (GOOD, BETTER):
        path.write_text(text)
        sign(path)
        host().close()
    if beside is None:
        signed.unlink()
    elif beside == "half":
        signed.write_bytes(signed.read_bytes()[:100])
    else:
        path.write_text(GOOD + " ")
        sign(path)
        path.write_text(BETTER)
    found = host()
    assert serving(found) == {"a": digest(BETTER)}
    assert errors(found).keys() == {"a"}


def test_a_lost_signature_is_told_and_heals(folder: Path, host: Callable[..., Host]) -> None:
    """What serves goes on when its signature is removed; status says so until it is back."""
    path = folder / "a.wat"
    path.write_text(GOOD)
    sign(path)
    found = host()
    before = found.snapshot.plugins
    aside = shutil.move(folder / "a.wat.sig", folder / "aside")
    found.reconcile(initial=True)
    assert found.snapshot.plugins == before
    assert "is not signed" in errors(found)["a"]
    shutil.move(aside, folder / "a.wat.sig")
    found.reconcile(initial=True)
    assert (found.snapshot.plugins, errors(found)) == (before, {})


@pytest.mark.parametrize("lost", ["removed", "for another name"])
def test_a_canarys_lost_signature_is_told_and_heals(
    folder: Path, host: Callable[..., Host], lost: str
) -> None:
    """A version that serves a share goes on, and what is wrong is told until it is put right."""
    path = folder / "a.wasm"
    path.write_bytes(wat_to_wasm(GOOD.encode(), path))
    sign(path)
    found = host()
    path.write_bytes(wat_to_wasm(BETTER.encode(), path))
    (folder / "a.toml").write_text('rollout = { share = 0.5, for = "1h" }')
    sign(path)
    found.reconcile(initial=True)
    canaries = found.snapshot.canaries
    assert len(canaries) == 1
    if lost == "removed":
        (folder / "a.wasm.sig").unlink()
    else:
        sign(path, name="other")
    found.reconcile(initial=True)
    assert (found.snapshot.canaries, errors(found).keys()) == (canaries, {"a"})
    sign(path)
    found.reconcile(initial=True)
    assert (found.snapshot.canaries, errors(found)) == (canaries, {})


def test_kept_versions_are_verified_again(folder: Path, host: Callable[..., Host]) -> None:
    """At start a kept version takes the place of an unsigned file, while its key is trusted."""
    path = folder / "a.wat"
    path.write_text(GOOD)
    sign(path)
    host().close()
    path.write_text(BETTER)
    assert serving(host()) == {"a": digest(GOOD)}
    assert serving(host(TRUSTED_KEYS=[keyring.to_text(OTHER.public)])) == {}
    sign(path, OTHER)
    both = [TEXT, keyring.to_text(OTHER.public)]
    assert serving(host(TRUSTED_KEYS=both)) == {"a": digest(BETTER)}


def test_versions_of_before_signatures_are_not_fallen_back_to(
    folder: Path, host: Callable[..., Host]
) -> None:
    """What was kept unsigned does not serve once signatures are asked for."""
    (folder / "a.wat").write_text(GOOD)
    host(TRUSTED_KEYS=None).close()
    found = host()
    assert serving(found) == {}
    assert "is not signed" in errors(found)["a"]


def test_check_asks_only_where_keys_are_configured(tmp_path: Path) -> None:
    """Without keys nothing is asked; with them, the signed name comes back."""
    none = Settings.from_mapping({}, tmp_path)
    some = Settings.from_mapping({"PLUGIN_HOST_TRUSTED_KEYS": TEXT}, tmp_path)
    assert trust.check(candidate(b"module"), none) is None
    assert trust.check(WITHOUT, some) == "price"


# The command line


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command in ``tmp_path``, without an app."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if "PLUGIN_HOST_" in name:
            monkeypatch.delenv(name)

    def run(*args: str, text: str = "") -> Result:
        return CliRunner().invoke(cli, args, obj=ScriptInfo(), input=text)

    return run


def test_a_plugin_is_signed_and_verified(
    tmp_path: Path, folder: Path, run: Callable[..., Result], host: Callable[..., Host]
) -> None:
    """From no key to a plugin that the site loads, with three commands."""
    (folder / "price.wat").write_text(GOOD)
    (folder / "price.toml").write_text('version = "1"\n')
    made = json.loads(run("keygen", "site.key", "--json").stdout)
    result = run("sign", "plugins/price.wat", "--key", "site.key")
    assert (result.exit_code, result.stdout) == (
        0,
        "signed  plugins/price.wat  price: plugins/price.wat.sig\n",
    )
    result = run("verify", "plugins/price.wat", "--key", "site.key.pub")
    expected = f"OK  plugins/price.wat  price, by key {made['key']}\n"
    assert (result.exit_code, result.stdout) == (0, expected)
    assert host(TRUSTED_KEYS=[made["public_key"]]).snapshot.plugins[0].version == "1"
    assert host(TRUSTED_KEYS=["site.key.pub"]).snapshot.plugins[0].version == "1"


@pytest.mark.skipif(os.name != "posix", reason="uses POSIX modes and links")
@pytest.mark.parametrize("made", ["price.wat.sig", "new.key.pub"])
def test_what_is_written_is_not_opened_to_others_by_its_name(
    tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    """Whoever may write beside it cannot have the signer's own files, such as the key, opened."""
    (tmp_path / "price.wat").write_text(GOOD)
    run("keygen", "site.key")
    replace = os.replace

    def racing(source: Path, target: Path) -> None:
        replace(source, target)
        if target.name == made:
            modes.append(stat.S_IMODE(target.stat().st_mode))
            target.unlink()
            target.symlink_to("site.key")

    modes: list[int] = []
    monkeypatch.setattr(os, "replace", racing)
    run("sign", "price.wat", "--key", "site.key")
    run("keygen", "new.key")
    modes.append(stat.S_IMODE((tmp_path / "site.key").stat().st_mode))
    assert modes == [0o644, 0o600]


def test_keygen_writes_two_files(tmp_path: Path, run: Callable[..., Result]) -> None:
    """The private key for its owner alone; the public one as the configuration takes it."""
    result = run("keygen", "site.key")
    assert result.exit_code == 0
    private, public = tmp_path / "site.key", tmp_path / "site.key.pub"
    key = PrivateKey.load(private.read_bytes(), None)
    text = keyring.to_text(key.public)
    assert public.read_text() == text + "\n"
    assert f'PLUGIN_HOST_TRUSTED_KEYS = ["{text}"]' in result.stdout
    if os.name == "posix":
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (private, public)]
        assert modes == [0o600, 0o644]


@pytest.mark.parametrize("there", ["site.key", "site.key.pub"])
def test_keygen_overwrites_nothing(tmp_path: Path, run: Callable[..., Result], there: str) -> None:
    """A key that is there stays, unless --force is given."""
    (tmp_path / there).write_text("mine")
    result = run("keygen", "site.key")
    assert (result.exit_code, (tmp_path / there).read_text()) == (1, "mine")
    assert "is there already" in result.stderr
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [there]
    assert run("keygen", "site.key", "--force").exit_code == 0
    PrivateKey.load((tmp_path / "site.key").read_bytes(), None)


def test_a_key_can_be_encrypted(tmp_path: Path, folder: Path, run: Callable[..., Result]) -> None:
    """With a passphrase that is asked for, or read from a file."""
    (folder / "price.wat").write_text(GOOD)
    assert run("keygen", "site.key", "--encrypt", text="open\nopen\n").exit_code == 0
    assert b"BEGIN ENCRYPTED" in (tmp_path / "site.key").read_bytes()
    sign = ("sign", "plugins/price.wat", "--key", "site.key")
    assert run(*sign, text="open\n").exit_code == 0
    result = run(*sign, text="shut\n")
    assert (result.exit_code, "the passphrase is wrong" in result.stderr) == (1, True)
    (tmp_path / "passphrase").write_text("open\n")
    assert run(*sign, "--passphrase-file", "passphrase").exit_code == 0
    (tmp_path / "passphrase").write_text("")
    result = run(*sign, "--passphrase-file", "passphrase")
    assert (result.exit_code, "holds no passphrase" in result.stderr) == (1, True)


def test_sign_refuses_what_is_no_plugin(
    tmp_path: Path, folder: Path, run: Callable[..., Result]
) -> None:
    """What is missing, or of another kind, is not signed; nor is anything with a wrong key."""
    (tmp_path / "site.key").write_bytes(PEM)
    for name in ("gone.wasm", "price.toml"):
        assert run("sign", name, "--key", "site.key").exit_code == 1
    (folder / "price.wat").write_text(GOOD)
    (tmp_path / "site.key").write_text("no key")
    result = run("sign", "plugins/price.wat", "--key", "site.key")
    assert (result.exit_code, "site.key: cannot be read" in result.stderr) == (1, True)
    assert not (folder / "price.wat.sig").exists()


@pytest.mark.skipif(os.name != "posix", reason="uses POSIX modes")
def test_sign_warns_of_an_open_key(
    tmp_path: Path, folder: Path, run: Callable[..., Result]
) -> None:
    """A private key that others can read is used, with a warning."""
    (folder / "price.wat").write_text(GOOD)
    (tmp_path / "site.key").write_bytes(PEM)
    (tmp_path / "site.key").chmod(0o644)
    result = run("sign", "plugins/price.wat", "--key", "site.key")
    assert result.exit_code == 0
    assert "can be read by others (mode 0644); chmod 600 it" in result.stderr


def test_verify_looks_at_a_folder(
    folder: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every plugin, by the configuration's keys and pins; exit code 1 if one is not trusted."""
    for name in ("a", "b", "c"):
        (folder / f"{name}.wat").write_text(GOOD)
    sign(folder / "a.wat")
    sign(folder / "b.wat")
    monkeypatch.setenv("PLUGIN_HOST_TRUSTED_KEYS", TEXT)
    monkeypatch.setenv("PLUGIN_HOST_PINS", json.dumps({"b": "0" * 64}))
    result = run("verify", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["ok"], found["keys"]) == (1, False, ["21fe31dfa154a261"])
    kinds = [p["error"] and p["error"]["type"] for p in found["plugins"]]
    assert kinds == [None, "PinError", "SignatureError"]
    (folder / "b.wat").unlink()
    (folder / "c.wat").unlink()
    assert run("verify").exit_code == 0


def test_verify_needs_a_key(folder: Path, run: Callable[..., Result]) -> None:
    """Without keys nothing is called good."""
    (folder / "a.wat").write_text(GOOD)
    result = run("verify", "plugins/a.wat")
    assert (result.exit_code, "no key to verify with" in result.stderr) == (1, True)
    result = run("verify", "plugins/a.wat", "--key", "ed25519:AAAA")
    assert (result.exit_code, "is not 'ed25519:' and 32 bytes" in result.stderr) == (1, True)
    assert run("verify", "plugins/a.wat", "--dir", ".").exit_code == 2


def test_check_follows_the_keys(
    folder: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """flask plugins check says of an unsigned plugin what the site would say."""
    (folder / "a.wat").write_text(GOOD)
    monkeypatch.setenv("PLUGIN_HOST_TRUSTED_KEYS", TEXT)
    result = run("check", "plugins/a.wat")
    assert (result.exit_code, "is not signed" in result.stdout) == (1, True)
    sign(folder / "a.wat")
    assert run("check", "plugins/a.wat").exit_code == 0
