import uvicorn
from uvicorn.supervisors import Multiprocess

from dsadapter.sockets.listening import listening_socket

if __name__ == "__main__":
    config = uvicorn.Config("application:asgi", loop="asyncio", lifespan="off", workers=2)
    with listening_socket("::", 8080) as sock:
        Multiprocess(config, sockets=[sock]).run()
