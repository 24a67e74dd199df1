"""Fetch pages with treq, by whichever family answers first: ``fetch.py URL...``."""

import sys

from treq.client import HTTPClient
from twisted.internet.task import react
from twisted.web.client import Agent, HTTPConnectionPool

from dsadapter.frameworks.twisted import DualStackAgentEndpointFactory


async def fetch(reactor, *urls):
    pool = HTTPConnectionPool(reactor)
    factory = DualStackAgentEndpointFactory(reactor, timeout=10)
    client = HTTPClient(Agent.usingEndpointFactory(reactor, factory, pool))
    for url in urls:
        response = await client.get(url)
        print(response.code, url, await response.text())
    await pool.closeCachedConnections()


react(fetch, sys.argv[1:])
