import asyncio

import asyncssh

from dsadapter.sockets.listening import listening_socket


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return False


def hello(process):
    process.stdout.write(f"hello {process.get_extra_info('peername')[0]}\n")
    process.exit(0)


async def main():
    server = await asyncssh.listen(
        sock=listening_socket("::", 8080),
        server_factory=Server,
        process_factory=hello,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
    )
    await server.wait_closed()


asyncio.run(main())
