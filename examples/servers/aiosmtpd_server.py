import asyncio

from aiosmtpd.smtp import SMTP

from dsadapter.sockets.listening import listening_socket


class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802
        session.host_name = hostname
        return [*responses[:-1], f"250 hello {session.peer[0]}"]


async def main():
    loop = asyncio.get_running_loop()
    with listening_socket("::", 8080) as sock:
        server = await loop.create_server(lambda: SMTP(Handler()), sock=sock)
        await server.serve_forever()


asyncio.run(main())
