import uvicorn
from uvicorn.supervisors import ChangeReload

from dsadapter.sockets.listening import listening_socket

if __name__ == "__main__":
    config = uvicorn.Config("application:asgi", loop="asyncio", lifespan="off", reload=True)
    server = uvicorn.Server(config)
    with listening_socket("::", 8080) as sock:
        ChangeReload(config, target=server.run, sockets=[sock]).run()
