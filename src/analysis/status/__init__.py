"""How a sweep stands: while it runs, and when it has ended."""
