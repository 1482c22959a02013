"""Room `order`."""
