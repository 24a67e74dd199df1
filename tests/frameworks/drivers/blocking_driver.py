import contextlib
import socket
import ssl
import struct
from functools import partial
from threading import Thread

from dsadapter.addressing import unmap
from dsadapter.frameworks.blocking import TranslatingSocket, create_connection, create_server
from dsadapter.testing import Driver


class BlockingDriver(Driver):
    """Plain sockets, each with a thread of its own."""

    def __init__(self):
        self.sockets, self.threads, self.closing = [], [], False

    def listen(self, host, port, report, *, tls=None, descriptor=None, proxy=False):
        if descriptor is None:
            server = create_server((host, port), proxy_from=["127.0.0.1"] if proxy else None)
        else:
            server = TranslatingSocket(fileno=descriptor)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.sslsocket_class = server.sslsocket_class
            context.load_cert_chain(tls)
            server = context.wrap_socket(server, server_side=True)
        # Elsewhere than on Linux shutdown() doesn't wake accept().
        server.settimeout(0.05)
        self.run(server, partial(self.accept, server, report))
        return [server.getsockname()]

    def connect(self, host, port, report, *, source=None):
        source_address = None if source is None else (source, 0)
        with create_connection((host, port), 20, source_address) as connection:
            report(**self.names(connection))
            connection.sendall(b"request")
            connection.recv(7, socket.MSG_WAITALL)

    def bind(self, host, port, report, *, peer=None):
        sock = TranslatingSocket(type=socket.SOCK_DGRAM)
        sock.bind((host, port))
        if peer is not None:
            sock.connect(peer)
            report(peer=sock.getpeername)
        sock.settimeout(0.05)
        self.run(sock, partial(self.answer, sock, report))
        return sock.getsockname()

    def send(self, data, address, *, source=None):
        if address is None:
            self.sockets[-1].send(data)
        else:
            self.sockets[-1].send_datagram(data, address, source)

    def join(self, group, interface):
        # The socket module has no call of its own for groups.
        plain, index = unmap(group), struct.pack("=I", socket.if_nametoindex(interface))
        if ":" in plain:
            option = socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP
            value = socket.inet_pton(socket.AF_INET6, plain) + index
        else:
            option = socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP
            value = socket.inet_aton(plain) + bytes(4) + index
        self.sockets[-1].setsockopt(*option, value)

    def close(self):
        self.closing = True
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        for sock in self.sockets:
            sock.close()
        self.sockets, self.threads, self.closing = [], [], False

    def run(self, sock, function):
        self.sockets.append(sock)
        self.threads.append(Thread(target=function))
        self.threads[-1].start()

    def names(self, connection):
        return {
            "peer": connection.getpeername,
            "local": connection.getsockname,
            "handle_peer": connection.getpeername,
            "handle_local": connection.getsockname,
            "texts": repr(connection),
        }

    def accept(self, server, report):
        while not self.closing:
            with contextlib.suppress(OSError):
                connection, peer = server.accept()
                self.run(connection, partial(self.echo, connection, peer, report))

    def echo(self, connection, peer, report):
        report(accepted=peer, **self.names(connection))
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1000):
                connection.sendall(data)

    def answer(self, sock, report):
        while not self.closing:
            with contextlib.suppress(OSError):
                data, sender, info = sock.receive_datagram(1000)
                report(source=sender, destination=info.destination, interface=info.interface_name)
                sock.sendto(data, sender)
