"""Datagrams under Trio."""
