"""Connecting to real servers by the names of a real name server, in networks with real faults."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.certificates import Authority
from support.environments import clean_environment
from support.namespaces import Namespace, connect_namespaces, namespace, needs_root
from support.processes import Server, running, running_command
from support.programs import until

PROGRAMS = Path(__file__).parent / "programs"
CLIENT = PROGRAMS / "connecting_client.py"
NAME_SERVER = PROGRAMS / "name_server.py"
WEB = Path(__file__).parents[1] / "integration" / "servers" / "tls_web.py"

OWN4, OWN6 = "10.1.0.1", "fd00:1::1"
FAR4, FAR6, LINK_LOCAL = "10.1.0.2", "fd00:1::2", "fe80::2"
DESCRIPTORS = 8192
BACKLOG = 2048

FAULTS = ("silent", "unreachable", "prohibit", "blackhole", "routed")
"""What becomes of what is sent to an address: a neighbor that is not there, three kinds of routes
that fail at once, and a router that says after a while that it knows no way."""
FAULTY4 = {fault: f"10.9.0.{number}" for number, fault in enumerate(FAULTS)}
FAULTY6 = {fault: f"fd00:9::{number:x}0" for number, fault in enumerate(FAULTS, 1)}
SILENT6 = ["fd00:9::1", "fd00:9::2", "fd00:9::3"]

NAMES = {
    "a.example": [FAR4],
    "aaaa.example": [FAR6],
    "both.example": [FAR6, FAR4],
    "mapped.example": [f"::ffff:{FAR4}"],
    "mapped-too.example": [f"::ffff:{FAR4}", FAR4],
    "three-silent.example": [*SILENT6, FAR4],
    "all-silent.example": [SILENT6[0], FAULTY4["silent"]],
    **{f"{fault}6.example": [address, FAR4] for fault, address in FAULTY6.items()},
    **{f"{fault}4.example": [FAR6, address] for fault, address in FAULTY4.items()},
}
ZONE = """
zone = [
    SOA("example", mname="name.example", rname="root.example", serial=1,
        refresh=60, retry=60, expire=60, minimum=0),
    CNAME("alias.example", "both.example", ttl=0),
    MX("empty.example", 10, "a.example", ttl=0),
"""


class Family(NamedTuple):
    """A kind of server, and its port with Twisted and with nginx."""

    serves: tuple[str, ...]
    twisted: int
    nginx: int


IPV4_ONLY = Family((FAR4,), 8004, 9004)
IPV6_ONLY = Family((FAR6,), 8006, 9006)
BOTH = Family((FAR6, FAR4), 8010, 9010)
TLS = 9443
TWISTED = {
    IPV4_ONLY: f"tcp:{IPV4_ONLY.twisted}:backlog={BACKLOG}",
    IPV6_ONLY: rf"dualstack:{IPV6_ONLY.twisted}:interface=fd00\:1\:\:2:backlog={BACKLOG}",
    BOTH: f"dualstack:{BOTH.twisted}:backlog={BACKLOG}",
}
NGINX = f"""
daemon off;
worker_processes 1;
worker_rlimit_nofile {DESCRIPTORS};
error_log stderr;
pid {{folder}}/nginx.pid;
events {{{{ worker_connections {DESCRIPTORS // 2}; }}}}
http {{{{
    access_log off;
    default_type text/plain;
    client_body_temp_path {{folder}};
    proxy_temp_path {{folder}};
    fastcgi_temp_path {{folder}};
    uwsgi_temp_path {{folder}};
    scgi_temp_path {{folder}};
    server {{{{
        listen 0.0.0.0:{IPV4_ONLY.nginx} backlog={BACKLOG};
        listen [::]:{IPV6_ONLY.nginx} ipv6only=on backlog={BACKLOG};
        listen [::]:{BOTH.nginx} ipv6only=off backlog={BACKLOG};
        location / {{{{ return 200 "$remote_addr $server_addr nginx"; }}}}
    }}}}
    server {{{{
        listen [::]:{TLS} ssl ipv6only=off;
        server_name both.example;
        ssl_certificate {{folder}}/name.pem;
        ssl_certificate_key {{folder}}/name.pem;
        location / {{{{ return 200 "$remote_addr $server_addr name"; }}}}
    }}}}
    server {{{{
        listen [::]:{TLS} ssl default_server;
        ssl_certificate {{folder}}/addresses.pem;
        ssl_certificate_key {{folder}}/addresses.pem;
        location / {{{{ return 200 "$remote_addr $server_addr address"; }}}}
    }}}}
}}}}
"""

pytestmark = [
    needs_root,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx"),
]


class Network(NamedTuple):
    near: Namespace
    far: Namespace
    root: Path
    """The certificate of an authority that the client trusts."""


def add_faults(near: Namespace, far: Namespace) -> None:
    for faults, via in ((FAULTY4, FAR4), (FAULTY6, FAR6)):
        # Frames to nobody: there is a way, and no answer.
        gone = via.removesuffix("2") + "99"
        nobody = ("lladdr", "02:00:00:00:00:99", "nud", "permanent", "dev", "wire")
        near.run("ip", "neighbor", "add", gone, *nobody)
        for fault, address in faults.items():
            if fault == "silent":
                near.run("ip", "route", "add", address, "via", gone)
            elif fault == "routed":
                near.run("ip", "route", "add", address, "via", via)
            else:
                near.run("ip", "route", "add", fault, address)
    for address in SILENT6:
        near.run("ip", "route", "add", address, "via", "fd00:1::99")
    far.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A client's machine, and one with the servers, which are running."""
    folder = tmp_path_factory.mktemp("networks")
    zone = folder / "zone.py"
    lines = [
        f'    {"AAAA" if ":" in address else "A"}("{name}", "{address}", ttl=0),'
        for name, addresses in NAMES.items()
        for address in addresses
    ]
    zone.write_text("\n".join([ZONE, *lines, "]\n"]))
    authority = Authority.made()
    for name, hosts in {"name": ["both.example"], "addresses": [FAR4, FAR6]}.items():
        issued = authority.issue(*hosts)
        own = issued.pem + authority.intermediate.pem + issued.key_pem()
        (folder / f"{name}.pem").write_bytes(own)
    root = folder / "root.pem"
    root.write_bytes(authority.root.pem)
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder))
    with namespace() as near, namespace() as far, contextlib.ExitStack() as stack:
        connect_namespaces(near, far)
        near.add_addresses("wire", OWN4, OWN6, "fe80::1")
        far.add_addresses("wire", FAR4, FAR6, LINK_LOCAL)
        add_faults(near, far)
        near.configure("resolv.conf", f"nameserver {FAR4}\n")
        near.configure("nsswitch.conf", "hosts: files dns\n")
        near.configure("gai.conf", "")
        prefix = (*far.prefix, "prlimit", f"--nofile={DESCRIPTORS}")
        names = stack.enter_context(running(NAME_SERVER, FAR4, str(zone), prefix=prefix))
        names.event()
        web = stack.enter_context(running(WEB, *TWISTED.values(), prefix=prefix))
        for _ in TWISTED:
            web.event()
        nginx = stack.enter_context(
            running_command([*prefix, "nginx", "-c", str(configuration), "-p", str(folder)])
        )
        ports = [family.nginx for family in TWISTED]
        until(lambda: all(str(port) in listening(far) for port in ports), nginx)
        yield Network(near, far, root)


def listening(place: Namespace) -> str:
    return place.run("ss", "-Hltn")


class Client:
    """The program, in the network of the client."""

    def __init__(self, program: Server) -> None:
        self._program = program

    def ask(self, **request: Any) -> Any:
        """What came of it; nothing has been left open."""
        self._program.say(json.dumps({"rememberOutcomes": False, **request}))
        answer = self._program.event()
        assert answer.pop("leaked") == 0, answer
        return answer


@contextlib.contextmanager
def client(
    network: Network, way: str, reactor: str = "epoll", descriptors: int = DESCRIPTORS
) -> Iterator[Client]:
    prefix = (*network.near.prefix, "prlimit", f"--nofile={descriptors}")
    environment = clean_environment(SSL_CERT_FILE=str(network.root))
    with running(CLIENT, reactor, way, prefix=prefix, env=environment) as program:
        yield Client(program)


@pytest.fixture(scope="module")
def clients(network: Network) -> Iterator[dict[str, Client]]:
    """One for each way of resolving."""
    with contextlib.ExitStack() as stack:
        yield {way: stack.enter_context(client(network, way)) for way in (*WAYS, "installed")}


WAYS = ("system", "argument")
TRIED = {
    "a.example": [FAR4],
    "aaaa.example": [FAR6],
    "both.example": [FAR6, FAR4],
    "alias.example": [FAR6, FAR4],
    "mapped.example": [FAR4],
    "mapped-too.example": [FAR4],
}
"""What a name is for connecting, in the order of trying."""


def page(family: Family, server: str, peer: str) -> str:
    """What a server says of a connection; nginx shows what a dual-stack socket has."""
    own, mark = (OWN6 if ":" in peer else OWN4), "nginx" if server == "nginx" else "HTTP/1.1"
    mapped = "::ffff:" if server == "nginx" and family is BOTH and peer == FAR4 else ""
    return f"{mapped}{own} {mapped}{peer} {mark}"


@pytest.mark.parametrize("way", WAYS)
def test_every_server_is_found_by_every_name(clients: dict[str, Client], way: str) -> None:
    connecting = clients[way]
    for family, server, name in itertools.product(TWISTED, ("twisted", "nginx"), TRIED):
        port = getattr(family, server)
        answer = connecting.ask(host=name, port=port)
        served = [address for address in TRIED[name] if address in family.serves]
        if served:
            peer = served[0]
            assert answer["tried"] == TRIED[name][: TRIED[name].index(peer) + 1]
            assert answer["peer"] == peer
            assert answer["kind"] == ("IPv6Address" if ":" in peer else "IPv4Address")
            assert answer["pages"] == [page(family, server, peer)]
        else:
            assert answer["error"][0] == "ConnectionRefusedError"
            assert answer["failed"] == TRIED[name]
            assert f"{name}:{port}: " in answer["text"]


@pytest.mark.parametrize("way", [*WAYS, "installed"])
def test_a_name_without_an_address_is_named(clients: dict[str, Client], way: str) -> None:
    reasons = {"empty.example": "", "missing.example": "NXDOMAIN", "broken.example": "SERVFAIL"}
    connecting = clients[way]
    for name, reason in reasons.items():
        answer = connecting.ask(host=name, port=BOTH.nginx)
        assert answer["error"][0] == "DNSLookupError"
        assert f"no address for the name '{name}'" in answer["text"]
        # The reactor's resolvers drop the reason.
        if way == "argument":
            assert reason in answer["text"]


def test_a_resolver_of_twisted_names_that_is_installed(clients: dict[str, Client]) -> None:
    """Such a one has one address for a name."""
    connecting = clients["installed"]
    for name, addresses in TRIED.items():
        answer = connecting.ask(host=name, port=BOTH.nginx)
        assert answer["peer"] == addresses[0]
        assert answer["pages"] == [page(BOTH, "nginx", addresses[0])]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", FAULTS)
def test_IPv4_is_reached_where_IPv6_has_a_fault(
    clients: dict[str, Client], way: str, fault: str
) -> None:
    connecting = clients[way]
    answer = connecting.ask(host=f"{fault}6.example", port=BOTH.nginx)
    assert answer["pages"] == [page(BOTH, "nginx", FAR4)]
    # The system's resolver puts last what there is no way to.
    if way == "argument" or fault in ("silent", "routed"):
        assert answer["tried"] == [FAULTY6[fault], FAR4]


@contextlib.contextmanager
def preferring_IPv4(place: Namespace) -> Iterator[None]:
    """Administrators say so in ``gai.conf``."""
    place.configure("gai.conf", "precedence ::/0 40\nprecedence ::ffff:0:0/96 100\n")
    try:
        yield
    finally:
        place.configure("gai.conf", "")


def test_IPv6_is_reached_where_IPv4_has_a_fault(network: Network) -> None:
    with preferring_IPv4(network.near), client(network, "system") as connecting:
        assert connecting.ask(host="both.example", port=BOTH.twisted)["tried"] == [FAR4]
        for fault, address in FAULTY4.items():
            answer = connecting.ask(host=f"{fault}4.example", port=BOTH.twisted)
            assert answer["pages"] == [page(BOTH, "twisted", FAR6)]
            if fault in ("silent", "routed"):
                assert answer["tried"] == [address, FAR6]


@pytest.mark.parametrize("way", WAYS)
def test_silent_addresses(clients: dict[str, Client], way: str) -> None:
    connecting = clients[way]
    # However many there are, the other family comes second.
    answer = connecting.ask(host="three-silent.example", port=BOTH.nginx)
    assert answer["peer"] == FAR4
    assert answer["tried"][1:] == [FAR4]
    assert answer["tried"][0] in SILENT6
    # All of them are told of when the time is over.
    silent = [SILENT6[0], FAULTY4["silent"]]
    for timeout in (0.5, 5):
        # On a busy machine asking for the addresses may take as long.
        answer = connecting.ask(
            host="all-silent.example", port=80, timeout=timeout, attemptDelay=0.05
        )
        assert answer["error"][0] == "TimeoutError"
        if answer["tried"] == silent:
            break
    assert answer["tried"] == answer["failed"] == silent
    for address in silent:
        assert address in answer["text"]
    # The second connection begins with what has won.
    asked = {"host": "silent6.example", "port": BOTH.nginx, "rememberOutcomes": True}
    assert connecting.ask(**asked)["tried"] == [FAULTY6["silent"], FAR4]
    assert connecting.ask(**asked)["tried"] == [FAR4]


@pytest.mark.parametrize(
    ("reactor", "way", "port"),
    [
        ("epoll", "system", BOTH.nginx),
        ("epoll", "argument", IPV4_ONLY.nginx),
        ("asyncio", "system", IPV4_ONLY.twisted),
        ("poll", "argument", BOTH.twisted),
    ],
)
def test_a_thousand_connections_at_once(
    network: Network, reactor: str, way: str, port: int
) -> None:
    with client(network, way, reactor) as connecting:
        answer = connecting.ask(host="both.example", port=port, count=1000)
        assert "failures" not in answer
        assert answer["attempts"] >= 1000 * (2 if port in IPV4_ONLY else 1)
        assert 1000 <= answer["descriptors"] < 1050


@pytest.mark.parametrize("host", ["both.example", FAR4])
def test_more_connections_than_descriptors(network: Network, host: str) -> None:
    # Twisted's hostname resolver never answers when getaddrinfo runs out of descriptors.
    with client(network, "argument", descriptors=100) as connecting:
        answer = connecting.ask(host=host, port=BOTH.nginx, count=200)
        assert 100 < answer["failures"] < 200
        assert "Too many open files" in answer["text"]
        assert connecting.ask(host=host, port=BOTH.nginx)["pages"]


@pytest.mark.parametrize("way", WAYS)
def test_an_HTTP_agent(clients: dict[str, Client], way: str) -> None:
    connecting = clients[way]
    for host, port, peer in (
        ("both.example", BOTH.nginx, FAR6),
        ("both.example", IPV4_ONLY.twisted, FAR4),
        (f"[::ffff:{FAR4}]", IPV4_ONLY.nginx, FAR4),
        # The agent puts the zone into its Host header, which newer nginx refuse.
        (f"[{LINK_LOCAL}%25wire]", BOTH.twisted, f"{LINK_LOCAL}%wire"),
        (f"[{LINK_LOCAL}%wire]", BOTH.twisted, f"{LINK_LOCAL}%wire"),
    ):
        [said] = connecting.ask(url=f"http://{host}:{port}/")["pages"]
        assert said.split()[1].removeprefix("::ffff:") == peer


@pytest.mark.parametrize("way", WAYS)
def test_nginx_shows_the_certificate_for_the_name_or_address(
    clients: dict[str, Client], way: str
) -> None:
    connecting = clients[way]
    for host, said in {
        "both.example": f"{OWN6} {FAR6} name",
        "both.example.": f"{OWN6} {FAR6} name",
        FAR4: f"::ffff:{OWN4} ::ffff:{FAR4} address",
        f"[::ffff:{FAR4}]": f"::ffff:{OWN4} ::ffff:{FAR4} address",
        f"[{FAR6}]": f"{OWN6} {FAR6} address",
    }.items():
        assert connecting.ask(url=f"https://{host}:{TLS}/")["pages"] == [said]
    for host in ("a.example", "alias.example", f"[{LINK_LOCAL}%wire]"):
        assert "VerificationError" in connecting.ask(url=f"https://{host}:{TLS}/")["text"]
