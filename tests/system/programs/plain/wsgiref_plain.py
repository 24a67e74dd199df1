import socket
import sys
from wsgiref.simple_server import WSGIServer, make_server

from application import wsgi


class Server(WSGIServer):
    address_family = socket.AF_INET6


try:
    make_server("::", int(sys.argv[1]), wsgi, Server).serve_forever()
except KeyboardInterrupt:
    pass
