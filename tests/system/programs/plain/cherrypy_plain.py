import sys

import cherrypy


class Hello:
    @cherrypy.expose
    def index(self):
        return f"hello {cherrypy.request.remote.ip}\n"


cherrypy.config.update({"server.socket_host": "::", "server.socket_port": int(sys.argv[1])})
cherrypy.quickstart(Hello())
