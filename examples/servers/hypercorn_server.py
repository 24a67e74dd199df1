import asyncio

from application import asgi
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config, Sockets

from dsadapter.sockets.listening import listening_socket

config = Config()
config.accesslog = "-"
sockets = Sockets([], [listening_socket("::", 8080)], [])
asyncio.run(worker_serve(ASGIWrapper(asgi), config, sockets=sockets))
