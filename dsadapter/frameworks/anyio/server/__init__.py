"""Listening for streams under AnyIO."""
