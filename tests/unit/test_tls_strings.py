"""The TLS options of ``dualstack:`` strings as operators type them. Nothing is opened."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.certificates import Authority, Files, older_pyopenssl_api
from support.namespaces import needs_root
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.testing import MemoryReactor
from twisted.logger import globalLogPublisher
from zope.interface.verify import verifyObject

from dsadapter.frameworks.twisted import DualStackServerEndpoint
from dsadapter.frameworks.twisted.tls import connectionCreatorFromFiles, wrapServerTLS

pytestmark = older_pyopenssl_api


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files.written_to(tmp_path_factory.mktemp("tls"))


def endpoint(**options: object) -> IStreamServerEndpoint:
    parts = [f"{name}={quoteStringArgument(str(value))}" for name, value in options.items()]
    return serverFromString(MemoryReactor(), ":".join(["dualstack:8443", *parts]))


def refusal(**options: object) -> str:
    with pytest.raises(ValueError) as refused:
        endpoint(**options)
    text = str(refused.value)
    assert text.startswith("dualstack:")
    assert "\n" not in text
    return text


def test_files_make_an_endpoint(files: Files) -> None:
    made = endpoint(
        privateKey=files.key, certKey=files.certificate, extraCertChain=files.chain, backlog=5
    )
    assert verifyObject(IStreamServerEndpoint, made)


def test_a_key_file_may_hold_the_certificate(files: Files) -> None:
    assert endpoint(privateKey=files.directory / "a.pem")


def test_a_directory_makes_an_endpoint(files: Files) -> None:
    assert verifyObject(IStreamServerEndpoint, endpoint(tls=files.directory))


def test_the_endpoint_in_python_provides_the_interface(files: Files) -> None:
    creator = connectionCreatorFromFiles(str(files.key), str(files.certificate))
    made = wrapServerTLS(creator, DualStackServerEndpoint(MemoryReactor(), 8443))
    assert verifyObject(IStreamServerEndpoint, made)


@pytest.mark.parametrize("path", [r"C:\keys\key.pem", "C:/keys/key.pem"])
def test_the_drive_of_a_path_without_a_backslash_is_told(path: str) -> None:
    with pytest.raises(ValueError, match=r"privateKey is 'C' alone, the drive of a path") as told:
        serverFromString(MemoryReactor(), f"dualstack:8443:privateKey={path}")
    advised = str(told.value).rpartition(" ")[2]
    assert advised == r"privateKey=C\:/FOLDER/FILE"
    with pytest.raises(ValueError, match="privateKey 'C:/FOLDER/FILE' can't be read"):
        serverFromString(MemoryReactor(), f"dualstack:8443:{advised}")


def test_a_reactor_without_descriptors_is_asked_for_the_port(files: Files) -> None:
    reactor = MemoryReactor()
    key, certificate = (quoteStringArgument(str(file)) for file in (files.key, files.certificate))
    description = f"dualstack:8443:privateKey={key}:certKey={certificate}"
    serverFromString(reactor, description).listen(object())
    [(port, _, _, interface)] = reactor.tcpServers
    assert (port, interface) == (8443, "::")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tls": "D", "privateKey": "K"}, "tls and privateKey don't go together"),
        ({"certKey": "C", "tls": "D"}, "tls and certKey don't go together"),
        ({"tls": "D", "dhParameters": "P"}, "tls and dhParameters don't go together"),
        ({"certKey": "C"}, "certKey is of no use without privateKey"),
        ({"extraCertChain": "C"}, "extraCertChain is of no use without privateKey"),
        ({"dhParameters": "P"}, "dhParameters is of no use without privateKey"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, str], text: str) -> None:
    said = refusal(**options)
    assert text in said
    assert "give tls=DIRECTORY alone, or privateKey=FILE with certKey=FILE" in said


def test_the_deprecated_method_of_ssl_strings_is_no_option(files: Files) -> None:
    said = refusal(privateKey=files.key, sslmethod="TLSv1_2_METHOD")
    assert "no option 'sslmethod' for listening; it has port," in said


Damage = Callable[[Files, Path], tuple[dict[str, object], str]]


def missing_key(files: Files, folder: Path) -> tuple[dict[str, object], str]:
    path = folder / "none.pem"
    return {"privateKey": path}, f"privateKey '{path}' can't be read (No such file or directory)"


def missing_certificate(files: Files, folder: Path) -> tuple[dict[str, object], str]:
    path = folder / "none.pem"
    return {"privateKey": files.key, "certKey": path}, f"certKey '{path}' can't be read"


def missing_chain(files: Files, folder: Path) -> tuple[dict[str, object], str]:
    path = folder / "none.pem"
    options = {"privateKey": files.directory / "a.pem", "extraCertChain": path}
    return options, f"extraCertChain '{path}' can't be read"


def missing_parameters(files: Files, folder: Path) -> tuple[dict[str, object], str]:
    path = folder / "none.pem"
    options = {"privateKey": files.directory / "a.pem", "dhParameters": path}
    return options, f"dhParameters '{path}' can't be read"


def a_folder_for_a_file(files: Files, folder: Path) -> tuple[dict[str, object], str]:
    no_file = "Permission denied" if sys.platform == "win32" else "Is a directory"
    return {"privateKey": folder}, f"privateKey '{folder}' can't be read ({no_file})"


def key_without_certificate(files: Files, folder: Path) -> tuple[dict[str, object], str]:
    text = f"privateKey '{files.key}' has no certificate in PEM form; give certKey=FILE with it"
    return {"privateKey": files.key}, text


def certificate_for_a_key(files: Files, folder: Path) -> tuple[dict[str, object], str]:
    options = {"privateKey": files.certificate, "certKey": files.certificate}
    return options, f"privateKey '{files.certificate}' has no private key in PEM form"


def chain_without_certificates(files: Files, folder: Path) -> tuple[dict[str, object], str]:
    options = {"privateKey": files.directory / "a.pem", "extraCertChain": files.key}
    return options, f"extraCertChain '{files.key}' has no certificate in PEM form"


def cut_key(files: Files, folder: Path) -> tuple[dict[str, object], str]:
    path = folder / "cut.pem"
    path.write_bytes(files.key.read_bytes()[:100])
    options = {"privateKey": path, "certKey": files.certificate}
    return options, f"privateKey '{path}' has a PRIVATE KEY that can't be loaded ("


def cut_certificate(files: Files, folder: Path) -> tuple[dict[str, object], str]:
    path = folder / "cut.pem"
    path.write_bytes(files.certificate.read_bytes()[:200])
    options = {"privateKey": files.key, "certKey": path}
    return options, f"certKey '{path}' has a CERTIFICATE that can't be loaded ("


def encrypted_key(files: Files, folder: Path) -> tuple[dict[str, object], str]:
    path = folder / "encrypted.pem"
    path.write_bytes(Authority.made().root.key_pem(b"secret"))
    options = {"privateKey": path, "certKey": files.certificate}
    return options, f"privateKey '{path}' is encrypted; give it without a passphrase"


def another_key(files: Files, folder: Path) -> tuple[dict[str, object], str]:
    path = folder / "another.pem"
    path.write_bytes(Authority.made().root.key_pem())
    options = {"privateKey": path, "certKey": files.certificate}
    return options, f"privateKey '{path}', certKey '{files.certificate}' can't be used together"


@pytest.mark.parametrize(
    "damage",
    [
        missing_key,
        missing_certificate,
        missing_chain,
        missing_parameters,
        a_folder_for_a_file,
        key_without_certificate,
        certificate_for_a_key,
        chain_without_certificates,
        cut_key,
        cut_certificate,
        encrypted_key,
        another_key,
    ],
)
def test_a_file_that_can_not_be_used_is_named(damage: Damage, files: Files, tmp_path: Path) -> None:
    options, text = damage(files, tmp_path)
    said = refusal(**options)
    assert text in said
    assert "; " in said, "no remedy"


MARKERS = [
    b"-----BEGIN CERTIFICATE-----\n",
    b"-----END CERTIFICATE-----\n",
    b"-----BEGIN PRIVATE KEY-----\n",
    b"-----END PRIVATE KEY-----\n",
    b"-----BEGIN \xff-----\n",
    Authority.made().root.pem,
]


@given(st.lists(st.sampled_from(MARKERS) | st.binary(max_size=50)).map(b"".join))
def test_whatever_a_file_holds_the_error_is_one_line(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "any.pem")
        path.write_bytes(content)
        assert str(path) in refusal(privateKey=path)


def test_a_directory_has_to_be_one(files: Files, tmp_path: Path) -> None:
    for path in (tmp_path / "none", files.key, ""):
        said = refusal(tls=path)
        assert f"tls '{path}' is not a directory; give the one with the .pem files" in said


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (Authority.made().root.key_pem(b"secret"), "is encrypted; give it without a passphrase"),
        (Authority.made().root.pem[:90], "has a CERTIFICATE that can't be loaded ("),
    ],
    ids=["encrypted", "cut"],
)
def test_a_file_in_a_directory_that_can_not_be_used_is_named(
    content: bytes, text: str, tmp_path: Path
) -> None:
    """Twisted's own ``tls:`` asks for a passphrase on the terminal."""
    directory = Files.written_to(tmp_path).directory
    culprit = directory / "other" / "culprit.pem"
    culprit.write_bytes(content)
    assert f"tls file '{culprit}' {text}" in refusal(tls=directory)


def test_a_directory_without_certificates_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "nameless.pem").write_bytes(Authority.made().root.pem)
    events: list[dict[str, object]] = []
    globalLogPublisher.addObserver(events.append)
    try:
        assert endpoint(tls=tmp_path)
    finally:
        globalLogPublisher.removeObserver(events.append)
    [warning] = [e for e in events if e["log_namespace"] == "dsadapter.twisted"]
    assert warning["directory"] == str(tmp_path)
    assert "no handshake succeeds until" in str(warning["log_format"])


@needs_root
@pytest.mark.parametrize("option", ["privateKey", "tls"])
def test_a_file_that_this_user_may_not_read_is_named(option: str, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from twisted.internet.endpoints import serverFromString\n"
        "from twisted.internet.testing import MemoryReactor\n"
        "try: serverFromString(MemoryReactor(), sys.argv[1])\n"
        "except ValueError as error: print(error)\n"
    )
    key = tmp_path / "key.pem"
    key.write_bytes(Authority.made().root.key_pem())
    key.chmod(0o600)
    os.chown(key, 65534, 65534)
    path = tmp_path if option == "tls" else key
    # Root without the right to read everybody's files.
    setpriv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    done = subprocess.run(
        [*setpriv, sys.executable, "-c", program, f"dualstack:8443:{option}={path}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"'{key}' can't be read (Permission denied)" in done.stdout, done.stderr


def test_strings_without_tls_import_nothing_of_it() -> None:
    program = (
        "import sys\n"
        "from twisted.internet.endpoints import serverFromString\n"
        "from twisted.internet.testing import MemoryReactor\n"
        "before = set(sys.modules)\n"
        "serverFromString(MemoryReactor(), 'dualstack:8080')\n"
        "print([m for m in set(sys.modules) - before if 'tls' in m or 'OpenSSL' in m])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n", done.stderr
