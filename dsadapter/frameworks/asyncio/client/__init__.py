"""Connecting streams under asyncio."""
