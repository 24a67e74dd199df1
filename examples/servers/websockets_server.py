import asyncio

from websockets.asyncio.server import serve

from dsadapter.sockets.listening import listening_socket


async def hello(connection):
    await connection.send(f"hello {connection.remote_address[0]}")


async def main():
    async with serve(hello, sock=listening_socket("::", 8080)) as server:
        await server.serve_forever()


asyncio.run(main())
