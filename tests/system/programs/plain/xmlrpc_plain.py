import socket
import sys
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer


class Handler(SimpleXMLRPCRequestHandler):
    def _dispatch(self, method, params):
        return f"hello {self.client_address[0]}"


class Server(SimpleXMLRPCServer):
    address_family = socket.AF_INET6


try:
    Server(("::", int(sys.argv[1])), Handler).serve_forever()
except KeyboardInterrupt:
    pass
