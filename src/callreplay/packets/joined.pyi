from collections.abc import Sequence

class Joined:
    """Files mapped side by side, read-only; ``starts`` says where each begins, a page boundary.

    ``files`` are ``(descriptor, octets)``; the descriptors may be closed afterwards. Between the end of a file and the
    next page there are zeros. Raises OSError where the system cannot map them, ValueError for an empty file or none.
    """

    starts: tuple[int, ...]

    def __init__(self, files: Sequence[tuple[int, int]]) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def madvise(self, advice: int) -> None: ...
