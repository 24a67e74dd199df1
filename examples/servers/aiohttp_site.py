import asyncio
import logging

from aiohttp import web

from dsadapter.sockets.listening import listening_socket


async def hello(request):
    server, *_ = request.transport.get_extra_info("sockname")
    return web.Response(text=f"hello {request.remote} from {server}\n")


async def main():
    application = web.Application()
    application.router.add_get("/", hello)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.SockSite(runner, listening_socket("::", 8080)).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


logging.basicConfig(level=logging.INFO)
asyncio.run(main())
