"""Reports on standard error who connects to the dual-stack listeners of this process."""

import sys

from dsadapter import hookimpl


@hookimpl
def dsadapter_listener_opened(listener):
    report(f"{listener.framework} listens, {listener.mode}")


@hookimpl
def dsadapter_connection_made(connection):
    report(f"{connection.peer[0]} has come")


@hookimpl
def dsadapter_connection_lost(connection):
    report(f"{connection.peer[0]} has gone")


def report(text):
    print(f"dsadapter-minimal: {text}", file=sys.stderr, flush=True)
