from gevent import monkey

monkey.patch_all()

from application import wsgi
from gevent import socket
from gevent.pywsgi import WSGIServer

from dsadapter.sockets.listening import listening_socket


class ReadyServer(WSGIServer):
    """gevent makes a socket of its own of each descriptor. Keeping the accepted one beside it lets
    plugins know of the connection; without, WSGIServer itself will do."""

    def __init__(self, sock, *args, **kwargs):
        super().__init__(sock, *args, **kwargs)
        self.accepted = {}

    def do_read(self):
        try:
            accepted, address = self.socket.accept()
        except BlockingIOError:
            return None
        sock = socket.socket(accepted.family, accepted.type, accepted.proto, accepted.fileno())
        self.accepted[sock] = accepted
        return sock, address

    def do_close(self, sock, *args):
        self.accepted.pop(sock).detach()
        super().do_close(sock, *args)


with listening_socket("::", 8080) as sock:
    sock.setblocking(False)
    ReadyServer(sock, wsgi).serve_forever()
