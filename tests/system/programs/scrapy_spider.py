"""Fetch URLs with Scrapy, whose agents are given our endpoint factory.

    scrapy_spider.py URL...

Each is printed with its status. Those of ``https`` go through a proxy of this process.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import scrapy
from scrapy.core.downloader.handlers import http11
from scrapy.crawler import CrawlerProcess
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Factory, Protocol

from dsadapter.frameworks.twisted import (
    DualStackAgentEndpointFactory,
    DualStackClientEndpoint,
    DualStackServerEndpoint,
)


class Far(Protocol):
    """The proxy's connection to the server."""

    def __init__(self, near: Near) -> None:
        self.near = near

    def connectionMade(self) -> None:
        self.near.far = self
        self.near.transport.write(b"HTTP/1.1 200 Connected\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.near.transport.write(data)


class Near(Protocol):
    """A client's connection to the proxy."""

    far: Far | None = None

    def dataReceived(self, data: bytes) -> None:
        if self.far is not None:
            self.far.transport.write(data)
            return
        from twisted.internet import reactor

        host, _, port = data.split()[1].decode().rpartition(":")
        connectProtocol(DualStackClientEndpoint(reactor, host, int(port)), Far(self))


class DualStackScrapyAgent(http11._ScrapyAgent):
    """Scrapy has no setting for what its agents connect by."""

    def _get_agent(self, request: scrapy.Request, timeout: float) -> Any:
        agent = super()._get_agent(request, timeout)
        options: Any = {"timeout": timeout, "bindAddress": agent._endpointFactory._bindAddress}
        agent._endpointFactory = DualStackAgentEndpointFactory(
            agent._reactor, self._contextFactory, **options
        )
        return agent


class Spider(scrapy.Spider):
    name = "spider"

    async def start(self) -> AsyncIterator[scrapy.Request]:
        from twisted.internet import reactor

        proxy = await DualStackServerEndpoint(reactor, 0).listen(Factory.forProtocol(Near))
        for url in sys.argv[1:]:
            meta = {"proxy": f"http://127.0.0.1:{proxy.getHost().port}"}
            yield scrapy.Request(url, meta=meta if url.startswith("https") else {})

    def parse(self, response: Any) -> None:
        print("fetched", response.url, response.status, response.ip_address, flush=True)


http11._ScrapyAgent = DualStackScrapyAgent
process = CrawlerProcess(
    {
        "TELNETCONSOLE_ENABLED": False,
        "RETRY_ENABLED": False,
        "DOWNLOAD_BIND_ADDRESS": None,
        "LOG_LEVEL": "WARNING",
    }
)
process.crawl(Spider)
process.start()
