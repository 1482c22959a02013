def finish(descriptor: int, path: str) -> bool:
    """Flush a file that has no name (``O_TMPFILE``) to the disk, name it ``path`` and close it.

    False where something has that name; the file, on the disk by then, stays open. Raises OSError, and leaves it open.
    """
