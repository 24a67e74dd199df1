"""What finds two-socket servers in a program's source, and makes them dual-stack ones."""
