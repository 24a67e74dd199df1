import logging

from aiohttp import web

from dsadapter.sockets.listening import listening_socket


async def hello(request):
    server, *_ = request.transport.get_extra_info("sockname")
    return web.Response(text=f"hello {request.remote} from {server}\n")


logging.basicConfig(level=logging.INFO)
application = web.Application()
application.router.add_get("/", hello)
web.run_app(application, sock=listening_socket("::", 8080))
