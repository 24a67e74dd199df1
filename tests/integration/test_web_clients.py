"""HTTP clients over ``DualStackAgentEndpointFactory``: ``Agent``, redirects, pools, HTTPS, treq."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from support.builds import CHECKOUT
from support.certificates import Authority, Files, issue, older_pyopenssl_api
from support.environments import clean_environment
from support.processes import PATIENCE, running
from support.reactors import Reactor, open_descriptors
from support.resolvers import Hosts
from support.windows import starts_programs
from treq.client import HTTPClient
from twisted.internet import error, tcp
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate
from twisted.internet.testing import MemoryReactor
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
    RedirectAgent,
    readBody,
)
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface.verify import verifyObject

from dsadapter import hookimpl
from dsadapter.frameworks.twisted import (
    ConnectingError,
    DualStackAgentEndpointFactory,
    DualStackClientEndpoint,
    DualStackServerEndpoint,
)
from dsadapter.frameworks.twisted.tls import connectionCreatorFromFiles, wrapServerTLS
from dsadapter.testing import registered

pytestmark = [
    older_pyopenssl_api,
    # Of Twisted's own agent, too.
    pytest.mark.filterwarnings("ignore:Using readBody with a transport:DeprecationWarning"),
]
WEB = Path(__file__).parent / "servers" / "tls_web.py"
EXAMPLE = CHECKOUT / "examples" / "treq" / "fetch.py"
NAMES = {
    "both.example": ["::1", "127.0.0.1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "xn--bcher-kva.example": ["127.0.0.1"],
}


class Page(Resource):
    """Says who asks and for what; ``/to?WHERE`` redirects."""

    isLeaf = True  # noqa: N815

    def render_GET(self, request: Request) -> bytes:
        if request.path == b"/to":
            request.redirect(unquote_to_bytes(request.uri.partition(b"?")[2]))
            return b""
        client = request.getClientAddress()
        seen = {
            "peer": client.host,
            "port": client.port,
            "own": request.getHost().host,
            "host": request.getHeader("host"),
            "secure": request.isSecure(),
        }
        return json.dumps(seen).encode()


@pytest.fixture(autouse=True)
def resolver(reactor: Reactor) -> Hosts:
    made = Hosts(NAMES)
    reactor.installNameResolver(made)
    return made


@contextlib.contextmanager
def serving(reactor: Reactor, endpoint: Any) -> Iterator[int]:
    """The port; in the end nothing is left open."""
    tcp._reservedFD.reserve()
    before = open_descriptors()
    site = Site(Page(), reactor=reactor)
    site.noisy = False
    port = reactor.result_of(endpoint.listen(site))
    yield port.getHost().port
    reactor.result_of(port.stopListening())
    left = {*reactor.getReaders(), *reactor.getWriters()}
    connections = [each for each in left if isinstance(each, tcp.Connection)]
    for connection in connections:
        connection.abortConnection()
    reactor.until(lambda: not any(each.connected for each in connections))
    reactor.until(lambda: open_descriptors() <= before)


@pytest.fixture
def port(reactor: Reactor) -> Iterator[int]:
    with serving(reactor, DualStackServerEndpoint(reactor, 0)) as number:
        yield number


def agent(reactor: Reactor, pool: Any = None, **options: Any) -> Agent:
    factory = DualStackAgentEndpointFactory(reactor, **options)
    return Agent.usingEndpointFactory(reactor, factory, pool)


def get(reactor: Reactor, asking: Any, url: str) -> dict[str, Any]:
    """What the page says."""
    response = reactor.result_of(asking.request(b"GET", url.encode()))
    assert response.code == 200
    said: dict[str, Any] = json.loads(reactor.result_of(readBody(response)))
    return said


@pytest.mark.parametrize(
    ("host", "peer"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("[::ffff:127.0.0.1]", "127.0.0.1"),
        ("[::FFFF:7f00:1]", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[0:0:0:0:0:0:0:1]", "::1"),
        ("both.example", "::1"),
        ("both.example.", "::1"),
        ("mapped.example", "127.0.0.1"),
        ("xn--bcher-kva.example", "127.0.0.1"),
    ],
)
def test_a_page_is_fetched_from_what_the_uri_names(
    reactor: Reactor, port: int, host: str, peer: str
) -> None:
    said = get(reactor, agent(reactor), f"http://{host}:{port}/")
    assert (said["peer"], said["own"], said["host"]) == (peer, peer, f"{host}:{port}")


@pytest.mark.parametrize(
    ("server", "peer"),
    [
        (lambda reactor: TCP4ServerEndpoint(reactor, 0), "127.0.0.1"),
        (lambda reactor: TCP6ServerEndpoint(reactor, 0, interface="::1"), "::1"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_a_server_of_one_family_is_found(reactor: Reactor, server: Any, peer: str) -> None:
    with serving(reactor, server(reactor)) as port:
        assert get(reactor, agent(reactor), f"http://both.example:{port}/")["peer"] == peer


def test_options_reach_the_endpoint(reactor: Reactor, port: int) -> None:
    bound = agent(reactor, bindAddress="::ffff:127.0.0.2")
    assert get(reactor, bound, f"http://both.example:{port}/")["peer"] == "127.0.0.2"


def test_connections_are_reused_for_the_same_host_only(reactor: Reactor, port: int) -> None:
    pool = HTTPConnectionPool(reactor)
    asking = agent(reactor, pool)
    sources = {}
    for host in ("both.example", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"):
        said = [get(reactor, asking, f"http://{host}:{port}/") for _ in range(3)]
        [sources[host]] = {each["port"] for each in said}
        assert {each["host"] for each in said} == {f"{host}:{port}"}
    assert len(set(sources.values())) == len(sources)
    reactor.result_of(pool.closeCachedConnections())


class Egress:
    """Lets nothing out to one address."""

    @hookimpl
    def dsadapter_before_connect(self, attempt: Any) -> None:
        if attempt.destination[0] == "127.0.0.1":
            raise PermissionError("not there")


def test_a_redirect_to_a_mapped_literal_is_IPv4_and_filtered_as_such(
    reactor: Reactor, port: int
) -> None:
    following = RedirectAgent(agent(reactor))
    url = f"http://[::1]:{port}/to?http://[::ffff:7f00:1]:{port}/"
    assert get(reactor, following, url)["peer"] == "127.0.0.1"
    with registered(Egress(), "egress"):
        with pytest.raises(error.ConnectError, match=r"127\.0\.0\.1:.*not there"):
            get(reactor, following, url)


def test_treq(reactor: Reactor, port: int) -> None:
    client = HTTPClient(agent(reactor))

    async def fetch(url: str) -> Any:
        response = await client.get(url)
        return await response.json()

    for url, peer in {
        f"http://both.example:{port}/": "::1",
        f"http://both.example:{port}/to?http://[::ffff:127.0.0.1]:{port}/": "127.0.0.1",
        f"http://bücher.example:{port}/": "127.0.0.1",
    }.items():
        assert reactor.result_of(ensureDeferred(fetch(url)))["peer"] == peer


@starts_programs
def test_the_treq_example(tmp_path: Path) -> None:
    files = Files.written_to(tmp_path)
    secured = files.filled("dualstack:0:privateKey={key}:certKey={full_chain}")
    with running(WEB, "dualstack:0") as plain, running(WEB, secured) as secure:
        urls = [
            f"https://localhost:{secure.event()['port']}/",
            f"http://127.0.0.1:{plain.event()['port']}/",
        ]
        command = [sys.executable, str(EXAMPLE), *urls]
        done = subprocess.run(
            command,
            env=clean_environment(SSL_CERT_FILE=str(files.root)),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    first, second = done.stdout.splitlines()
    assert (first.split()[:2], second.split()[:2]) == (["200", urls[0]], ["200", urls[1]])
    assert second.split()[2:4] == ["127.0.0.1", "127.0.0.1"]
    assert done.stderr == ""


class TestHTTPS:
    """A server with one certificate; it remembers the server names that clients ask for."""

    @pytest.fixture
    def asked(self) -> list[Any]:
        return []

    @pytest.fixture
    def port(self, reactor: Reactor, asked: list[Any], tmp_path: Path) -> Iterator[int]:
        own = Authority.made().issue("both.example", "127.0.0.1", "::1")
        pem = tmp_path / "server.pem"
        pem.write_bytes(own.key_pem() + own.pem + Authority.made().intermediate.pem)
        creator = connectionCreatorFromFiles(str(pem))
        creator.getContext().set_tlsext_servername_callback(
            lambda connection: asked.append(connection.get_servername())
        )
        listening = wrapServerTLS(creator, DualStackServerEndpoint(reactor, 0), reactor)
        with serving(reactor, listening) as number:
            yield number

    @pytest.fixture
    def trusting(self) -> BrowserLikePolicyForHTTPS:
        return BrowserLikePolicyForHTTPS(Certificate.loadPEM(Authority.made().root.pem))

    @pytest.mark.parametrize(
        ("host", "peer", "server_name"),
        [
            ("both.example", "::1", b"both.example"),
            ("both.example.", "::1", b"both.example"),
            ("127.0.0.1", "127.0.0.1", None),
            ("[::1]", "::1", None),
            ("[0:0::1]", "::1", None),
            ("[::ffff:127.0.0.1]", "127.0.0.1", None),
            ("[::ffff:7f00:1]", "127.0.0.1", None),
        ],
    )
    def test_the_server_is_verified_for_what_the_uri_names(
        self,
        reactor: Reactor,
        port: int,
        trusting: Any,
        asked: list[Any],
        host: str,
        peer: str,
        server_name: bytes | None,
    ) -> None:
        said = get(reactor, agent(reactor, policyForHTTPS=trusting), f"https://{host}:{port}/")
        assert (said["peer"], said["secure"]) == (peer, True)
        assert asked == [server_name]

    @pytest.mark.parametrize("host", ["mapped.example", "127.0.0.2", "[::ffff:127.0.0.2]"])
    def test_a_certificate_of_another_host_is_refused(
        self, reactor: Reactor, port: int, trusting: Any, host: str
    ) -> None:
        asking = agent(reactor, policyForHTTPS=trusting)
        with pytest.raises(Exception, match=r"certificate verify failed|VerificationError"):
            get(reactor, asking, f"https://{host}:{port}/")

    @pytest.mark.parametrize("root", [None, issue("Another root")])
    def test_an_unknown_authority_is_refused(self, reactor: Reactor, port: int, root: Any) -> None:
        policy = BrowserLikePolicyForHTTPS(Certificate.loadPEM(root.pem)) if root else None
        asking = agent(reactor, policyForHTTPS=policy)
        with pytest.raises(Exception, match="certificate verify failed"):
            get(reactor, asking, f"https://both.example:{port}/")

    def test_connections_are_not_shared_with_http(
        self, reactor: Reactor, port: int, trusting: Any
    ) -> None:
        pool = HTTPConnectionPool(reactor)
        asking = agent(reactor, pool, policyForHTTPS=trusting)
        sources = [get(reactor, asking, f"https://[::1]:{port}/")["port"] for _ in range(2)]
        assert len(set(sources)) == 1
        plain: Deferred[Any] = asking.request(b"GET", f"http://[::1]:{port}/".encode())
        with pytest.raises(Exception, match=r"ResponseNeverReceived|ParseError|Connection"):
            reactor.result_of(plain)
        assert get(reactor, asking, f"https://[::1]:{port}/")["port"] == sources[0]
        reactor.result_of(pool.closeCachedConnections())


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.1/", "host '127.1'"),
        ("http://2130706433/", "host '2130706433'"),
        ("https://0x7f.1/", "host '0x7f.1'"),
        ("http://a..example/", "host 'a..example'"),
        ("http://both.example:0/", "port 0"),
        ("http://both.example:99999/", "port 99999"),
        ("http:///", "host ''"),
        ("https://-.example/", "host '-.example'"),
    ],
)
def test_a_host_that_is_refused_fails_the_request(
    reactor: Reactor, resolver: Hosts, url: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        reactor.result_of(agent(reactor).request(b"GET", url.encode()))
    assert resolver.asked == []


@starts_programs
def test_https_without_its_packages_says_what_to_install() -> None:
    program = (
        "import sys\n"
        "sys.modules['OpenSSL'] = None\n"
        "from twisted.internet.testing import MemoryReactor\n"
        "from twisted.web.client import Agent\n"
        "from dsadapter.frameworks.twisted import DualStackAgentEndpointFactory\n"
        "reactor = MemoryReactor()\n"
        "agent = Agent.usingEndpointFactory(reactor, DualStackAgentEndpointFactory(reactor))\n"
        "request = agent.request(b'GET', b'https://localhost/')\n"
        "request.addErrback(lambda failure: print(failure.type.__name__, failure.value))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("ImportError TLS needs packages"), done.stderr
    assert done.stdout.endswith("install 'twisted[tls]'\n")


def test_other_schemes_are_not_supported(reactor: Reactor) -> None:
    with pytest.raises(SchemeNotSupported, match="gopher"):
        reactor.result_of(agent(reactor).request(b"GET", b"gopher://127.0.0.1/"))


def test_the_error_of_a_request_tells_of_every_address(reactor: Reactor) -> None:
    with serving(reactor, DualStackServerEndpoint(reactor, 0)) as gone:
        pass
    with pytest.raises(ConnectingError) as caught:
        get(reactor, agent(reactor), f"http://both.example:{gone}/")
    assert [attempt.address[0] for attempt in caught.value.attempts] == ["::1", "127.0.0.1"]


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        (b"[fe80::1%25lo]", "[fe80::1%lo]"),
        (b"[fe80::1%lo]", "[fe80::1%lo]"),
        (b"[fe80::1%25]", "[fe80::1%25]"),
    ],
)
def test_zone_ids_in_both_spellings(host: bytes, shown: str) -> None:
    factory = DualStackAgentEndpointFactory(MemoryReactor())
    endpoint = factory.endpointForURI(URI.fromBytes(b"ws://" + host + b":8080/"))
    assert repr(endpoint) == f"<DualStackClientEndpoint {shown}:8080>"


PRINTABLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="/?#")


@given(
    scheme=st.sampled_from(["http", "https", "ws", "wss"]),
    host=st.text(PRINTABLE) | st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    port=st.just("") | st.integers(0, 99999).map(lambda number: f":{number}"),
)
def test_whatever_the_host_is_a_request_has_an_endpoint(scheme: str, host: str, port: str) -> None:
    factory = DualStackAgentEndpointFactory(MemoryReactor())
    try:
        uri = URI.fromBytes(f"{scheme}://{host}{port}/".encode())
    except ValueError:
        reject()  # Python takes some brackets for a mistake.
    assert verifyObject(IStreamClientEndpoint, factory.endpointForURI(uri))


@given(
    address=st.ip_addresses(v=6, network="fe80::/64"),
    zone=st.from_regex(r"[a-z][a-z0-9.-]{0,14}", fullmatch=True),
)
def test_zone_ids_in_any_spelling(address: Any, zone: str) -> None:
    factory = DualStackAgentEndpointFactory(MemoryReactor())
    wanted = repr(DualStackClientEndpoint(MemoryReactor(), f"{address}%{zone}", 80))
    for percent in ("%25", "%"):
        uri = URI.fromBytes(f"http://[{address}{percent}{zone}]/".encode())
        assert repr(factory.endpointForURI(uri)) == wanted


def test_what_is_wrong_with_an_option_is_told_at_once() -> None:
    reactor = MemoryReactor()
    assert verifyObject(IAgentEndpointFactory, DualStackAgentEndpointFactory(reactor))
    with pytest.raises(ValueError, match="attemptDelay 9"):
        DualStackAgentEndpointFactory(reactor, attemptDelay=9)
    with pytest.raises(TypeError, match="atemptDelay"):
        DualStackAgentEndpointFactory(reactor, atemptDelay=1)
    with pytest.raises(ValueError, match="policyForHTTPS 'strict'"):
        DualStackAgentEndpointFactory(reactor, "strict")
