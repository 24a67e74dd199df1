from gunicorn.sock import TCPSocket

from dsadapter.sockets.listening import listening_socket


class ReadyListener(TCPSocket):
    def __init__(self, conf, log):
        self.conf, self.log = conf, log
        self.sock = self.set_options(listening_socket("::", 8080), bound=True)
        self.FAMILY = self.sock.family


def on_starting(server):
    server.LISTENERS = [ReadyListener(server.cfg, server.log)]


accesslog = "-"
workers = 2
wsgi_app = "application:wsgi"
