from application import asgi
from daphne.server import Server

Server(asgi, endpoints=["dualstack:8080"]).run()
