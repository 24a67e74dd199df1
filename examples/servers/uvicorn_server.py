import uvicorn
from application import asgi

from dsadapter.sockets.listening import listening_socket

config = uvicorn.Config(asgi, loop="asyncio", lifespan="off")
uvicorn.Server(config).run(sockets=[listening_socket("::", 8080)])
