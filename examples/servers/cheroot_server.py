from application import wsgi
from cheroot.wsgi import Server

from dsadapter.sockets.listening import listening_socket


class ReadyServer(Server):
    def bind(self, family, type, proto=0):
        self.socket = listening_socket(*self.bind_addr)
        return self.socket


ReadyServer(("::", 8080), wsgi).safe_start()
