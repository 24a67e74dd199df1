import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        here = self.connection.getsockname()[0]
        self.wfile.write(f"hello {self.client_address[0]} from {here}\n".encode())


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6


try:
    Server(("::", int(sys.argv[1])), Hello).serve_forever()
except KeyboardInterrupt:
    pass
