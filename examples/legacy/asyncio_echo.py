"""Answers every line with the client's address: asyncio opens a socket for each host."""

import asyncio
import sys


async def who_am_i(reader, writer):
    host = writer.get_extra_info("peername")[0]
    while await reader.readline():
        writer.write(f"{host}\r\n".encode())
        await writer.drain()
    writer.close()


async def main():
    port = int(sys.argv[1])
    server = await asyncio.start_server(who_am_i, ["0.0.0.0", "::"], port)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
