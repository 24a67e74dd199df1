import logging
import sys

from aiohttp import web


async def hello(request):
    name = request.transport.get_extra_info("sockname")[0]
    return web.Response(text=f"hello {request.remote} from {name}\n")


logging.basicConfig(level=logging.INFO)
app = web.Application()
app.add_routes([web.get("/", hello)])
port, *pair = sys.argv[1:]
web.run_app(app, host=None if pair else "::", port=int(port))
