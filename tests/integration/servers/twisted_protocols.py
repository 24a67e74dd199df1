"""Twisted's own protocols, each listening on the endpoint string that is the first argument.

The second argument is a folder to write to. One JSON line says which protocol has which port; the
rest of the output is Twisted's log.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.cred.checkers import AllowAnonymousAccess, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet import reactor
from twisted.internet.defer import succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.mail.pop3 import POP3
from twisted.names.hosts import Resolver
from twisted.names.server import DNSServerFactory
from twisted.protocols import ftp
from twisted.protocols.amp import AMP
from twisted.protocols.ident import IdentServer, ProcServerMixin
from twisted.protocols.socks import SOCKSv4Factory
from twisted.python import log
from twisted.python.failure import Failure
from twisted.spread.pb import PBServerFactory
from twisted.web import distrib
from twisted.web.guard import DigestCredentialFactory, HTTPAuthSessionWrapper
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site
from twisted.web.twcgi import FilteredScript
from twisted.web.util import redirectTo
from twisted.web.wsgi import WSGIResource
from zope.interface import implementer

if sys.platform != "win32":
    import pwd

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
    from twisted.conch.ssh.factory import SSHFactory
    from twisted.conch.ssh.keys import Key
    from twisted.conch.unix import UnixSSHRealm

reactor: Any
LOOPBACK = ("127.0.0.1", "::1")


class Page(Resource):
    """A page whose text is made from the request."""

    isLeaf = True  # noqa: N815

    def __init__(self, text: Callable[[Request], str | bytes]) -> None:
        super().__init__()
        self._text = text

    def render_GET(self, request: Request) -> bytes:
        text = self._text(request)
        return text if isinstance(text, bytes) else text.encode()


def shown(address: Any) -> str:
    return f"{type(address).__name__} {address.host}"


def addresses_of(request: Request) -> str:
    return (
        f"client={shown(request.client)} host={shown(request.host)} "
        f"getClientIP={request.getClientIP()} "
        f"getClientAddress={shown(request.getClientAddress())} getHost={shown(request.getHost())}"
    )


def moved(request: Request) -> bytes:
    if request.args:
        return b"arrived"
    return redirectTo(request.prePathURL() + b"?redirected=yes", request)


def wsgi_application(environ: dict[str, str], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['REMOTE_ADDR']} {environ['SERVER_NAME']}".encode()]


def cgi(folder: Path) -> Resource:
    script = folder / "environment.cgi"
    script.write_text('printf "Content-Type: text/plain\\n\\n$REMOTE_ADDR"\n')
    resource = FilteredScript(str(script))
    resource.filter = "/bin/sh"
    return resource


@implementer(IRealm)
class MembersRealm:
    def requestAvatar(self, avatar_id: Any, mind: Any, *interfaces: Any) -> Any:
        return IResource, Page(lambda request: "welcome"), lambda: None


def digest() -> Resource:
    portal = Portal(MembersRealm(), [InMemoryUsernamePasswordDatabaseDontUse(user=b"password")])
    return HTTPAuthSessionWrapper(portal, [DigestCredentialFactory(b"md5", b"members")])


def distributed(folder: Path) -> Resource:
    socket_path = str(folder / "publisher")
    site = Site(Page(lambda request: shown(request.getClientAddress())))
    reactor.listenUNIX(socket_path, PBServerFactory(distrib.ResourcePublisher(site)))
    return distrib.ResourceSubscription("unix", socket_path)


def web(folder: Path) -> Site:
    root = Resource()
    root.putChild(b"addresses", Page(addresses_of))
    root.putChild(b"hostname", Page(lambda request: request.getRequestHostname()))
    root.putChild(b"prePathURL", Page(lambda request: request.prePathURL()))
    root.putChild(b"URLPath", Page(lambda request: str(request.URLPath())))
    root.putChild(b"moved", Page(moved))
    root.putChild(b"wsgi", WSGIResource(reactor, reactor.getThreadPool(), wsgi_application))
    root.putChild(b"cgi", cgi(folder))
    root.putChild(b"members", digest())
    if sys.platform != "win32":
        root.putChild(b"distributed", distributed(folder))
    return Site(root, logPath=str(folder / "access.log"))


def impatient_web(folder: Path) -> Site:
    return Site(Resource(), timeout=0.1)


def smtp(folder: Path) -> Factory:
    # Twisted's mail looks the machine's name up when it is imported, maybe in the network's DNS.
    socket.getfqdn = lambda name="": "localhost"
    from twisted.mail.mail import MailService
    from twisted.mail.relay import DomainQueuer
    from twisted.mail.relaymanager import Queue
    from twisted.mail.smtp import IMessage, SMTPBadRcpt, User

    class Relay(DomainQueuer):
        """Twisted's relay; its own ``exists`` takes the length of an iterator."""

        def exists(self, user: User) -> Callable[[], Any]:
            if self.willRelay(user.dest, user.protocol):
                return lambda: self.startMessage(user)
            raise SMTPBadRcpt(user)

    @implementer(IMessage)
    class LoggedMessage:
        def lineReceived(self, line: bytes) -> None:
            log.msg(line.decode())

        def eomReceived(self) -> Any:
            return succeed(None)

        def connectionLost(self) -> None:
            pass

    class LoggingDomain:
        def exists(self, user: User) -> Callable[[], Any]:
            return LoggedMessage

    service = MailService()
    service.smtpPortal.registerChecker(AllowAnonymousAccess())
    (folder / "queue").mkdir()
    service.setQueue(Queue(str(folder / "queue")))
    service.domains.setDefaultDomain(Relay(service))
    service.domains[b"here.example"] = LoggingDomain()
    return service.getESMTPFactory()


class PeerCheckedDTPFactory(ftp.DTPFactory):
    """Makes the check that Twisted's ``peerCheck`` describes and leaves out."""

    def buildProtocol(self, addr: IAddress) -> Protocol | None:
        if self.peerHost not in (None, addr.host):
            self.clientConnectionFailed(None, Failure(ConnectionAborted()))
            return None
        return super().buildProtocol(addr)


def ftp_server(folder: Path) -> Factory:
    ftp.DTPFactory = PeerCheckedDTPFactory
    (folder / "pub").mkdir()
    return ftp.FTPFactory(Portal(ftp.FTPRealm(str(folder / "pub")), [AllowAnonymousAccess()]))


def socks(folder: Path) -> Factory:
    return SOCKSv4Factory(str(folder / "socks.log"))


def ssh(folder: Path) -> Factory:
    key = Key(Ed25519PrivateKey.generate())
    identity = folder / "identity"
    identity.touch(mode=0o600)
    identity.write_bytes(key.toString("OPENSSH"))
    public = key.public().toString("OPENSSH").decode()
    (folder / "identity.pub").write_text(public)
    (folder / "known_hosts").write_text("".join(f"{host} {public}\n" for host in LOOPBACK))
    user = pwd.getpwuid(os.getuid()).pw_name.encode()
    factory = SSHFactory()
    factory.publicKeys = {key.sshType(): key.public()}
    factory.privateKeys = {key.sshType(): key}
    factory.portal = Portal(
        UnixSSHRealm(), [SSHPublicKeyChecker(InMemorySSHKeyDB({user: [key.public()]}))]
    )
    return factory


class LoopbackDNSServerFactory(DNSServerFactory):
    def allowQuery(self, message: Any, protocol: Any, address: Any) -> bool:
        return protocol.transport.getPeer().host in LOOPBACK


def dns(folder: Path) -> Factory:
    hosts = folder / "hosts"
    hosts.write_text("192.0.2.1 name.example\n")
    return LoopbackDNSServerFactory(clients=[Resolver(str(hosts))], verbose=1)


class Ident(ProcServerMixin, IdentServer):
    """Twisted's, which reads and writes text where its base class has bytes."""

    def lineReceived(self, line: bytes) -> None:
        super().lineReceived(line.decode())

    def sendLine(self, line: str) -> None:
        super().sendLine(line.encode())


def main(description: str, folder: Path) -> None:
    log.startLogging(sys.stdout, setStdout=False)
    site = web(folder)
    factories = {
        "web": site,
        "impatient web": impatient_web(folder),
        "smtp": smtp(folder),
        "pop3": Factory.forProtocol(POP3),
        "ftp": ftp_server(folder),
        "socks": socks(folder),
        "dns": dns(folder),
        "amp": Factory.forProtocol(AMP),
        "ident": Factory.forProtocol(Ident),
    }
    if sys.platform != "win32":
        factories["ssh"] = ssh(folder)
    endpoints = {name: (description, factory) for name, factory in factories.items()}
    # The same site for one family each, where no address can be mapped.
    endpoints["web for 127.0.0.1"] = ("tcp:0:interface=127.0.0.1", site)
    endpoints["web for ::1"] = (r"tcp6:0:interface=\:\:1", site)
    ports = {}
    for name, (text, factory) in endpoints.items():
        serverFromString(reactor, text).listen(factory).addCallback(
            lambda port, name=name: ports.update({name: port.getHost().port})
        ).addErrback(log.err)
    print(json.dumps(ports), flush=True)
    reactor.run()


main(sys.argv[1], Path(sys.argv[2]))
