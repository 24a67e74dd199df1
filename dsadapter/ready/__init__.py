"""The ready socket: a listening socket for any server, which plugins check and watch."""
