import asyncio
import logging
import sys

import tornado.web


class Hello(tornado.web.RequestHandler):
    def get(self):
        self.write(f"hello {self.request.remote_ip}\n")


async def main():
    logging.basicConfig(level=logging.INFO)
    tornado.web.Application([("/", Hello)]).listen(int(sys.argv[1]), "::")
    await asyncio.Event().wait()


asyncio.run(main())
