"""Room `calls`."""
