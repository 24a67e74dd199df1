from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.get("/", response_class=PlainTextResponse)
async def hello(request: Request) -> str:
    return f"hello {request.client.host} from {request.scope['server'][0]}\n"
