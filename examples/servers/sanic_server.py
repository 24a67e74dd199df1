from sanic import Sanic
from sanic.response import text

from dsadapter.sockets.listening import listening_socket

app = Sanic("hello")
app.config.USE_UVLOOP = False


@app.get("/")
async def hello(request):
    return text(f"hello {request.ip}\n")


if __name__ == "__main__":
    with listening_socket("::", 8080) as sock:
        app.run(sock=sock, single_process=True)
