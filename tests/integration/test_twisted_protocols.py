"""What Twisted's own protocols do with a client's address, one test a row.

Each row also runs against Twisted's own ``tcp6:`` endpoint on ``::``, where the same observation
has to be the leak: a mapped address, or the damage that it does.
"""

from __future__ import annotations

import contextlib
import ftplib
import functools
import hashlib
import os
import poplib
import re
import smtplib
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.processes import PATIENCE, Server, running, running_command
from support.versions import CONCH_LOGS_USERS_IN, FTP_SPEAKS_IPV6, lacking
from support.windows import nothing_is_mapped, runs_tools

if sys.platform != "win32":
    import pwd

SCRIPT = Path(__file__).parent / "servers" / "twisted_protocols.py"
MAPPED = "::ffff:127.0.0.1"


class Case(NamedTuple):
    """A server, a client, and the address that is to be seen for that client."""

    description: str
    ip: str
    seen: str


CASES = {
    "dualstack-ipv4": Case("dualstack:0", "127.0.0.1", "127.0.0.1"),
    "dualstack-ipv6": Case("dualstack:0", "::1", "::1"),
    "tcp6-leaks": Case(r"tcp6:0:interface=\:\:", "127.0.0.1", MAPPED),
    "tcp6-is-right": Case(r"tcp6:0:interface=\:\:", "127.0.0.1", "127.0.0.1"),
}


class Servers(NamedTuple):
    """The processes that listen on one description."""

    protocols: Server
    twist_web: Callable[[], tuple[Server, int]]
    """Starts it, once."""
    ports: dict[str, int]
    folder: Path


class Client:
    """One client of one description, and what it can ask."""

    def __init__(self, name: str, case: Case, servers: Servers) -> None:
        self.name = name
        self.ip = case.ip
        self.ports = servers.ports
        self.folder = servers.folder
        self.log = servers.protocols.wait_for_log
        self.twist_web = servers.twist_web

    def connect(self, protocol: str) -> socket.socket:
        return socket.create_connection((self.ip, self.ports[protocol]), timeout=PATIENCE)

    def ask(self, protocol: str, question: bytes, answer: int = -1) -> bytes:
        """Send something, and return so many bytes or all until the server closes."""
        with self.connect(protocol) as sock, sock.makefile("rb") as reader:
            sock.sendall(question)
            return reader.read(answer)

    def curl(self, path: str, *options: str, service: str = "web") -> str:
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        family = "-6" if ":" in self.ip else "-4"
        port = self.twist_web()[1] if service == "twist web" else self.ports[service]
        url = f"http://{host}:{port}/{path}"
        command = ["curl", family, "--globoff", "--noproxy", "*", "-sS", *options, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        return done.stdout + done.stderr

    def curl_without_host_header(self, path: str, *options: str) -> str:
        return self.curl(path, "--http1.0", "--header", "Host:", *options)

    def file_line(self, name: str, text: str) -> str:
        """The line of a server's file that contains a text, once it has been written."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            path = self.folder / name
            for line in path.read_text().splitlines() if path.exists() else []:
                if text in line:
                    return line
            time.sleep(0.01)
        raise AssertionError(f"{name} never had a line with {text!r}")


@pytest.fixture(scope="module")
def servers_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Servers]]:
    with contextlib.ExitStack() as stack:

        @functools.cache
        def start(description: str) -> Servers:
            folder = tmp_path_factory.mktemp("protocols")
            protocols = stack.enter_context(running(SCRIPT, description, str(folder)))

            @functools.cache
            def twist_web() -> tuple[Server, int]:
                program = Path(sys.executable).with_name("twist")
                twist = [str(program), "--log-format=text", "web"]
                server = stack.enter_context(running_command([*twist, "--listen", description]))
                return server, int(server.wait_for_log("Site starting on").split()[-1])

            return Servers(protocols, twist_web, protocols.event(), folder)

        yield start


@pytest.fixture
def client(request: pytest.FixtureRequest, servers_of: Callable[[str], Servers]) -> Client:
    case = CASES[request.param]
    return Client(request.param, case, servers_of(case.description))


Observation = Callable[[Client], str]
Test = Callable[[Client], None]


def row(right: str, *, ipv6: str | None = None, leak: str | None = None) -> Callable[..., Test]:
    """Make a row of a function that returns what a client or an operator sees.

    ``{ip}`` and ``{kind}`` stand for the client's address and the type of Twisted's address object,
    on ``tcp6:`` for the mapped ones.

    :param right: what has to be seen.
    :param ipv6: the same for an IPv6 client where it differs.
    :param leak: what the mapped address does on ``tcp6:`` where it is not just seen.
    """
    texts = {
        "dualstack-ipv4": right,
        "dualstack-ipv6": right if ipv6 is None else ipv6,
        "tcp6-leaks": right if leak is None else leak,
    }
    expected = {name: filled(text, CASES[name].seen) for name, text in texts.items()}
    assert expected["tcp6-leaks"] != expected["dualstack-ipv4"], "this row can't find a leak"
    return expecting(expected)


def row_without_leak(right: str, *, ipv6: str | None = None) -> Callable[..., Test]:
    """A row that is right on ``tcp6:``, too: what it shows of ``dualstack:`` is that it works."""
    other = right if ipv6 is None else ipv6
    return expecting({"dualstack-ipv4": right, "dualstack-ipv6": other, "tcp6-is-right": right})


def expecting(expected: dict[str, str]) -> Callable[..., Test]:
    def decorate(observe: Observation) -> Test:
        @pytest.mark.parametrize(
            "client",
            [
                pytest.param(name, marks=nothing_is_mapped if name.startswith("tcp6") else ())
                for name in expected
            ],
            indirect=True,
        )
        @functools.wraps(observe)
        def test(client: Client) -> None:
            assert observe(client) == expected[client.name]

        return test

    return decorate


def filled(text: str, ip: str) -> str:
    kind = "IPv6Address" if ":" in ip else "IPv4Address"
    return text.replace("{ip}", ip).replace("{kind}", kind)


def addresses_in(line: str) -> str:
    """The address objects whose ``repr`` is in a line."""
    return " ".join(
        " ".join(found) for found in re.findall(r"(IPv[46]Address)\(type='TCP', host='(.*?)'", line)
    )


def prefix_of(line: str) -> str:
    """The address in Twisted's log prefix, ``[Protocol,0,address]``."""
    return line[line.index("[") + 1 : line.index("]")].split(",")[2]


@row(
    "client={kind} {ip} host={kind} {ip} getClientIP={ip} "
    "getClientAddress={kind} {ip} getHost={kind} {ip}"
)
@runs_tools
def test_W1_request_addresses(client: Client) -> str:
    return client.curl("addresses")


@row("{ip}")
@runs_tools
def test_W2_access_log_file(client: Client) -> str:
    client.curl(f"hostname?{client.name}")
    return client.file_line("access.log", f"GET /hostname?{client.name} ").split('"')[1]


@row("{ip}")
@runs_tools
def test_W2_access_log_of_twist_web(client: Client) -> str:
    client.curl(client.name, service="twist web")
    server, _ = client.twist_web()
    return server.wait_for_log(f"GET /{client.name} ").split('"')[1]


@row("{ip}")
@runs_tools
def test_W3_request_hostname(client: Client) -> str:
    return client.curl_without_host_header("hostname")


@row("http://{ip}:PORT/prePathURL")
@runs_tools
def test_W3_prePathURL(client: Client) -> str:
    url = client.curl_without_host_header("prePathURL")
    return url.replace(str(client.ports["web"]), "PORT")


# Twisted puts no brackets around any IPv6 address.
@row("http://127.0.0.1:PORT/URLPath", ipv6="Processing Failed", leak="Processing Failed")
@runs_tools
def test_W3_URLPath(client: Client) -> str:
    page = client.curl_without_host_header("URLPath")
    failed = re.search("Processing Failed", page)
    return failed[0] if failed else page.replace(str(client.ports["web"]), "PORT")


@row("arrived", ipv6="invalid URL", leak="invalid URL")
@runs_tools
def test_W3_redirect_to_a_built_URL(client: Client) -> str:
    said = client.curl_without_host_header("moved", "--location")
    return "invalid URL" if said.startswith("curl: (3)") else said


@row("{ip} {ip}")
@runs_tools
def test_W4_WSGI_REMOTE_ADDR_and_SERVER_NAME(client: Client) -> str:
    return client.curl_without_host_header("wsgi")


@row("{ip}")
@runs_tools
def test_W4_CGI_REMOTE_ADDR(client: Client) -> str:
    return client.curl("cgi")


@row("welcome", leak="Unauthorized")
@runs_tools
def test_W5_digest_challenge_from_a_socket_of_one_family(client: Client) -> str:
    challenge = client.curl("members", "--include", service=f"web for {client.ip}")
    fields = dict(re.findall(r'(\w+)="(.*?)"', challenge))
    ha1, ha2 = md5(f"user:{fields['realm']}:password"), md5("GET:/members")
    response = md5(f"{ha1}:{fields['nonce']}:{ha2}")
    answer = (
        f'username="user", realm="{fields["realm"]}", nonce="{fields["nonce"]}", uri="/members", '
        f'algorithm="md5", opaque="{fields["opaque"]}", response="{response}"'
    )
    return client.curl("members", "--header", f"Authorization: Digest {answer}")


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@row("{kind} {ip}")
def test_W6_timeout_log(client: Client) -> str:
    with client.connect("impatient web") as sock:
        return addresses_in(client.log("Timing out client", f"port={sock.getsockname()[1]}"))


# Twisted can't send an IPv6Address to the other process.
@row("IPv4Address 127.0.0.1", ipv6="500", leak="500")
@runs_tools
def test_W8_distributed_request(client: Client) -> str:
    page = client.curl("distributed")
    return "500" if "500 - Server Connection Lost" in page else page


# Twisted's relay knows no IPv6 loopback.
@row("250", ipv6="550", leak="550")
def test_M1_local_relay(client: Client) -> str:
    with mail(client) as smtp:
        smtp.ehlo()
        smtp.mail("<me@here.example>")
        return str(smtp.rcpt("<you@elsewhere.example>")[0])


@row("Hello {ip}, nice to meet you")
def test_M2_HELO_reply(client: Client) -> str:
    with mail(client) as smtp:
        return smtp.helo()[1].decode().partition(" ")[2]


@row("Hello {ip}, nice to meet you")
def test_M2_EHLO_reply(client: Client) -> str:
    with mail(client) as smtp:
        return smtp.ehlo()[1].decode().splitlines()[0].partition(" ")[2]


@row("[{ip}]")
def test_M2_Received_header(client: Client) -> str:
    with mail(client) as smtp:
        smtp.sendmail("me@here.example", "you@here.example", "Subject: hello\n\nhello\n")
    line = client.log("Received: from", f"helo={client.name}")
    return line.split("(")[1].split()[0]


def mail(client: Client) -> smtplib.SMTP:
    port = client.ports["smtp"]
    return smtplib.SMTP(client.ip, port, local_hostname=client.name, timeout=PATIENCE)


@row("{kind} {ip}")
def test_M2_connection_log(client: Client) -> str:
    with mail(client) as smtp:
        return addresses_in(client.log("Connection from", f"port={port_of(smtp)}"))


@row("{kind} {ip}")
def test_M3_connection_log(client: Client) -> str:
    with pop3(client) as pop:
        return addresses_in(client.log("New connection from", f"port={port_of(pop)}"))


@row("{kind} {ip}")
def test_M3_denied_login_log(client: Client) -> str:
    with pop3(client) as pop:
        pop.user("somebody")
        with pytest.raises(poplib.error_proto):
            pop.pass_("secret")
        return addresses_in(client.log("Denied login attempt from", f"port={port_of(pop)}"))


@contextlib.contextmanager
def pop3(client: Client) -> Iterator[poplib.POP3]:
    pop = poplib.POP3(client.ip, client.ports["pop3"], timeout=PATIENCE)
    try:
        yield pop
    finally:
        pop.close()


def port_of(connection: smtplib.SMTP | poplib.POP3) -> int:
    assert isinstance(connection.sock, socket.socket)
    port: int = connection.sock.getsockname()[1]
    return port


@row("{ip}")
def test_F1_passive_port_log(client: Client) -> str:
    with ftp(client) as connection:
        address = connection.makepasv()
        with socket.create_connection(address):
            return prefix_of(client.log("[FTP", f"starting on {address[1]}"))


@row("200 PORT OK", leak="425 Can't open data connection.")
def test_F3_peer_check_of_an_active_transfer(client: Client) -> str:
    with (
        ftp(client) as connection,
        socket.create_server((client.ip, 0), family=connection.af) as data,
    ):
        announce = connection.sendeprt if ":" in client.ip else connection.sendport
        try:
            return announce(*data.getsockname()[:2])
        except ftplib.Error as error:
            return str(error)


@contextlib.contextmanager
def ftp(client: Client) -> Iterator[ftplib.FTP]:
    if ":" in client.ip and not FTP_SPEAKS_IPV6:
        pytest.skip(lacking("has neither EPSV nor EPRT"))
    with ftplib.FTP() as connection:
        connection.connect(client.ip, client.ports["ftp"], timeout=PATIENCE)
        connection.login()
        yield connection


# SOCKS names its client nowhere else in the log.
@row("{ip}")
def test_S1_authorization_log(client: Client) -> str:
    with socks(client):
        return prefix_of(client.log("authorized", f"user b'{client.name}'"))


@contextlib.contextmanager
def socks(client: Client) -> Iterator[bytes]:
    """The SOCKS server's reply to a request for a connection to this process."""
    with socket.create_server(("127.0.0.1", 0)) as target, client.connect("socks") as sock:
        host, port = target.getsockname()
        request = struct.pack("!BBH4s", 4, 1, port, socket.inet_aton(host))
        sock.sendall(request + client.name.encode() + b"\0")
        with sock.makefile("rb") as reader, target.accept()[0]:
            yield reader.read(8)


@row("{ip}")
@pytest.mark.skipif(not CONCH_LOGS_USERS_IN, reason=lacking("can't log in a Unix user"))
@pytest.mark.not_on_windows("conch runs a command as another user of Unix")
@pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() != 0,
    reason="conch runs a command as another user: needs root",
)
def test_H1_SSH_CLIENT(client: Client) -> str:
    """H2 is missing because Python 3 has no ``utmp``, H3 because it is in the client."""
    command = [sys.executable, "-m", "twisted.conch.scripts.conch", "--notty"]
    options = {
        "port": client.ports["ssh"],
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "user-authentications": "publickey",
        "identity": client.folder / "identity",
        "known-hosts": client.folder / "known_hosts",
    }
    command += [f"--{name}={value}" for name, value in options.items()]
    # Conch's client may lose a command's output when its own is no terminal.
    answer = client.folder / client.name
    command += [client.ip, f"echo $SSH_CLIENT >{answer}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return answer.read_text().split()[0]


@row("{kind} {ip}")
def test_D1_query_log(client: Client) -> str:
    with client.connect("dns") as sock:
        sock.sendall(QUERY)
        return addresses_in(client.log("A query from", f"port={sock.getsockname()[1]}"))


@row("answered", leak="refused")
def test_D1_allowQuery(client: Client) -> str:
    reply = client.ask("dns", QUERY, 6)
    return {0: "answered", 5: "refused"}[reply[5] & 15]


def dns_query(name: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    message = struct.pack("!6H", 1, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
    return struct.pack("!H", len(message)) + message


QUERY = dns_query("name.example")


@row("{kind} {ip} {kind} {ip}")
def test_X1_AMP_connection_log(client: Client) -> str:
    with client.connect("amp") as sock:
        return addresses_in(client.log("connection established", f"port={sock.getsockname()[1]}"))


# Twisted looks in /proc/net/tcp only.
@row("USERID", ipv6="ERROR", leak="ERROR")
@pytest.mark.not_on_windows("Twisted looks in /proc")
def test_X2_ident_lookup(client: Client) -> str:
    with (
        socket.create_server(("127.0.0.1", 0)) as asker,
        socket.create_connection(asker.getsockname()) as user,
        client.connect("ident") as sock,
        sock.makefile("rb") as reader,
    ):
        sock.sendall(b"%d, %d\r\n" % (user.getsockname()[1], asker.getsockname()[1]))
        return reader.readline().decode().split(" : ")[1]


# The rows from here on find no leak on tcp6: either.


# PASV is the one place where Twisted unmaps an address itself.
@row_without_leak(
    "227 Entering Passive Mode (127,0,0,1,HIGH,LOW).",
    ipv6="502 PASV available only for IPv4 (use EPSV instead)",
)
def test_F1_passive_transfer(client: Client) -> str:
    if client.name == "tcp6-is-right" and not FTP_SPEAKS_IPV6:
        pytest.skip(lacking("does not unmap in PASV"))
    with ftp(client) as connection:
        try:
            reply = connection.sendcmd("PASV")
        except ftplib.Error as error:
            return str(error)
        with socket.create_connection(ftplib.parse227(reply)):
            return re.sub(r",\d+,\d+\)", ",HIGH,LOW)", reply)


# The address in the reply is the target's, which Twisted reaches through a socket of its own.
@row_without_leak("90 127.0.0.1")
def test_S1_reply(client: Client) -> str:
    with socks(client) as reply:
        return f"{reply[1]} {socket.inet_ntoa(reply[4:])}"
