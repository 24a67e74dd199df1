"""How the conformance suite uses each adapter."""
