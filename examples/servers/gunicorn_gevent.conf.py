from gevent import monkey
from gunicorn.sock import TCPSocket
from gunicorn.workers.ggevent import GeventWorker

from dsadapter.sockets.listening import listening_socket


class ReadyListener(TCPSocket):
    def __init__(self, conf, log):
        self.conf, self.log = conf, log
        self.sock = self.set_options(listening_socket("::", 8080), bound=True)
        self.FAMILY = self.sock.family

    def setblocking(self, flag):
        """gevent accepts from it directly: it has to stay non-blocking."""


class ReadyWorker(GeventWorker):
    """gunicorn's own makes a socket of its own of the bare descriptor."""

    def patch(self):
        monkey.patch_all()


def on_starting(server):
    server.LISTENERS = [ReadyListener(server.cfg, server.log)]


accesslog = "-"
worker_class = ReadyWorker
workers = 2
wsgi_app = "application:wsgi"
