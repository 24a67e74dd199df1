"""TLS connection creators for servers, made from an operator's files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from OpenSSL import SSL
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.ssl import Certificate, CertificateOptions, DiffieHellmanParameters, KeyPair
from twisted.logger import Logger
from twisted.python.filepath import FilePath

from dsadapter.frameworks.twisted.tls.certificates import shown, strangers
from dsadapter.frameworks.twisted.tls.pem_files import explaining, labels, load_pem_file
from dsadapter.frameworks.twisted.tls.served_directory import ServedDirectory, warn_of_dates
from dsadapter.messages import quoted_path

_log = Logger("dsadapter.twisted")
_KINDS = ("CERTIFICATE", "PRIVATE KEY")

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
    """Serve the certificates of a directory, as Twisted's ``tls:DIRECTORY`` server strings do: the
    name that the client asks for selects one (RFC 6066, section 3).

    Of several certificates for a name, the server sends one that is valid now; of those, the last
    to expire. The log warns of certificates that clients will refuse, and of a directory with
    nothing to serve, which is read again at a handshake once its files have changed.

    :param directory: searched recursively for ``*.pem`` files: certificates with DNS names in their
        subjectAltName, their private keys, and intermediate certificates.
    :returns: an ``IOpenSSLServerConnectionCreator`` for :func:`wrapServerTLS`.
    :raises ValueError: if it is no directory, or a file in it can't be used; the message names the
        file and the remedy.
    """
    if not os.path.isdir(directory):
        raise ValueError(
            f"tls {quoted_path(directory)} is not a directory; give the one with the .pem files, "
            f"or privateKey=FILE with certKey=FILE"
        )
    return ServedDirectory(directory)


def connectionCreatorFromFiles(
    privateKey: str,
    certKey: str | None = None,
    extraCertChain: str | None = None,
    dhParameters: str | None = None,
) -> Any:
    """Serve one certificate, as Twisted's ``ssl:`` server strings do with the same parameters.
    Certificates after the first in ``certKey``, as in a "full chain" file, are sent too.

    The log warns of certificates that have expired, are not yet valid, or don't belong to the
    chain.

    :param privateKey: a PEM file with the private key, not encrypted.
    :param certKey: a PEM file with the certificate, then any intermediate ones; by default they are
        in the ``privateKey`` file.
    :param extraCertChain: a PEM file with intermediate certificates.
    :param dhParameters: a PEM file with Diffie-Hellman parameters.
    :returns: an ``IOpenSSLServerConnectionCreator`` for :func:`wrapServerTLS`.
    :raises ValueError: if a file can't be read, lacks what it should have, or does not match; the
        message names the file and the remedy.
    """
    if certKey is not None:
        _refuse_swapped(privateKey, certKey)
    option, file = ("privateKey", privateKey) if certKey is None else ("certKey", certKey)
    certificate, *chain = _certificates(option, file)
    given = [(option, file, each) for each in chain]
    if extraCertChain is not None:
        given += [
            ("extraCertChain", extraCertChain, each)
            for each in _certificates("extraCertChain", extraCertChain)
        ]
    creator = CertificateOptions(
        privateKey=_private_key(privateKey).original,
        certificate=certificate.original,
        extraCertChain=[
            each.original for each in _without_repeats(certificate, [each for *_, each in given])
        ],
        dhParameters=None if dhParameters is None else _parameters(dhParameters),
    )
    with explaining(
        f"privateKey {quoted_path(privateKey)}"
        f"{'' if certKey is None else f', certKey {quoted_path(certKey)}'} can't be used together",
        "give the key of that certificate",
    ):
        # Fail now, before the operator, rather than at every handshake.
        creator.getContext()
    _warn(option, file, certificate, given)
    return creator


def _refuse_swapped(private_key: str, cert_key: str) -> None:
    for option, file, kind in (
        ("privateKey", private_key, "CERTIFICATE"),
        ("certKey", cert_key, "PRIVATE KEY"),
    ):
        kinds = {each for each in _KINDS for label in labels(option, file) if label.endswith(each)}
        if kinds != {kind}:
            return
    raise ValueError(
        f"privateKey {quoted_path(private_key)} has a certificate and certKey "
        f"{quoted_path(cert_key)} a private key; swap them: "
        f"privateKey={quoteStringArgument(cert_key)}:certKey={quoteStringArgument(private_key)}"
    )


def _warn(
    option: str, file: str, certificate: Certificate, chain: list[tuple[str, str, Certificate]]
) -> None:
    for found in ((option, file, certificate), *chain):
        warn_of_dates(*found)
    unrelated = {each.dump() for each in strangers(certificate, [each for *_, each in chain])}
    # The certificate itself may be given twice.
    unrelated.discard(certificate.dump())
    for option, file, each in chain:
        if each.dump() in unrelated:
            _log.warn(
                "{option} {shown_path} has a certificate of {name}, who issued neither the one for "
                "{server} nor another one of its chain; give the intermediate certificates that "
                "came with it",
                option=option,
                path=file,
                shown_path=quoted_path(file),
                name=shown(each),
                server=shown(certificate),
            )


def _without_repeats(first: Certificate, others: list[Certificate]) -> list[Certificate]:
    """A chain given by two options holds some certificates twice."""
    distinct = {each.dump(): each for each in others}
    distinct.pop(first.dump(), None)
    return list(distinct.values())


def _certificates(option: str, file: str) -> list[Certificate]:
    """At least one."""
    found = load_pem_file(option, file, keys=False).certificates
    if not found:
        remedy = "give certKey=FILE with it" if option == "privateKey" else "give a file that has"
        raise ValueError(f"{option} {quoted_path(file)} has no certificate in PEM form; {remedy}")
    return found


def _private_key(file: str) -> KeyPair:
    found = load_pem_file("privateKey", file, certificates=False).keys
    if not found:
        raise ValueError(
            f"privateKey {quoted_path(file)} has no private key in PEM form; give the file that "
            f"has it"
        )
    return found[0]


def _parameters(file: str) -> DiffieHellmanParameters:
    remedy = "write it by 'openssl dhparam -out FILE 2048'"
    if not any(label.endswith("DH PARAMETERS") for label in labels("dhParameters", file)):
        raise ValueError(
            f"dhParameters {quoted_path(file)} has no Diffie-Hellman parameters in PEM form; "
            f"{remedy}"
        )
    with explaining(f"dhParameters {quoted_path(file)} can't be used", remedy):
        SSL.Context(SSL.TLS_METHOD).load_tmp_dh(os.fsencode(file))
    made: DiffieHellmanParameters = DiffieHellmanParameters.fromFile(FilePath(file))
    return made
