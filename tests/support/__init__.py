"""What several test modules share. Not a test, and not part of the package."""
