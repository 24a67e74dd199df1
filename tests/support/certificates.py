"""Certificates of a test's own authority."""

from __future__ import annotations

import datetime
import functools
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

older_pyopenssl_api = pytest.mark.filterwarnings(
    "ignore:.*You should use .*cryptography:DeprecationWarning"
)
"""Twisted still calls what pyOpenSSL would have replaced."""


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


_KEY_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


class Issued(NamedTuple):
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self, passphrase: bytes | None = None) -> bytes:
        encryption: KeySerializationEncryption = NoEncryption()
        if passphrase is not None:
            encryption = BestAvailableEncryption(passphrase)
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def issue(
    name: str,
    issuer: Issued | None = None,
    *hosts: str,
    key: Key | None = None,
    days: tuple[int, int] = (-1, 30),
) -> Issued:
    """A certificate for DNS names and addresses, or without any for an authority; self-signed
    without issuer.

    :param days: from now, until which it is not yet valid, and after which it has expired.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(not hosts, None), critical=True)
        # What CPython 3.13 and newer insist on (RFC 5280, section 4.2.1).
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(
                (issuer.key if issuer else key).public_key()
            ),
            critical=False,
        )
    )
    if not hosts:
        uses = dict.fromkeys(_KEY_USES, False) | {"key_cert_sign": True, "crl_sign": True}
        builder = builder.add_extension(x509.KeyUsage(**uses), critical=True)
    else:
        names = x509.SubjectAlternativeName([_general_name(each) for each in hosts])
        builder = builder.add_extension(names, critical=False)
    return Issued(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class Authority(NamedTuple):
    """A root, an intermediate that it has certified, and a certificate for each server name."""

    root: Issued
    intermediate: Issued

    @classmethod
    @functools.cache
    def made(cls) -> Authority:
        root = issue("Root of the tests")
        return cls(root, issue("Intermediate of the tests", root))

    def issue(self, *hosts: str) -> Issued:
        return issue(hosts[0], self.intermediate, *hosts)


def in_string(path: Path) -> str:
    """A path as it goes into an endpoint string: Windows' have a drive."""
    return path.as_posix().replace(":", "\\:")


class Files(NamedTuple):
    """What an operator has on disk."""

    root: Path
    """The root, for clients."""
    key: Path
    certificate: Path
    """The server's own for ``localhost``, its addresses and ``a.example``."""
    chain: Path
    """The intermediate."""
    full_chain: Path
    directory: Path
    """The same, and a certificate for ``b.example`` and ``*.b.example``; no root."""

    @classmethod
    def written_to(cls, folder: Path) -> Files:
        authority = Authority.made()
        server = authority.issue("a.example", "localhost", "127.0.0.1", "::1")
        other = authority.issue("b.example", "*.b.example")
        directory = folder / "certificates"
        (directory / "other").mkdir(parents=True)
        (directory / "a.pem").write_bytes(server.key_pem() + server.pem)
        (directory / "other" / "b.pem").write_bytes(other.pem + other.key_pem())
        (directory / "chain.pem").write_bytes(authority.intermediate.pem)
        contents = {
            "root": authority.root.pem,
            "key": server.key_pem(),
            "certificate": server.pem,
            "chain": authority.intermediate.pem,
            "full_chain": server.pem + authority.intermediate.pem,
        }
        paths = {name: folder / f"{name}.pem" for name in contents}
        for name, path in paths.items():
            path.write_bytes(contents[name])
        return cls(**paths, directory=directory)

    def filled(self, template: str) -> str:
        """An endpoint string with these paths in it."""
        return template.format(**{k: in_string(path) for k, path in self._asdict().items()})

    @property
    def contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        """The server's and its clients'."""
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(self.full_chain, self.key)
        return server, ssl.create_default_context(cafile=self.root)
