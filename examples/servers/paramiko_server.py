from threading import Thread

import paramiko

from dsadapter.sockets.listening import listening_socket

key = paramiko.ECDSAKey.generate()


class Server(paramiko.ServerInterface):
    def __init__(self, address):
        self.address = address

    def get_banner(self):
        return f"hello {self.address[0]}\n", "en"

    def get_allowed_auths(self, username):
        return "none"

    def check_auth_none(self, username):
        return paramiko.AUTH_SUCCESSFUL


def serve(connection):
    transport = paramiko.Transport(connection)
    transport.add_server_key(key)
    try:
        transport.start_server(server=Server(transport.getpeername()))
    except (EOFError, OSError, paramiko.SSHException):
        transport.close()


with listening_socket("::", 8080) as sock:
    while True:
        connection, address = sock.accept()
        Thread(target=serve, args=(connection,), daemon=True).start()
