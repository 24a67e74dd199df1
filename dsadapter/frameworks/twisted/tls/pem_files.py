"""PEM files (RFC 7468) with certificates and private keys, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_PEM
from OpenSSL.crypto import Error as CryptoError
from twisted.internet.ssl import Certificate, KeyPair

from dsadapter.messages import quoted_path

# A block whose end is missing reaches OpenSSL, which says so.
_BLOCK = re.compile(
    rb"^-----BEGIN ([^-\r\n]+)-----.*?(?=^-----BEGIN |\Z)", re.DOTALL | re.MULTILINE
)


class PEMFile(NamedTuple):
    """What a file holds, loaded."""

    path: str
    certificates: list[Certificate]
    keys: list[KeyPair]


def load_pem_file(
    option: str, path: str, *, certificates: bool = True, keys: bool = True
) -> PEMFile:
    """Load the certificates of a file, its private keys, or both. What else it holds (parameters,
    requests) is passed over.

    :param option: what an error calls the file.
    :raises ValueError: if it can't be read, or a part of it can't be loaded; the message names the
        file and the remedy.
    """
    made = PEMFile(path, [], [])
    for label, block in _blocks(option, path):
        if label.endswith("CERTIFICATE") and certificates:
            with _loading(option, path, label):
                made.certificates.append(Certificate.loadPEM(block))
        elif label.endswith("PRIVATE KEY") and keys:
            # OpenSSL would ask for the passphrase on the terminal.
            if b"ENCRYPTED" in block:
                raise ValueError(
                    f"{option} {quoted_path(path)} is encrypted; give it without a passphrase, as "
                    f"'openssl pkey -in FILE -out DECRYPTED' writes it"
                )
            with _loading(option, path, label):
                made.keys.append(KeyPair.load(block, FILETYPE_PEM))
    return made


def labels(option: str, path: str) -> list[str]:
    """What the parts of a file say that they are.

    :raises ValueError: if it can't be read.
    """
    return [label for label, _ in _blocks(option, path)]


@contextmanager
def explaining(what: str, remedy: str | None = None) -> Iterator[None]:
    """Turn what OpenSSL, or what loads for it, raises into a ValueError."""
    try:
        yield
    except Exception as error:
        hint = f"; {remedy}" if remedy else ""
        raise ValueError(f"{what} ({_reason(error)}){hint}") from error


def _loading(option: str, path: str, label: str) -> AbstractContextManager[None]:
    return explaining(
        f"{option} {quoted_path(path)} has a {label} that can't be loaded",
        "write the file again, or take that part out",
    )


def _blocks(option: str, path: str) -> list[tuple[str, bytes]]:
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{option} {quoted_path(path)} can't be read "
            f"({getattr(error, 'strerror', None) or error}); give a file that this user may read"
        ) from error
    return [(match[1].decode("ascii", "replace"), match[0]) for match in _BLOCK.finditer(content)]


def _reason(error: Exception) -> str:
    # pyOpenSSL raises with a list of (library, function, reason).
    stack = error.args[0] if error.args else None
    if isinstance(error, (SSL.Error, CryptoError)) and isinstance(stack, list):
        return "; ".join(str(entry[-1]) for entry in stack if entry[-1]) or type(error).__name__
    return str(error) or type(error).__name__
