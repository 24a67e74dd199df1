"""Datagrams below the frameworks: a port that a framework only waits for."""

from dsadapter.datagrams.failures import DestinationError, PacketTooLongError
from dsadapter.datagrams.port import DatagramPort
from dsadapter.packetinfo.receiving import Counters

__all__ = ["Counters", "DatagramPort", "DestinationError", "PacketTooLongError"]
