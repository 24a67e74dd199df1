"""Reports on standard error with whom this process has connections."""

import sys

from dsadapter import hookimpl


@hookimpl
def dsadapter_listener_opened(listener):
    report(f"{listener.framework} listens, {listener.mode}")


@hookimpl
def dsadapter_connection_made(connection):
    report(f"{connection.direction} connection with {connection.peer[0]}")


@hookimpl
def dsadapter_connection_lost(connection):
    report(f"{connection.peer[0]} has gone")


def report(text):
    print(f"dsadapter-minimal: {text}", file=sys.stderr, flush=True)
