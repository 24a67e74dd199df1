from hypercorn.config import Config, Sockets
from hypercorn.run import run

from dsadapter.sockets.listening import listening_socket


class ReadyConfig(Config):
    accesslog = "-"
    application_path = "application:asgi"
    workers = 2

    def create_sockets(self):
        return Sockets([], [listening_socket("::", 8080)], [])


if __name__ == "__main__":
    run(ReadyConfig())
