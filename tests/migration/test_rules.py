"""Each pattern is found in each of its shapes, as sure as it can be."""

from __future__ import annotations

import pytest
from migration.cases import ENDPOINTS, REACTOR, SERVICES, found, summary

CERTAIN, LIKELY, POSSIBLE = "certain", "likely", "possible"

PAIRS = {
    "listenTCP": (
        REACTOR + "reactor.listenTCP(80, factory)\nreactor.listenTCP(80, factory, interface='::')",
        CERTAIN,
    ),
    "listenTCP, IPv6 first, a name for the port": (
        REACTOR
        + "port = 80\nreactor.listenTCP(port, factory, interface='::')\n"
        + "reactor.listenTCP(port, factory, interface='0.0.0.0')",
        CERTAIN,
    ),
    "listenSSL": (
        REACTOR
        + "context = make()\nreactor.listenSSL(443, factory, context)\n"
        + "reactor.listenSSL(443, factory, context, interface='::')",
        CERTAIN,
    ),
    "listenUDP": (
        REACTOR + "reactor.listenUDP(53, factory)\nreactor.listenUDP(53, factory, interface='::')",
        LIKELY,
    ),
    "endpoints": (
        ENDPOINTS
        + "TCP4ServerEndpoint(reactor, 80).listen(site)\n"
        + "TCP6ServerEndpoint(reactor, 80).listen(site)",
        CERTAIN,
    ),
    "endpoints kept in names and opened later": (
        ENDPOINTS
        + "a = TCP4ServerEndpoint(reactor, 80)\na.listen(site)\n"
        + "b = TCP6ServerEndpoint(reactor, 80)\nb.listen(site)",
        CERTAIN,
    ),
    "endpoints that share a name": (
        (
            ENDPOINTS
            + "a = TCP4ServerEndpoint(reactor, 80)\na.listen(site)\n"
            + "a = TCP6ServerEndpoint(reactor, 80)\na.listen(site)"
        ),
        CERTAIN,
    ),
    "endpoints that a loop opens": (
        ENDPOINTS
        + "a = TCP4ServerEndpoint(reactor, 80)\nb = TCP6ServerEndpoint(reactor, 80)\n"
        + "for endpoint in (a, b):\n    endpoint.listen(site)",
        LIKELY,
    ),
    "an endpoint and a method": (
        ENDPOINTS
        + "reactor.listenTCP(80, site)\n"
        + "TCP6ServerEndpoint(reactor, 80, interface='::').listen(site)",
        CERTAIN,
    ),
    "endpoints with the same errback": (
        ENDPOINTS
        + "TCP4ServerEndpoint(reactor, 80).listen(site).addErrback(log.err)\n"
        + "TCP6ServerEndpoint(reactor, 80).listen(site).addErrback(log.err)",
        CERTAIN,
    ),
    "endpoints with errbacks of their own": (
        ENDPOINTS
        + "TCP4ServerEndpoint(reactor, 80).listen(site).addErrback(failed4)\n"
        + "TCP6ServerEndpoint(reactor, 80).listen(site).addErrback(failed6)",
        LIKELY,
    ),
    "endpoints whose addresses are options": (
        ENDPOINTS
        + "TCP6ServerEndpoint(reactor, 80, interface=options.six).listen(site)\n"
        + "TCP4ServerEndpoint(reactor, 80, interface=options.four).listen(site)",
        LIKELY,
    ),
    "strings": (
        ENDPOINTS
        + "serverFromString(reactor, 'tcp:80').listen(site)\n"
        + "serverFromString(reactor, 'tcp6:80').listen(site)",
        CERTAIN,
    ),
    "strings with a port put in": (
        ENDPOINTS
        + "serverFromString(reactor, f'tcp:{port}').listen(site)\n"
        + "serverFromString(reactor, f'tcp6:{port}').listen(site)",
        CERTAIN,
    ),
    "strings with addresses": (
        ENDPOINTS
        + "serverFromString(reactor, 'tcp:80:interface=0.0.0.0').listen(site)\n"
        + "serverFromString(reactor, r'tcp:80:interface=\\:\\:').listen(site)",
        CERTAIN,
    ),
    "services": (
        SERVICES
        + "internet.TCPServer(80, site).setServiceParent(app)\n"
        + "internet.TCPServer(80, site, interface='::').setServiceParent(app)",
        CERTAIN,
    ),
    "services of strings": (
        SERVICES
        + "strports.service('tcp:80', site).setServiceParent(app)\n"
        + "strports.service('tcp6:80', site).setServiceParent(app)",
        CERTAIN,
    ),
    "a service kept in a name": (
        SERVICES
        + "a = internet.TCPServer(80, site)\na.setServiceParent(app)\n"
        + "b = internet.TCPServer(80, site, interface='::')\nb.setServiceParent(app)",
        CERTAIN,
    ),
    "results that are kept": (
        REACTOR
        + "a = reactor.listenTCP(80, factory)\nb = reactor.listenTCP(80, factory, interface='::')",
        LIKELY,
    ),
    "a result that is used": (
        REACTOR
        + "a = reactor.listenTCP(80, factory)\nreactor.listenTCP(80, factory, interface='::')\n"
        + "print(a.getHost())",
        LIKELY,
    ),
    "the port of the first": (
        REACTOR
        + "a = reactor.listenTCP(0, factory)\n"
        + "reactor.listenTCP(a.getHost().port, factory, interface='::')",
        LIKELY,
    ),
    "a reactor that is passed": (
        (
            "def start(reactor, site):\n"
            "    reactor.listenTCP(80, site)\n    reactor.listenTCP(80, site, interface='::')"
        ),
        LIKELY,
    ),
    "a factory for each": (
        REACTOR
        + "reactor.listenTCP(80, Site(root))\nreactor.listenTCP(80, Site(root), interface='::')",
        LIKELY,
    ),
    "another backlog": (
        REACTOR
        + "reactor.listenTCP(80, factory, 5)\n"
        + "reactor.listenTCP(80, factory, 50, interface='::')",
        LIKELY,
    ),
    "a port that changes between them": (
        REACTOR
        + "reactor.listenTCP(port, factory)\nport = other()\n"
        + "reactor.listenTCP(port, factory, interface='::')",
        LIKELY,
    ),
    "asyncio": (
        (
            "import asyncio\nasync def main():\n"
            "    await asyncio.start_server(serve, '0.0.0.0', 80)\n"
            "    await asyncio.start_server(serve, '::', 80)"
        ),
        CERTAIN,
    ),
    "a loop's method": (
        (
            "import asyncio\nasync def main():\n    loop = asyncio.get_running_loop()\n"
            "    await loop.create_server(Echo, '0.0.0.0', 80)\n"
            "    await loop.create_server(Echo, '::', 80)"
        ),
        CERTAIN,
    ),
    "asyncio, gathered": (
        (
            "import asyncio\nasync def main():\n"
            "    await asyncio.gather(asyncio.start_server(serve, '0.0.0.0', 80),\n"
            "        asyncio.start_server(serve, '::', 80))"
        ),
        LIKELY,
    ),
    "a call of another library": (
        (
            "async def main(lib):\n    a = await lib.start_udp_server('0.0.0.0', 53, serve)\n"
            "    b = await lib.start_udp_server('[::]', a.port, serve)"
        ),
        LIKELY,
    ),
    "aiohttp's sites": (
        (
            "from aiohttp import web\nasync def main(runner):\n"
            "    await web.TCPSite(runner, '0.0.0.0', 80).start()\n"
            "    await web.TCPSite(runner, '::', 80).start()"
        ),
        LIKELY,
    ),
    "socketserver": (
        (
            "import socket, socketserver, threading\n"
            "class Six(socketserver.TCPServer):\n    address_family = socket.AF_INET6\n"
            "four = socketserver.TCPServer(('', 80), Handler)\nsix = Six(('::', 80), Handler)\n"
            "threading.Thread(target=four.serve_forever).start()\nsix.serve_forever()"
        ),
        CERTAIN,
    ),
    "socketserver, the one for IPv4 of another class": (
        (
            "import socket, socketserver, threading\n"
            "class Six(socketserver.TCPServer):\n    address_family = socket.AF_INET6\n"
            "four = socketserver.ThreadingTCPServer(('', 80), Handler)\n"
            "six = Six(('::', 80), Handler)\n"
            "threading.Thread(target=four.serve_forever).start()\nsix.serve_forever()"
        ),
        LIKELY,
    ),
    "socketserver, both in threads": (
        (
            "import socket, socketserver, threading\n"
            "class Six(socketserver.TCPServer):\n    address_family = socket.AF_INET6\n"
            "four = socketserver.TCPServer(('', 80), Handler)\nsix = Six(('::', 80), Handler)\n"
            "for server in (four, six):\n    threading.Thread(target=server.serve_forever).start()"
        ),
        LIKELY,
    ),
}


@pytest.mark.parametrize("shape", PAIRS)
def test_a_pair_is_found(shape):
    source, certainty = PAIRS[shape]
    assert summary(source) == [("P1", certainty)]


def test_what_replaces_a_pair_is_for_its_kind():
    """None of them takes a listening socket, or for datagrams there is none."""
    (finding,) = found(
        "import socket\nwith socket.create_server(('', 80)) as a, "
        "socket.create_server(('', 80), family=socket.AF_INET6) as b:\n    serve(a, b)"
    )
    assert finding.pattern == "P1"
    assert finding.replacement == "dsadapter.frameworks.blocking.create_server(('::', port))"
    (finding,) = found(
        "from wsgiref.simple_server import WSGIServer, make_server\n"
        "class Six(WSGIServer):\n    address_family = socket.AF_INET6\n"
        "a = make_server('0.0.0.0', 80, app)\nb = make_server('::', 80, app, server_class=Six)"
    )
    assert finding.replacement.startswith("make_server('::', port, app, server_class=Server), with")
    (finding,) = found(
        "import socket\nfour = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "four.bind(('', 53))\nsix = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
        "six.bind(('::', 53))"
    )
    assert finding.pattern == "P4"
    assert "TranslatingSocket(type=socket.SOCK_DGRAM)" in finding.replacement


LOOPS = {
    "addresses": (
        REACTOR + "for a in ('0.0.0.0', '::'):\n    reactor.listenTCP(80, factory, interface=a)",
        CERTAIN,
    ),
    "addresses in a list of its own": (
        REACTOR
        + "addresses = ['', '::']\nfor a in addresses:\n"
        + "    reactor.listenTCP(80, factory, interface=a)",
        CERTAIN,
    ),
    "addresses that are used again": (
        REACTOR
        + "addresses = ['', '::']\nfor a in addresses:\n"
        + "    reactor.listenTCP(80, factory, interface=a)\nprint(addresses)",
        LIKELY,
    ),
    "an address that is also printed": (
        REACTOR
        + "for a in ('', '::'):\n    reactor.listenTCP(80, factory, interface=a)\n    print(a)",
        LIKELY,
    ),
    "a comprehension": (
        REACTOR + "ports = [reactor.listenTCP(80, factory, interface=a) for a in ('', '::')]",
        LIKELY,
    ),
    "a default": (
        REACTOR
        + "for a in options.addresses or ['', '::']:\n"
        + "    reactor.listenTCP(80, factory, interface=a)",
        LIKELY,
    ),
    "a method away": (
        (
            "from twisted.internet.endpoints import TCP4ServerEndpoint\nclass Server:\n"
            "    def bind(self, interface):\n"
            "        TCP4ServerEndpoint(self.reactor, 80, interface=interface).listen(self.site)\n"
            "    def start(self):\n        addresses = [self.host] if self.host else ['', '::']\n"
            "        for address in addresses:\n            self.bind(address)"
        ),
        LIKELY,
    ),
    "configuration": (
        REACTOR + "for a in config.addresses:\n    reactor.listenTCP(80, factory, interface=a)",
        POSSIBLE,
    ),
    "asyncio's list": (
        (
            "import asyncio\nasync def main():\n"
            "    server = await asyncio.start_server(serve, ['0.0.0.0', '::'], 80)"
        ),
        CERTAIN,
    ),
    "asyncio's list, the sockets used": (
        (
            "import asyncio\nasync def main():\n"
            "    server = await asyncio.start_server(serve, ['0.0.0.0', '::'], 80)\n"
            "    print(len(server.sockets))"
        ),
        LIKELY,
    ),
    "asyncio, no host": (
        "import asyncio\nasync def main():\n    await asyncio.start_server(serve, port=80)",
        POSSIBLE,
    ),
    "aiohttp's list": (
        "from aiohttp import web\nweb.run_app(app, host=['0.0.0.0', '::'], port=80)",
        LIKELY,
    ),
    "aiohttp's sites": (
        (
            "from aiohttp import web\nasync def main(runner):\n    for host in ('0.0.0.0', '::'):\n"
            "        await web.TCPSite(runner, host, 80).start()"
        ),
        LIKELY,
    ),
    "uvicorn's list": (
        "import uvicorn\nuvicorn.run(app, host=['0.0.0.0', '::'], port=80)",
        LIKELY,
    ),
    "uvicorn, a server for each": (
        (
            "import uvicorn\nfor host in ('0.0.0.0', '::'):\n"
            "    start(uvicorn.Server(uvicorn.Config(app, host=host, port=80)))"
        ),
        LIKELY,
    ),
    "hypercorn's binds": ("config.bind = ['0.0.0.0:80', '[::]:80']", LIKELY),
}


@pytest.mark.parametrize("shape", LOOPS)
def test_a_listener_for_each_address_is_found(shape):
    source, certainty = LOOPS[shape]
    assert summary(source) == [("P2", certainty)]


ONES = {
    "an errback that forgives": (
        REACTOR
        + "def failed(f):\n    if f.type is CannotListenError and state.six:\n        pass\n"
        + "    else:\n        print(f)\nendpoint.listen(factory).addErrback(failed)",
        ("P3", LIKELY),
    ),
    "a handler that forgives": (
        (
            "def listen(self):\n    self.six.listen(5)\n    try:\n        self.four.listen(5)\n"
            "    except OSError as e:\n        if e.errno == errno.EADDRINUSE and self.six:\n"
            "            self.four = None\n        else:\n            raise"
        ),
        ("P3", LIKELY),
    ),
    "two sockets": (
        (
            "import socket\ndef listen(port):\n"
            "    six = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)\n"
            "    six.bind(('::', port))\n"
            "    four = socket.socket(socket.AF_INET, socket.SOCK_STREAM)\n"
            "    four.bind(('', port))\n"
            "    return select.select([six, four], [], [])"
        ),
        ("P4", LIKELY),
    ),
    "two sockets of a class, bound elsewhere": (
        (
            "import socket\nclass Listener:\n    def __init__(self):\n"
            "        self.six = socket.socket(socket.AF_INET6)\n"
            "        self.four = socket.socket(socket.AF_INET)\n"
            "    def bind(self, six, four):\n        self.six.bind(six)\n"
            "        self.four.bind(four)"
        ),
        ("P4", POSSIBLE),
    ),
    "a second socket with the first one's port": (
        (
            "import socket\nfour = socket.socket(socket.AF_INET)\nfour.bind(('', 0))\n"
            "six = socket.socket(socket.AF_INET6)\nsix.bind(('::', four.getsockname()[1]))"
        ),
        ("P4", LIKELY),
    ),
    "a socket for each result": (
        (
            "import socket\nfor f, t, p, c, a in socket.getaddrinfo(\n"
            "        host, port, flags=socket.AI_PASSIVE):\n"
            "    s = socket.socket(f, t)\n    s.bind(a)"
        ),
        ("P5", POSSIBLE),
    ),
    "V6ONLY off": (
        (
            "import socket\ns = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)\n"
            "s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, False)"
        ),
        ("P6", LIKELY),
    ),
    "V6ONLY off, by numbers": (
        (
            "import socket\ns = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)\n"
            "s.setsockopt(41, 26, 0)\ns.listen()"
        ),
        ("P6", LIKELY),
    ),
    "V6ONLY, computed": (
        "import socket\ns.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)",
        ("P6", POSSIBLE),
    ),
    "V6ONLY off, in a probe": (
        (
            "import socket\ndef can():\n    with closing(socket.socket(socket.AF_INET6)) as s:\n"
            "        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)"
        ),
        ("P6", POSSIBLE),
    ),
    "V6ONLY on": ("s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)", ("P7", POSSIBLE)),
    "guarded slice": (
        (
            "def f(self):\n    h = self.transport.getPeer().host\n"
            "    if h.startswith('::ffff:'):\n        h = h[7:]\n    return h"
        ),
        ("P8", LIKELY),
    ),
    "guarded split": (
        (
            "def f(self):\n    h = self.client_address[0]\n    if h.startswith('::ffff:'):\n"
            "        h = h.split(':')[-1]"
        ),
        ("P8", LIKELY),
    ),
    "guarded slice with a constant": (
        "PREFIX = '::ffff:'\ndef f(h):\n    if h.startswith(PREFIX):\n        h = h[len(PREFIX):]",
        ("P8", LIKELY),
    ),
    "conditional expression": (
        (
            "def f(scope):\n    h = scope['client'][0]\n"
            "    return h[7:] if h.startswith('::ffff:') else h"
        ),
        ("P8", LIKELY),
    ),
    "replace, inside an argument": (
        "log(sock.recvfrom(9)[1][0].replace('::ffff:', ''))",
        ("P8", LIKELY),
    ),
    "removeprefix": ("h = environ['REMOTE_ADDR'].removeprefix('::ffff:')", ("P8", LIKELY)),
    "split by the prefix": ("h = request.remote_addr.split('::ffff:')[-1]", ("P8", LIKELY)),
    "lstrip, which eats real addresses": (
        "h = environ.get('REMOTE_ADDR').lstrip('::ffff:')",
        ("P8", LIKELY),
    ),
    "what is before the last colon": (
        "h = self.client_address[0]\nif ':' in h:\n    h = h.split(':')[-1]",
        ("P8", LIKELY),
    ),
    "a column of what a program printed": (
        (
            "host, port = line.rsplit(':', 1)\nhost = host.strip('[]')\n"
            "if host.startswith('::ffff:'):\n    host = host[7:]"
        ),
        ("P8", POSSIBLE),
    ),
    "regular expression": ("import re\nh = re.sub('^::ffff:', '', h)", ("P9", LIKELY)),
    "compiled regular expression": (
        "import re\nMAPPED = re.compile(r'^(?:::ffff:)?(\\d+\\.\\d+\\.\\d+\\.\\d+)$')",
        ("P9", LIKELY),
    ),
    "unmapping": (
        "import ipaddress\ndef f(a: ipaddress.IPv6Address):\n    return a.ipv4_mapped or a",
        ("P10", LIKELY),
    ),
    "unmapping in a filter": (
        "import ipaddress\ndef blocked(a):\n    a = a.ipv4_mapped or a\n    return a.is_private",
        ("P10", POSSIBLE),
    ),
    "unmapping that crashes": (
        "import ipaddress\ndef f(h):\n    return ipaddress.ip_address(h).ipv4_mapped",
        ("P10x", LIKELY),
    ),
    "unmapping that crashes, a name away": (
        (
            "import ipaddress\ndef f(h):\n    a = ipaddress.ip_address(h)\n"
            "    if a.ipv4_mapped is not None:\n        return a.ipv4_mapped\n    return a"
        ),
        ("P10x", LIKELY),
    ),
    "unmapping that looks at the version": (
        (
            "import ipaddress\ndef f(h):\n    a = ipaddress.ip_address(h)\n"
            "    return a.ipv4_mapped if a.version == 6 else a"
        ),
        ("P10", LIKELY),
    ),
    "a mapped address compared": ("ok = h == '::ffff:127.0.0.1'", ("P11", LIKELY)),
    "a mapped address in an allow-list": (
        "ok = h in ('127.0.0.1', '::ffff:127.0.0.1')",
        ("P11", LIKELY),
    ),
    "a mapped front": ("ok = h.startswith('::ffff:127.')", ("P11", LIKELY)),
    "a mapped address made": ("a = '::ffff:' + h", ("P12", POSSIBLE)),
    "a mapped address made by an f-string": ("a = f'::ffff:{h}'", ("P12", POSSIBLE)),
    "a dot in an address": ("four = '.' in s.getsockname()[0]", ("P13", POSSIBLE)),
    "a peer's text": ("kind = request.peer.split(':')[0]", ("P14", LIKELY)),
    "an adopted descriptor": (
        "import socket\ns = socket.fromfd(3, socket.AF_INET, socket.SOCK_STREAM)",
        ("P15", LIKELY),
    ),
    "an adopted port": (
        "import socket\nreactor.adoptStreamPort(fd, socket.AF_INET, factory)",
        ("P15", LIKELY),
    ),
    "an adopted descriptor in a string": (
        "e = 'systemd:domain=INET:index=0'",
        ("P15", LIKELY),
    ),
    "one listener on ::": (
        REACTOR + "reactor.listenTCP(80, factory, interface='::')",
        ("P16", LIKELY),
    ),
    "one endpoint for IPv6": (
        ENDPOINTS + "TCP6ServerEndpoint(reactor, 80).listen(site)",
        ("P16", LIKELY),
    ),
    "an option's default": (
        r"options = [('port', 'p', 'tcp:4000:interface=\\:\\:', 'where')]",
        ("P16", LIKELY),
    ),
}


@pytest.mark.parametrize("shape", ONES)
def test_each_other_pattern_is_found(shape):
    source, expected = ONES[shape]
    assert summary(source) == [expected]


def test_what_crashes_and_what_shows_garbage_is_an_error():
    from dsadapter.migration.patterns import PATTERNS

    errors = {name for name, pattern in PATTERNS.items() if pattern.level == "error"}
    assert errors == {"P10x", "P15"}


NOTHING = {
    "one family by default": REACTOR + "reactor.listenTCP(80, factory)",
    "membership, not binding": "if host in ('0.0.0.0', '::'):\n    host = 'localhost'",
    "one socket for both already": (
        "import socket\na = socket.create_server(('', 80), family=socket.AF_INET6, "
        "dualstack_ipv6=True)\nb = socket.create_server(('127.0.0.1', 80))"
    ),
    "a list of routes": "routes = [('default', '0.0.0.0', '::')]",
    "separators": "name = '::'.join(parts)\nx = y[::2]",
    "a port that is tried again": (
        "import socket\nfor port in ports:\n    try:\n        s.bind(('', port))\n        break\n"
        "    except OSError as e:\n        if e.errno != errno.EADDRINUSE:\n            raise"
    ),
    "dual-stack already": (
        "from dsadapter.frameworks.twisted import DualStackServerEndpoint\n"
        "DualStackServerEndpoint(reactor, 80).listen(site)\n"
        "serverFromString(reactor, 'dualstack:80').listen(site)"
    ),
    "the first address that can be bound": (
        "import socket\nfor f, t, p, c, a in socket.getaddrinfo(\n"
        "        host, port, flags=socket.AI_PASSIVE):\n"
        "    try:\n        s = socket.socket(f, t)\n        s.bind(a)\n"
        "    except OSError:\n        continue\n    break"
    ),
    "a copy of ipaddress": (
        "class IPv6Address:\n    @property\n    def ipv4_mapped(self):\n        return None\n"
        "    def f(self):\n        return self.ipv4_mapped"
    ),
}


@pytest.mark.parametrize("shape", NOTHING)
def test_what_only_looks_alike_is_left_alone(shape):
    assert summary(NOTHING[shape]) == []


def test_a_finding_says_where_and_what_to_do():
    (finding,) = found(REACTOR + "reactor.listenTCP(80, factory, interface='::')")
    assert (finding.span.line, finding.span.column) == (3, 0)
    assert "listenTCP" in finding.message
    assert finding.replacement == 'strports.service("dualstack:80", factory).startService()'


def test_columns_count_characters():
    (finding,) = found("ä = 'öü'; h == '::ffff:127.0.0.1'")
    assert finding.span.column == 10
