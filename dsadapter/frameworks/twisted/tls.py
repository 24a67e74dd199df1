"""TLS around any server endpoint, by Twisted's own machinery: from a directory as its ``tls:``
server strings take it, or from files as its ``ssl:`` strings do.

Imported when an endpoint asks for TLS, not before: pyOpenSSL takes its time and may be missing.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.filepath import FilePath
from zope.interface import implementer

from dsadapter.frameworks.twisted.private import certificate_directory

__all__ = [
    "connectionCreatorFromDirectory",
    "connectionCreatorFromFiles",
    "connectionCreatorFromOptions",
    "wrapServerTLS",
]

try:
    from OpenSSL import SSL
    from OpenSSL.crypto import FILETYPE_PEM
    from OpenSSL.crypto import Error as CryptoError
    from twisted.internet.ssl import (
        Certificate,
        CertificateOptions,
        DiffieHellmanParameters,
        KeyPair,
    )
    from twisted.protocols.tls import TLSMemoryBIOFactory
except ImportError as error:
    raise ImportError(
        f"TLS needs packages that are not installed ({error}); install 'twisted[tls]'",
        name=error.name,
    ) from error

try:
    from twisted.internet.endpoints import wrapServerTLS
except ImportError:  # Twisted before 26.4

    @implementer(IStreamServerEndpoint)
    class _TLSServerEndpoint:
        def __init__(
            self, creator: Any, endpoint: IStreamServerEndpoint, settings: Mapping[str, Any]
        ) -> None:
            self._creator = creator
            self._endpoint = endpoint
            self._settings = settings

        def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
            factory = TLSMemoryBIOFactory(self._creator, False, protocolFactory, **self._settings)
            listening: Deferred[IListeningPort] = self._endpoint.listen(factory)
            return listening

    def wrapServerTLS(
        connectionCreator: IOpenSSLServerConnectionCreator,
        wrappedEndpoint: IStreamServerEndpoint,
        clock: IReactorTime | None = None,
    ) -> IStreamServerEndpoint:
        """What Twisted has had since 26.4."""
        # The first releases write without waiting for a moment, and so without a clock.
        waits = "clock" in inspect.signature(TLSMemoryBIOFactory).parameters
        settings = {"clock": clock} if waits else {}
        return _TLSServerEndpoint(connectionCreator, wrappedEndpoint, settings)


_log = Logger("dsadapter.twisted")

# RFC 7468; a block whose end is missing reaches OpenSSL, which says so.
_PEM = re.compile(rb"^-----BEGIN ([^-\r\n]+)-----.*?(?=^-----BEGIN |\Z)", re.DOTALL | re.MULTILINE)

_FORMS = (
    "give tls=DIRECTORY alone, or privateKey=FILE with certKey=FILE and, if need be, "
    "extraCertChain=FILE"
)


def connectionCreatorFromOptions(options: Mapping[str, str]) -> Any:
    """The connection creator for the options of an endpoint string.

    :param options: ``tls``, the argument of :func:`connectionCreatorFromDirectory`, or the
        arguments of :func:`connectionCreatorFromFiles`.
    :raises ValueError: for options that don't go together, and as the two functions do.
    """
    for name in options:
        if "tls" in options and name != "tls":
            raise ValueError(f"tls and {name} don't go together; {_FORMS}")
        if "tls" not in options and "privateKey" not in options:
            raise ValueError(f"{name} is of no use without privateKey; {_FORMS}")
    if "tls" in options:
        return connectionCreatorFromDirectory(options["tls"])
    return connectionCreatorFromFiles(**options)


def connectionCreatorFromDirectory(directory: str) -> Any:
    """What Twisted's ``tls:DIRECTORY`` server strings use, in Twisted 26.4 and newer: the
    certificate is chosen by the name that the client asks for (RFC 6066, section 3).

    A directory without a certificate that can be used is warned of in the log, because one may
    come: Twisted looks again at each handshake with a name.

    :param directory: searched with its subdirectories for files ``*.pem``: certificates with DNS
        names in their subjectAltName, their private keys, and intermediate certificates.
    :returns: an ``IOpenSSLServerConnectionCreator`` for :func:`wrapServerTLS`.
    :raises ValueError: if it is no directory, or a file in it can't be used; the message names the
        file and the remedy.
    """
    twisted = certificate_directory()
    if twisted is None:
        raise ValueError(
            f"tls {directory!r} needs Twisted 26.4 or newer, of a release that this one knows; "
            f"give privateKey=FILE with certKey=FILE"
        )
    if not os.path.isdir(directory):
        raise ValueError(
            f"tls {directory!r} is not a directory; give the one with the .pem files, or "
            f"privateKey=FILE with certKey=FILE"
        )
    path = FilePath(directory)
    _check_directory(path)
    with _explaining(f"tls {directory!r} can't be used"):
        lookup = twisted.lookup(path)
        creator = twisted.connection_creator(lookup)
        if lookup(None) is None:
            _log.warn(
                "tls {directory!r} has no certificate with a DNS name in its subjectAltName and "
                "with its private key; no handshake succeeds until both are there, in files *.pem",
                directory=directory,
            )
    return creator


def connectionCreatorFromFiles(
    privateKey: str,
    certKey: str | None = None,
    extraCertChain: str | None = None,
    dhParameters: str | None = None,
) -> Any:
    """What Twisted's ``ssl:`` server strings make of the same parameters, and one thing more: the
    certificates after the first in ``certKey`` are sent too, as "full chain" files are meant.

    :param privateKey: a PEM file with the private key, not encrypted.
    :param certKey: a PEM file with the certificate, then any intermediate ones; by default they are
        in the ``privateKey`` file.
    :param extraCertChain: a PEM file with intermediate certificates.
    :param dhParameters: a PEM file with Diffie-Hellman parameters.
    :returns: an ``IOpenSSLServerConnectionCreator`` for :func:`wrapServerTLS`.
    :raises ValueError: if a file can't be read, has not what it should, or does not match; the
        message names the file and the remedy.
    """
    option, file = ("privateKey", privateKey) if certKey is None else ("certKey", certKey)
    certificate, *chain = _certificates(option, file)
    if extraCertChain is not None:
        chain += _certificates("extraCertChain", extraCertChain)
    settings: dict[str, Any] = {}
    if dhParameters is not None:
        _read("dhParameters", dhParameters)
        settings["dhParameters"] = DiffieHellmanParameters.fromFile(FilePath(dhParameters))
    creator = CertificateOptions(
        privateKey=_private_key(privateKey).original,
        certificate=certificate.original,
        extraCertChain=[each.original for each in _without_repeats(certificate, chain)],
        **settings,
    )
    others = "".join(
        f", {name} {value!r}"
        for name, value in {"certKey": certKey, "dhParameters": dhParameters}.items()
        if value is not None
    )
    with _explaining(
        f"privateKey {privateKey!r}{others} can't be used together", "give what belongs together"
    ):
        # Made now, so that what does not work is told to the operator and not to every client.
        creator.getContext()
    return creator


def _without_repeats(first: Certificate, others: list[Certificate]) -> list[Certificate]:
    """A chain given by two options holds some certificates twice."""
    distinct = {each.dump(): each for each in others}
    distinct.pop(first.dump(), None)
    return list(distinct.values())


def _read(option: str, file: str) -> list[tuple[str, bytes]]:
    """The PEM blocks of a file with their labels."""
    try:
        with open(file, "rb") as stream:
            content = stream.read()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{option} {file!r} can't be read ({getattr(error, 'strerror', None) or error}); give "
            f"a file that this user may read"
        ) from error
    return [(match[1].decode("ascii", "replace"), match[0]) for match in _PEM.finditer(content)]


def _certificates(option: str, file: str) -> list[Certificate]:
    """At least one."""
    blocks = [(label, block) for label, block in _read(option, file) if "CERTIFICATE" in label]
    if not blocks:
        remedy = "give certKey=FILE with it" if option == "privateKey" else "give a file that has"
        raise ValueError(f"{option} {file!r} has no certificate in PEM form; {remedy}")
    return [_load(option, file, label, block) for label, block in blocks]


def _private_key(file: str) -> KeyPair:
    for label, block in _read("privateKey", file):
        if label.endswith("PRIVATE KEY"):
            key: KeyPair = _load("privateKey", file, label, block)
            return key
    raise ValueError(
        f"privateKey {file!r} has no private key in PEM form; give the file that has it"
    )


def _load(option: str, file: str, label: str, block: bytes) -> Any:
    # OpenSSL would ask for the passphrase on the terminal.
    if b"ENCRYPTED" in block:
        raise ValueError(
            f"{option} {file!r} is encrypted; give it without a passphrase, as "
            f"'openssl pkey -in FILE -out DECRYPTED' writes it"
        )
    with _explaining(
        f"{option} {file!r} has a {label} that can't be loaded",
        "write the file again, or take that part out",
    ):
        if "CERTIFICATE" in label:
            return Certificate.loadPEM(block)
        return KeyPair.load(block, FILETYPE_PEM)


def _check_directory(directory: FilePath[str]) -> None:
    """Load what Twisted will load, to say which file is at fault, and refuse what hangs it."""
    certificates: list[tuple[str, Certificate]] = []
    keys: set[str] = set()
    with _explaining(f"tls {directory.path!r} can't be searched"):
        paths = [p for p in directory.walk() if p.basename().endswith(".pem") and p.isfile()]
    for path in paths:
        for label, block in _read("tls file", path.path):
            loaded = _load("tls file", path.path, label, block)
            if isinstance(loaded, KeyPair):
                keys.add(loaded.keyHash())
            else:
                certificates.append((path.path, loaded))
    issuers: dict[Any, tuple[Any, str]] = {}
    starts = []
    for file, certificate in certificates:
        issuer = _name(certificate.getIssuer())
        if certificate.getPublicKey().keyHash() in keys:
            starts.append(issuer)
        else:
            issuers[_name(certificate.getSubject())] = issuer, file
    for name in starts:
        met = set()
        while name in issuers:
            met.add(name)
            name, file = issuers[name]
            if name in met:
                # Twisted would follow such a chain without end.
                raise ValueError(
                    f"tls file {file!r} has a certificate whose chain ends in itself, such as a "
                    f"root certificate; take it out: clients have the roots that they trust"
                )


def _name(name: Any) -> tuple[Any, ...]:
    return tuple(sorted(name.items()))


@contextmanager
def _explaining(what: str, remedy: str | None = None) -> Iterator[None]:
    """Turn what OpenSSL, or what loads for it, raises into a ValueError."""
    try:
        yield
    except Exception as error:
        hint = f"; {remedy}" if remedy else ""
        raise ValueError(f"{what} ({_reason(error)}){hint}") from error


def _reason(error: Exception) -> str:
    # pyOpenSSL raises with a list of (library, function, reason).
    stack = error.args[0] if error.args else None
    if isinstance(error, (SSL.Error, CryptoError)) and isinstance(stack, list):
        return "; ".join(str(entry[-1]) for entry in stack if entry[-1]) or type(error).__name__
    return str(error) or type(error).__name__
