"""From captures to stored calls."""
