"""Ed25519: who has signed a checkpoint. Keys are PEM files, or objects of `cryptography`."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from counterfoil.domain.errors import Malformed, Unavailable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SigningKey: TypeAlias = "Ed25519PrivateKey"
PublicKey: TypeAlias = "Ed25519PublicKey"


def sign(key: SigningKey, content: bytes) -> str:
    """A signature, in base64."""
    return base64.b64encode(key.sign(content)).decode()


def verifies(key: PublicKey, signature: str, content: bytes) -> bool:
    """Whether the owner of a key has made this signature of this content."""
    _hold_extra()
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(base64.b64decode(signature, validate=True), content)
    except (InvalidSignature, ValueError):
        return False
    return True


def public_of(key: SigningKey) -> str:
    """The public half, as 32 bytes in base64."""
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def read_signing_key(path: str | Path) -> SigningKey:
    """The key in a PEM file; its content is never repeated in an error."""
    _hold_extra()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_content(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise Malformed(
            "key", f"{path} is no Ed25519 key in PEM; `counterfoil audit keygen` makes one"
        )
    return key


def read_public_key(path: str | Path) -> PublicKey:
    """The public key in a PEM file."""
    _hold_extra()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_content(path))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise Malformed("public-key", f"{path} is no public Ed25519 key in PEM")
    return key


def make_keys(private: Path, public: Path) -> str:
    """Write a new pair of keys into two files that are not there yet; the public one in base64."""
    _hold_extra()
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
    shown = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    _create(private, secret, 0o600)
    _create(public, shown, 0o644)
    return public_of(key)


def _create(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except FileExistsError:
        raise Malformed(
            "key", f"{path} is there already, and a key is never written over"
        ) from None
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}") from error


def _content(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Malformed("key", f"{path} cannot be read: {error.strerror}") from None


def _hold_extra() -> None:
    try:
        import cryptography  # noqa: F401  (whether it can be imported is what is asked)
    except ImportError:
        raise Malformed(
            "key", "needs the extra for signatures: pip install 'counterfoil[audit]'"
        ) from None
