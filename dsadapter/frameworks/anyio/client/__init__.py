"""Connecting streams under AnyIO."""
