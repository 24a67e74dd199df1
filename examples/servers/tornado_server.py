import asyncio
import logging

from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from dsadapter.sockets.listening import listening_socket


class Hello(RequestHandler):
    def get(self):
        server, *_ = self.request.connection.stream.socket.getsockname()
        self.write(f"hello {self.request.remote_ip} from {server}\n")


async def main():
    with listening_socket("::", 8080) as sock:
        sock.setblocking(False)
        HTTPServer(Application([("/", Hello)])).add_socket(sock)
        await asyncio.Event().wait()


logging.basicConfig(level=logging.INFO)
asyncio.run(main())
