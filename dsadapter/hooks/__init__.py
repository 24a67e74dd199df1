"""What plugins implement, which plugins there are, and how they are called."""
