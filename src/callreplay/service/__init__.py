"""Room `service`."""
