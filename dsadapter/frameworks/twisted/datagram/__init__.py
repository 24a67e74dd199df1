"""Datagrams under Twisted."""
