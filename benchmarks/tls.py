"""CPU time of a Twisted server per TLS connection, against Twisted's own ``ssl:``."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks.processes import Cpus, Server, Subjects, measure, named
from benchmarks.rounds import RATIO
from benchmarks.table import Table, Target

_SERVERS = ("ssl", "dualstack")
_ROUNDS_PER_PROCESS = 12
_HANDSHAKES = 20


def tables(rounds: int | None) -> Iterator[Table]:
    with TemporaryDirectory() as directory:
        certificate, key = _make_certificate(Path(directory))
        client = ssl.create_default_context(cafile=str(certificate))
        client.check_hostname = False

        def start(stack: ExitStack, cpus: Cpus) -> Subjects:
            options = f":privateKey={key}:certKey={certificate}"
            starting = [Server(name, cpus, options, client) for name in _SERVERS]
            return {
                named(server.name, "IPv4"): partial(
                    stack.enter_context(server).accept_one_by_one, "IPv4", _HANDSHAKES, 0
                )
                for server in starting
            }

        table = Table(
            "Accepting TLS connections",
            f"CPU time of a server process, event loop included, while {_HANDSHAKES} connections "
            "come one after another, each with a full handshake of TLS 1.3 and an ECDSA key "
            "(P-256), per connection.",
            measure(start, rounds or 120, _ROUNDS_PER_PROCESS),
            "µs",
        )
        table.compare(named("dualstack", "IPv4"), named("ssl", "IPv4"), RATIO, Target(1))
        yield table


def _make_certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "certificate.pem", directory / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate_file, key_file
