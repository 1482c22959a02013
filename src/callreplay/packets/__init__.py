"""Room `packets`."""
