from flask import Flask, request

app = Flask(__name__)


@app.get("/")
def hello():
    return f"hello {request.remote_addr}\n"
