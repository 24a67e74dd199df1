"""Datagrams under asyncio."""
