"""What an operator is told of TLS files that no client will accept, or that are mixed up.

Nothing is opened.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Authority, Files, Issued, issue, older_pyopenssl_api
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.testing import MemoryReactor
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

pytestmark = older_pyopenssl_api
EXPIRED = (-30, -1)
NOT_YET = (1, 30)
DATES = {EXPIRED: r"expired", NOT_YET: r"not yet valid|not valid (yet|before)|valid from"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files.written_to(tmp_path_factory.mktemp("tls"))


def words(**options: object) -> str:
    """What is said of an endpoint string: the warnings, and the error if there is one."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        if event.get("log_level", LogLevel.info) >= LogLevel.warn:
            lines.append(formatEvent(event))

    parts = [f"{name}={quoteStringArgument(str(value))}" for name, value in options.items()]
    globalLogPublisher.addObserver(observe)
    try:
        serverFromString(MemoryReactor(), ":".join(["dualstack:8443", *parts]))
    except ValueError as error:
        lines.append(str(error))
    finally:
        globalLogPublisher.removeObserver(observe)
    return "\n".join(lines)


def server(days: tuple[int, int] = (-1, 30)) -> Issued:
    return issue("c.example", Authority.made().intermediate, "c.example", days=days)


def given_apart(folder: Path, made: Issued) -> tuple[dict[str, object], Path]:
    (folder / "key.pem").write_bytes(made.key_pem())
    (folder / "certificate.pem").write_bytes(made.pem)
    options = {"privateKey": folder / "key.pem", "certKey": folder / "certificate.pem"}
    return options, folder / "certificate.pem"


def given_together(folder: Path, made: Issued) -> tuple[dict[str, object], Path]:
    (folder / "both.pem").write_bytes(made.key_pem() + made.pem)
    return {"privateKey": folder / "both.pem"}, folder / "both.pem"


def given_as_a_chain(folder: Path, made: Issued) -> tuple[dict[str, object], Path]:
    sound = server()
    (folder / "sound.pem").write_bytes(sound.key_pem() + sound.pem)
    (folder / "chain.pem").write_bytes(made.pem)
    return {"privateKey": folder / "sound.pem", "extraCertChain": folder / "chain.pem"}, (
        folder / "chain.pem"
    )


def given_by_a_directory(folder: Path, made: Issued) -> tuple[dict[str, object], Path]:
    (folder / "c.pem").write_bytes(made.key_pem() + made.pem)
    return {"tls": folder}, folder / "c.pem"


GIVEN = [given_apart, given_together, given_as_a_chain, given_by_a_directory]


@pytest.mark.parametrize("give", GIVEN)
@pytest.mark.parametrize("days", [EXPIRED, NOT_YET], ids=["expired", "not yet valid"])
def test_a_certificate_out_of_its_time_is_named(
    tmp_path: Path, days: tuple[int, int], give: Any
) -> None:
    options, file = give(tmp_path, server(days))
    said = words(**options)
    assert str(file) in said
    assert re.search(DATES[days], said)


@pytest.mark.parametrize("give", GIVEN)
def test_nothing_is_said_of_a_sound_one(tmp_path: Path, give: Any) -> None:
    made = Authority.made().intermediate if give is given_as_a_chain else server()
    options, _ = give(tmp_path, made)
    assert words(**options) == ""


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(server().key_pem())
    (tmp_path / "certificate.pem").write_bytes(server().pem)
    said = words(privateKey=tmp_path / "key.pem", certKey=tmp_path / "certificate.pem")
    assert "key.pem" in said
    assert "certificate.pem" in said


def test_a_chain_that_certifies_something_else_is_named(tmp_path: Path) -> None:
    stranger = issue("Somebody else")
    options, chain = given_as_a_chain(tmp_path, stranger)
    assert str(chain) in words(**options)


def a_key_of_another(folder: Path) -> list[str]:
    (folder / "c.pem").write_bytes(server().pem)
    (folder / "key.pem").write_bytes(server().key_pem())
    return ["c.pem", "key.pem"]


def a_certificate_without_a_key(folder: Path) -> list[str]:
    (folder / "c.pem").write_bytes(server().pem)
    return ["c.pem"]


def a_key_without_a_certificate(folder: Path) -> list[str]:
    (folder / "key.pem").write_bytes(server().key_pem())
    return ["key.pem"]


def a_certificate_without_DNS_names(folder: Path) -> list[str]:
    made = issue("192.0.2.1", Authority.made().intermediate, "192.0.2.1")
    (folder / "c.pem").write_bytes(made.key_pem() + made.pem)
    return ["c.pem"]


def files_that_are_not_read(folder: Path) -> list[str]:
    made = server()
    (folder / "c.crt").write_bytes(made.pem)
    (folder / "c.key").write_bytes(made.key_pem())
    return ["c.crt", "c.key"]


def a_file_without_blocks(folder: Path) -> list[str]:
    (folder / "empty.pem").write_bytes(b"")
    return ["empty.pem"]


@pytest.mark.parametrize(
    "fill",
    [
        a_key_of_another,
        a_certificate_without_a_key,
        a_key_without_a_certificate,
        a_certificate_without_DNS_names,
        files_that_are_not_read,
        a_file_without_blocks,
    ],
)
def test_a_directory_with_nothing_usable_names_its_files(tmp_path: Path, fill: Any) -> None:
    names = fill(tmp_path)
    said = words(tls=tmp_path)
    assert str(tmp_path) in said
    assert [name for name in names if name not in said] == []


@pytest.mark.parametrize(
    "fill", [a_key_of_another, a_certificate_without_a_key, a_key_without_a_certificate]
)
def test_what_is_left_out_beside_a_sound_one_is_named(tmp_path: Path, fill: Any) -> None:
    names = fill(tmp_path)
    sound = issue("a.example", Authority.made().intermediate, "a.example")
    (tmp_path / "sound.pem").write_bytes(sound.key_pem() + sound.pem)
    said = words(tls=tmp_path)
    assert [name for name in names if f"{tmp_path / name}'" not in said] == []
    assert "sound.pem" not in said


@pytest.mark.parametrize("days", [EXPIRED, NOT_YET], ids=["expired", "not yet valid"])
def test_nothing_is_said_of_one_that_another_serves_instead_of(
    tmp_path: Path, days: tuple[int, int]
) -> None:
    for name, made in {"a": server(), "b": server(days)}.items():
        (tmp_path / f"{name}.pem").write_bytes(made.key_pem() + made.pem)
    assert words(tls=tmp_path) == ""


def test_an_expired_intermediate_is_named(tmp_path: Path) -> None:
    old = issue("An old intermediate", Authority.made().root, days=EXPIRED)
    made = issue("a.example", old, "a.example")
    (tmp_path / "a.pem").write_bytes(made.key_pem() + made.pem)
    (tmp_path / "old.pem").write_bytes(old.pem)
    said = words(tls=tmp_path)
    assert (
        f"{tmp_path / 'old.pem'}' has a certificate for 'An old intermediate' that expired" in said
    )
    assert "a.pem" not in said


def test_an_empty_directory_is_named(tmp_path: Path) -> None:
    assert str(tmp_path) in words(tls=tmp_path)


def test_a_key_and_a_certificate_that_are_swapped_are_recognized(files: Files) -> None:
    said = words(privateKey=files.certificate, certKey=files.key)
    assert str(files.certificate) in said
    assert str(files.key) in said
    assert re.search(r"swap|the other way r?a?round|exchange", said)


@pytest.mark.parametrize(
    "content",
    [b"", b"not PEM", b"-----BEGIN DH PARAMETERS-----\nMAYCAQ\n-----END DH PARAMETERS-----\n"],
    ids=["empty", "no PEM", "cut"],
)
def test_parameters_that_can_not_be_used_blame_themselves(
    files: Files, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "dh.pem").write_bytes(content)
    said = words(privateKey=files.key, certKey=files.certificate, dhParameters=tmp_path / "dh.pem")
    assert re.search(
        rf"dhParameters '{re.escape(str(tmp_path / 'dh.pem'))}' (can't|has|is)\b", said
    )
    assert "used together" not in said
