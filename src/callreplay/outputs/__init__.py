"""PCM to a file: formats, their options, and the pictures."""
