"""http.server behind proxies of this machine, which says who its client is: ``proxied_site.py
PORT``."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dsadapter.frameworks.blocking import DualStackMixin


class Server(DualStackMixin, ThreadingHTTPServer):
    proxy_from = ("127.0.0.1", "::1")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"hello {self.client_address[0]}\n".encode())


Server(("", int(sys.argv[1])), Handler).serve_forever(0.05)
