"""Ed25519 (RFC 8032) by the package ``cryptography``, which is imported when it is first needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..errors import PluginHostError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PUBLIC_SIZE: Final = 32


class SigningError(PluginHostError):
    """Keys cannot be used: the package is missing, or a private key is wrong."""


def require() -> None:
    """Make sure that signatures can be made and checked.

    :raises SigningError: the package is not installed, or does not work here.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: F401
    except ImportError as exc:
        raise SigningError(
            "signatures need the package 'cryptography', which cannot be imported"
            f" ({exc}); install flask-plugin-host[signing]"
        ) from exc


def is_valid(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the holder of a public key's private half signed this message.

    :raises SigningError: see `require`.
    """
    require()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):  # ValueError: no point of the curve
        return False
    return True


class PrivateKey:
    """The half of a key that signs."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> PrivateKey:
        """Make a new one.

        :raises SigningError: see `require`.
        """
        require()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, pem: bytes, passphrase: bytes | None) -> PrivateKey:
        """Read a PKCS #8 PEM, as `pem` or OpenSSL writes it.

        :raises SigningError: it is none, holds another kind of key, or the passphrase is wrong.
        """
        require()
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(pem, passphrase)
        except TypeError as exc:
            wrong = "is not encrypted" if passphrase else "is encrypted; give its passphrase"
            raise SigningError(wrong) from exc
        except (ValueError, UnsupportedAlgorithm) as exc:
            why = "cannot be read, or the passphrase is wrong" if passphrase else "cannot be read"
            raise SigningError(f"{why}; give a key that flask plugins keygen made") from exc
        if not isinstance(key, Ed25519PrivateKey):
            raise SigningError("is no Ed25519 key; make one with flask plugins keygen")
        return cls(key)

    @property
    def public(self) -> bytes:
        """The public half, `PUBLIC_SIZE` bytes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return a signature of 64 bytes."""
        return self._key.sign(message)

    def pem(self, passphrase: bytes | None = None) -> bytes:
        """Return it as PKCS #8 PEM, encrypted if there is a passphrase."""
        from cryptography.hazmat.primitives import serialization as form

        lock: Any = form.NoEncryption()
        if passphrase:
            lock = form.BestAvailableEncryption(passphrase)
        return self._key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock)
