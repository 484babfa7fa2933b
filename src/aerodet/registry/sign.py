"""Signatures over everything in a model version, by an elliptic-curve key: no network, no account.

A key pair is made by :func:`make_key`, or by ``openssl ecparam -name prime256v1 -genkey -noout -out signing.key`` and
``openssl ec -in signing.key -pubout -out signing.pub``. The private key is named by ``AERODET_SIGNING_KEY`` where
models are published, the public one by ``AERODET_VERIFY_KEY`` where they are taken.

The signature is OpenSSF Model Signing's: ``model_signing verify key FOLDER --signature FOLDER/model.sig
--ignore-paths FOLDER/model.sig --public_key signing.pub`` checks it too.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from aerodet.errors import MachineError, UserError
from aerodet.files import atomic_path

__all__ = ["SIGNATURE", "SIGNING_KEY", "VERIFY_KEY", "check_signature", "key_from_environment", "make_key", "sign"]

SIGNATURE = "model.sig"
SIGNING_KEY = "AERODET_SIGNING_KEY"
VERIFY_KEY = "AERODET_VERIFY_KEY"


def make_key(path: Path) -> tuple[Path, Path]:
    """Make a key pair on the curve P-256.

    Args:
        path: the private key's file, readable by its owner only; the public key goes beside it as ``.pub``.

    Returns:
        Both files.

    Raises:
        UserError: one of the files exists.
    """
    _library()
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    public = path.with_name(f"{path.stem}.pub")
    for existing in (path, public):
        if existing.exists():
            raise UserError(f"{existing} exists already; name another file, a key is never replaced")
    key = ec.generate_private_key(ec.SECP256R1())
    with atomic_path(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with atomic_path(public) as temporary:
        temporary.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path, public


def key_from_environment(variable: str) -> Path | None:
    """Return the key file that an environment variable names, if it is set.

    Raises:
        UserError: it names no file.
    """
    value = os.environ.get(variable)
    if not value:
        return None
    if not Path(value).is_file():
        raise UserError(f"{variable} names {value}, which is no file; name a key file or leave the variable out")
    return Path(value)


def sign(folder: Path, key: Path) -> Path:
    """Sign every file in a folder.

    Args:
        folder: of a model version.
        key: private key, PEM.

    Returns:
        The signature's file, ``model.sig`` in the folder.

    Raises:
        UserError: the key cannot be used.
        MachineError: model-signing is not installed.
    """
    signing, _, hashing = _library()
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=key)
    except (ValueError, TypeError) as error:
        raise UserError(f"{key} is no elliptic-curve private key in PEM form without a password") from error
    config.set_hashing_config(_hashing(hashing)).sign(folder, folder / SIGNATURE)
    return folder / SIGNATURE


def check_signature(folder: Path, key: Path) -> None:
    """Check that a folder holds what was signed, not one file more or less.

    Args:
        folder: of a model version, with its ``model.sig``.
        key: public key, PEM.

    Raises:
        UserError: the key cannot be used, there is no signature, or the folder is not what the key's owner signed.
        MachineError: model-signing is not installed.
    """
    _, verifying, hashing = _library()
    if not (folder / SIGNATURE).is_file():
        raise UserError(f"there is no signature, {SIGNATURE}, in {folder}")
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (ValueError, TypeError) as error:
        raise UserError(f"{key} is no elliptic-curve public key in PEM form") from error
    try:
        config.set_hashing_config(_hashing(hashing)).verify(folder, folder / SIGNATURE)
    except Exception as error:  # the library's errors, and those of parsing what somebody may have written there
        raise UserError(f"the signature does not hold for {key.name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    changed = re.findall(r"Hash mismatch for \\?'(.+?)\\?': Expected", text)
    return f"{', '.join(changed)} changed" if changed else text[:300] or "it is not a signature"


def _hashing(hashing: Any) -> Any:
    config = hashing.Config().use_file_serialization()
    return config.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _library() -> tuple[Any, Any, Any]:
    try:
        from model_signing import hashing, signing, verifying
    except ImportError as error:
        raise MachineError("signatures need the package model-signing: pip install 'aerodet[signing]'") from error
    return signing, verifying, hashing
