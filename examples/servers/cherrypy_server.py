import cherrypy
from cherrypy._cpwsgi_server import CPWSGIServer

from dsadapter.sockets.listening import listening_socket


class ReadyServer(CPWSGIServer):
    def bind(self, family, type, proto=0):
        self.socket = listening_socket("::", 8080)
        return self.socket


class Hello:
    @cherrypy.expose
    def index(self):
        return f"hello {cherrypy.request.remote.ip}\n"


cherrypy.server.bind_addr = ("::", 8080)
cherrypy.server.httpserver = ReadyServer()
cherrypy.quickstart(Hello())
