"""A directory of certificates, from which a server takes the one for the name that a client asks
for (RFC 6066, section 3)."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import Certificate, CertificateOptions, KeyPair
from twisted.logger import Logger
from twisted.python.filepath import FilePath
from zope.interface import implementer

from dsadapter.frameworks.twisted.tls.certificates import (
    chain,
    dns_names,
    out_of_date,
    period,
    shown,
    subject,
)
from dsadapter.frameworks.twisted.tls.pem_files import PEMFile, explaining, load_pem_file
from dsadapter.messages import quoted_path

_log = Logger("dsadapter.twisted")
_MAX_LISTED = 10

State = frozenset[tuple[str, int, int, int]]


class _Served(NamedTuple):
    """A certificate with its key."""

    path: str
    certificate: Certificate
    key: KeyPair

    @property
    def rank(self) -> tuple[bool, datetime]:
        """The best of those for one name is valid now, and longest."""
        return out_of_date(self.certificate) is None, period(self.certificate).ends


class _Contents:
    """What the files ``*.pem`` of a directory hold; loads them all.

    :raises ValueError: if a file can't be used; the message names it and the remedy.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        paths = sorted(_paths(directory))
        self.others = [path for path in paths if not path.endswith(".pem")]
        self.files = [load_pem_file("tls file", path) for path in paths if path.endswith(".pem")]
        self._keys = {key.keyHash(): key for file in self.files for key in file.keys}
        self._certificates = [
            (file.path, each) for file in self.files for each in file.certificates
        ]
        self._hashes = {_key_hash(each) for _, each in self._certificates}

    @cached_property
    def served(self) -> dict[str, _Served]:
        """By DNS name."""
        found = [
            _Served(path, certificate, self._keys[_key_hash(certificate)])
            for path, certificate in self._certificates
            if _key_hash(certificate) in self._keys
        ]
        return {
            name.lower(): each
            for each in sorted(found, key=lambda each: each.rank)
            for name in dns_names(each.certificate)
        }

    def chain(self, certificate: Certificate) -> list[Certificate]:
        """What is sent after a certificate."""
        by_date = sorted(
            (each for _, each in self._certificates), key=lambda each: period(each).ends
        )
        return chain(certificate, {subject(each): each for each in by_date})

    def warn(self) -> None:
        """Log what no client will be served by."""
        if not self.served:
            _log.warn(
                "tls {shown_path} has no certificate with a DNS name in its subjectAltName and "
                "with its private key; no handshake succeeds until both are there, in files *.pem; "
                "{found}",
                directory=self.directory,
                shown_path=quoted_path(self.directory),
                found=self._found(),
            )
            return
        used = {id(each.certificate) for each in self.served.values()}
        for each in {id(each): each for each in self.served.values()}.values():
            used.update(map(id, self.chain(each.certificate)))
        for path, certificate in self._certificates:
            if id(certificate) in used:
                warn_of_dates("tls file", path, certificate)
            elif self._is_left_out(certificate):
                _log.warn(
                    "tls file {shown_path} has a certificate for {name} that can't be served "
                    "without its private key; add the key in a file *.pem",
                    path=path,
                    shown_path=quoted_path(path),
                    name=shown(certificate),
                )
        for file in self.files:
            if any(key.keyHash() not in self._hashes for key in file.keys):
                _log.warn(
                    "tls file {shown_path} has a private key without its certificate; add that in "
                    "a file *.pem, or take the key out",
                    path=file.path,
                    shown_path=quoted_path(file.path),
                )

    def _is_left_out(self, certificate: Certificate) -> bool:
        names = {name.lower() for name in dns_names(certificate)}
        return _key_hash(certificate) not in self._keys and not names <= self.served.keys()

    def _found(self) -> str:
        parts = [
            f"{quoted_path(os.path.relpath(file.path, self.directory))} ({self._lack(file)})"
            for file in self.files
        ]
        parts += [
            f"{quoted_path(os.path.relpath(path, self.directory))} "
            f"(not read: its name doesn't end in .pem)"
            for path in self.others
        ]
        more = len(parts) - _MAX_LISTED
        listed = ", ".join(parts[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
        return f"it has {listed}" if parts else "it is empty"

    def _lack(self, file: PEMFile) -> str:
        if not file.certificates and not file.keys:
            return "neither certificate nor private key in PEM form"
        if any(_key_hash(each) in self._keys for each in file.certificates):
            return "a certificate without a DNS name"
        if file.certificates:
            return "a certificate without its private key"
        if any(key.keyHash() in self._hashes for key in file.keys):
            return "a private key"
        return "a private key without its certificate"


@implementer(IOpenSSLServerConnectionCreator)
class ServedDirectory:
    """Makes TLS connections with the certificates of a directory.

    One in which nothing can be served is read again at a handshake, when its files have changed.

    :raises ValueError: if a file can't be used; the message names it and the remedy.
    """

    def __init__(self, directory: str) -> None:
        # Another folder may be current when it is read again.
        self._directory = os.path.abspath(directory)
        self._state = _state(self._directory)
        self._contexts: dict[str, Any] = {}
        self._load(_Contents(directory))

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """A connection that begins with one of the certificates, and goes on with the one for the
        name that the client asks for."""
        if not self._contexts:
            self._read_again()
        context = next(iter(self._contexts.values()), None) or self._without_certificate
        return SSL.Connection(context, None)

    @cached_property
    def _without_certificate(self) -> SSL.Context:
        """In which every handshake fails."""
        return CertificateOptions().getContext()

    def _load(self, contents: _Contents) -> None:
        made = {
            id(each): self._context(contents, each)
            for each in {id(each): each for each in contents.served.values()}.values()
        }
        self._contexts = {name: made[id(each)] for name, each in contents.served.items()}
        contents.warn()

    def _context(self, contents: _Contents, served: _Served) -> Any:
        options = CertificateOptions(
            privateKey=served.key.original,
            certificate=served.certificate.original,
            extraCertChain=[each.original for each in contents.chain(served.certificate)],
        )
        with explaining(f"tls file {quoted_path(served.path)} can't be used", "write it again"):
            context = options.getContext()
        context.set_tlsext_servername_callback(self._switch)
        return context

    def _switch(self, connection: Any) -> None:
        name = (connection.get_servername() or b"").decode("ascii", "replace").lower()
        wildcard = f"*.{name.partition('.')[2]}"
        context = self._contexts.get(name) or self._contexts.get(wildcard)
        if context is not None:
            connection.set_context(context)

    def _read_again(self) -> None:
        state = _state(self._directory)
        if state == self._state:
            return
        self._state = state
        try:
            self._load(_Contents(self._directory))
        except ValueError as error:
            _log.error("No certificate can be served yet: {error}", error=error)


def warn_of_dates(option: str, path: str, certificate: Certificate) -> None:
    """Log that clients refuse a certificate today, if so."""
    fault = out_of_date(certificate)
    if fault is not None:
        _log.warn(
            "{option} {shown_path} has a certificate for {name} that {fault}",
            option=option,
            path=path,
            shown_path=quoted_path(path),
            name=shown(certificate),
            fault=fault,
        )


def _key_hash(certificate: Certificate) -> str:
    made: str = certificate.getPublicKey().keyHash()
    return made


def _paths(directory: str) -> list[str]:
    """The files in a directory and below it."""
    with explaining(f"tls {quoted_path(directory)} can't be searched"):
        return [path.path for path in FilePath(directory).walk() if path.isfile()]


def _state(directory: str) -> State:
    """What changes when a file does."""
    state = set()
    with suppress(OSError, ValueError):
        for path in _paths(directory):
            stat = os.stat(path)
            state.add((path, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return frozenset(state)
