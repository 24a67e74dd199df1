import uvicorn
from application import asgi

from dsadapter.sockets.listening import listening_socket

# uvloop accepts by itself, of the bare descriptor: a plain socket for each family.
ipv6 = listening_socket("::", 8080, family="ipv6")
ipv4 = listening_socket("0.0.0.0", 8080)
config = uvicorn.Config(asgi, loop="uvloop", lifespan="off")
uvicorn.Server(config).run(sockets=[ipv4, ipv6])
