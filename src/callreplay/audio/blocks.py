"""PCM as a program wants it: all at once or block by block, int16 or float32, in arrays of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from callreplay.errors import ArgumentError

if TYPE_CHECKING:
    from callreplay.audio.mastered import MasteredRenderer
    from callreplay.audio.mix import Renderer

__all__ = ["Blocks", "Float32", "Int16", "check_pcm_type", "read_all"]

Int16 = Literal["int16"] | type[np.int16]
Float32 = Literal["float32"] | type[np.float32]

Readable: TypeAlias = "Renderer | MasteredRenderer"

S = TypeVar("S", np.int16, np.float32)

_TYPES: Final = (np.dtype(np.int16), np.dtype(np.float32))


def check_pcm_type(dtype: Any, out: object = None) -> np.dtype[Any]:
    """``dtype`` as NumPy has it, ``out``'s where there is one; ArgumentError for what PCM is not given in."""
    if isinstance(out, np.ndarray) and (dtype is None or np.dtype(dtype) == out.dtype):
        dtype = out.dtype
    try:
        found = np.dtype("int16" if dtype is None else dtype)
    except TypeError:
        found = None
    if found not in _TYPES:
        raise ArgumentError(f"dtype must be int16 or float32, not {dtype!r}")
    if out is not None and (not isinstance(out, np.ndarray) or out.dtype != found):
        have = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise ArgumentError(f"out: need an array of {found}, not {have}")
    return found


def _shape(renderer: Readable, frames: int) -> tuple[int, ...]:
    return (frames,) if renderer.channels == 1 else (frames, renderer.channels)


def read_all(renderer: Readable, dtype: Any, out: Any) -> NDArray[Any]:
    """Everything that ``renderer`` gives: ``(n,)`` or ``(n, 2)``, in ``out`` where it is long enough, else an error."""
    kind = check_pcm_type(dtype, out)
    if out is None:
        out = np.empty(_shape(renderer, renderer.frames), kind)
    elif len(out) < renderer.frames:
        raise ArgumentError(f"out: {len(out)} frames are too few for {renderer.frames}")
    return out[: renderer.read_into(out)]  # type: ignore[no-any-return]


class Blocks(Generic[S]):
    """Arrays of PCM, one after the other, of ``frames_per_block`` frames each, the last one shorter.

    Put together they are what one shot gives. ``len()`` is how many there are, ``rate_hz``, ``channels`` and ``frames``
    (of all) are known from the start; ``start_s`` is where the next one begins, in seconds after the first frame of
    all. ``for`` reads in the caller's thread, ``async for`` in one of the event loop's executor; memory holds a block.
    With ``out`` every block is a view of that array and good until the next one. To be used by one thread at a time.
    """

    def __init__(
        self, renderer: Readable, seconds: float, dtype: Any = "int16", out: NDArray[S] | None = None
    ) -> None:
        if not 0 < seconds < float("inf"):
            raise ArgumentError(f"seconds must be positive, not {seconds}")
        self._kind: np.dtype[Any] = check_pcm_type(dtype, out)
        self._renderer: Readable = renderer
        self._out: Any = out
        self.rate_hz: Final = renderer.rate_hz
        self.channels: Final = renderer.channels
        self.frames: Final = renderer.frames
        self.frames_per_block: Final = max(1, round(min(seconds, 1e6) * renderer.rate_hz))
        if out is not None and len(out) < min(self.frames_per_block, renderer.frames):
            raise ArgumentError(f"out: {len(out)} frames are too few for blocks of {self.frames_per_block}")

    def __repr__(self) -> str:
        return (
            f"<Blocks: {len(self)} of {self.frames_per_block} frames, {self.channels} channels of {self._kind} "
            f"at {self.rate_hz} Hz>"
        )

    def __len__(self) -> int:
        return (self.frames + self.frames_per_block - 1) // self.frames_per_block

    @property
    def start_s(self) -> float:
        """Where the next block begins, in seconds after the first frame of all."""
        return self._renderer.position / self.rate_hz

    def __iter__(self) -> Iterator[NDArray[S]]:
        return self

    def __next__(self) -> NDArray[S]:
        left = min(self.frames_per_block, self.frames - self._renderer.position)
        if not left:
            raise StopIteration
        out = np.empty(_shape(self._renderer, left), self._kind) if self._out is None else self._out[:left]
        return out[: self._renderer.read_into(out)]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> NDArray[S]:
        import asyncio  # takes megabytes, and few ask for it

        block = await asyncio.to_thread(next, self, None)
        if block is None:
            raise StopAsyncIteration
        return block
