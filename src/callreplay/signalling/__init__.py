"""Room `signalling`."""
