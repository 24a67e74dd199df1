"""Listening for streams under asyncio."""
