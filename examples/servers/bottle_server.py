from wsgiref.simple_server import WSGIServer

import bottle

from dsadapter.frameworks.blocking import DualStackMixin


class Server(DualStackMixin, WSGIServer):
    pass


@bottle.route("/")
def hello():
    return f"hello {bottle.request.remote_addr}\n"


bottle.run(host="::", port=8080, server_class=Server)
