"""Datagrams under AnyIO."""
