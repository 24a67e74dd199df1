"""Answers every line with the client's address: two servers, one in a thread."""

import socket
import socketserver
import sys
import threading


class WhoAmI(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline():
            self.wfile.write(f"{self.client_address[0]}\r\n".encode())


class IPv6Server(socketserver.ThreadingTCPServer):
    """The same for IPv6, beside the server for IPv4."""

    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


port = int(sys.argv[1])
for_ipv4 = socketserver.ThreadingTCPServer(("", port), WhoAmI)
for_ipv6 = IPv6Server(("::", port), WhoAmI)
threading.Thread(target=for_ipv4.serve_forever, daemon=True).start()
print("listening", flush=True)
for_ipv6.serve_forever()
