"""Socket policy on the standard library's sockets: options, capability, listening sockets."""
