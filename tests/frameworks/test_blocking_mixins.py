"""``wsgiref`` and ``xmlrpc.server`` made dual-stack, with threads, with forks, with TLS."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socketserver
import ssl
import threading
import wsgiref.simple_server
import xmlrpc.client
import xmlrpc.server
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Files
from support.windows import WINDOWS

from dsadapter.frameworks.blocking import DualStackMixin

PATIENCE = 30
pytestmark = [
    pytest.mark.parametrize("host", ["127.0.0.1", "::1"]),
    pytest.mark.parametrize(
        "mixed",
        [None, socketserver.ThreadingMixIn, *([] if WINDOWS else [socketserver.ForkingMixIn])],
    ),
    pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning"),
]
TLS = pytest.mark.parametrize("tls", [False, True])


def dual_stack(mixed: Any, server: Any) -> Any:
    bases = (DualStackMixin, server) if mixed is None else (DualStackMixin, mixed, server)
    return type("Server", bases, {})


def trusting(files: Files) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.root)
    context.check_hostname = False
    return context


@contextlib.contextmanager
def serving(server: Any, tls: bool, folder: Path) -> Iterator[tuple[int, Any]]:
    """The port, and what a client needs for TLS."""
    trust = None
    if tls:
        files = Files.written_to(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.full_chain, files.key)
        context.sslsocket_class = server.socket.sslsocket_class
        server.socket = context.wrap_socket(server.socket, server_side=True)
        trust = trusting(files)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1], trust
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@TLS
def test_wsgiref(host: str, tls: bool, mixed: Any, tmp_path: Path) -> None:
    def application(environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["REMOTE_ADDR"].encode()]

    class Handler(wsgiref.simple_server.WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    kind = dual_stack(mixed, wsgiref.simple_server.WSGIServer)
    server = kind(("", 0), Handler)
    server.set_app(application)
    with serving(server, tls, tmp_path) as (port, trust):
        client = (
            http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=trust)
            if tls
            else http.client.HTTPConnection(host, port, timeout=PATIENCE)
        )
        client.request("GET", "/")
        assert client.getresponse().read().decode() == host
        client.close()


@TLS
def test_xmlrpc(host: str, tls: bool, mixed: Any, tmp_path: Path) -> None:
    class Handler(xmlrpc.server.SimpleXMLRPCRequestHandler):
        def _dispatch(self, method: str, params: Any) -> Any:
            return [method, self.client_address[0], self.connection.getpeername()[0]]

    server = dual_stack(mixed, xmlrpc.server.SimpleXMLRPCServer)(
        ("", 0), Handler, logRequests=False
    )
    with serving(server, tls, tmp_path) as (port, trust):
        where = f"[{host}]" if ":" in host else host
        url = f"http{'s' if tls else ''}://{where}:{port}"
        with xmlrpc.client.ServerProxy(url, context=trust) as proxy:
            assert proxy.who() == ["who", host, host]


# New in Python 3.14.
if hasattr(http.server, "HTTPSServer"):

    def test_a_server_that_makes_its_tls_context_itself(
        host: str, mixed: Any, tmp_path: Path
    ) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(
                    repr((self.client_address, self.connection.getpeername())).encode()
                )

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        files = Files.written_to(tmp_path)
        kind = dual_stack(mixed, http.server.HTTPSServer)  # type: ignore[attr-defined,unused-ignore]
        server = kind(("", 0), Handler, certfile=files.full_chain, keyfile=files.key)
        with serving(server, False, tmp_path) as (port, _):
            trust = trusting(files)
            client = http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=trust)
            client.connect()
            name = client.sock.getsockname()
            client.request("GET", "/")
            assert client.getresponse().read().decode() == repr((name, name))
            client.close()
