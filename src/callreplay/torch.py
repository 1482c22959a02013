"""Calls as PyTorch takes them (extra ``[torch]``): decoded in the data loader's workers, in lanes, nothing stored.

``CallPieces`` is a map-style data set, whose items are pieces of a grid that is known beforehand; ``CallStream`` an
iterable-style one, whose items are the talk, cut in pauses (``audio.segments``). Both are pickled by their captures'
names, so workers open them for themselves, however they are started.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import numpy as np

from callreplay.audio.mix import RenderGroup
from callreplay.audio.segments import Segment, Segmenter
from callreplay.capture import Call, open_capture
from callreplay.errors import ArgumentError, UnsupportedError

try:
    import torch
    from torch.utils.data import Dataset, IterableDataset, get_worker_info
except ImportError as error:
    raise UnsupportedError("callreplay.torch needs PyTorch: pip install 'callreplay[torch]'") from error

__all__ = ["CallPieces", "CallStream"]

Speakers = Literal["apart", "stereo", "mono", "caller", "called"]
Source = str | os.PathLike[str]

_OPEN: Final = 8  # captures that a map-style data set keeps open in a process
_LANES: Final = 32  # calls that are decoded side by side


def _tensor(pcm: Any) -> torch.Tensor:
    """Float32, channels first: what torchaudio and torchcodec have."""
    sound = torch.frombuffer(bytearray(np.ascontiguousarray(pcm, "<f4")), dtype=torch.float32)
    return sound.reshape(1, -1) if pcm.ndim == 1 else sound.reshape(pcm.shape).T.contiguous()


def _floats(pcm: Any) -> Any:
    return pcm.astype(np.float32) / 32768


class CallPieces(Dataset[dict[str, Any]]):  # type: ignore[misc,unused-ignore]
    """Every ``seconds`` of every call, by number: for samplers, shuffling, several epochs.

    Reads each capture once for its calls' lengths. An item is a dictionary: ``audio`` (float32, ``(channels, n)``, the
    last one of a call filled up with silence where ``pad``), ``rate_hz``, ``capture``, ``call``, ``start_s``,
    ``frames`` (that are not silence filled up). ``channels``: ``stereo``, ``mono``, ``caller`` or ``called``. Only the
    piece is decoded.
    """

    def __init__(
        self,
        captures: Sequence[Source],
        seconds: float = 10.0,
        *,
        rate: int = 16000,
        channels: Literal["stereo", "mono", "caller", "called"] = "stereo",
        pad: bool = True,
    ) -> None:
        if not 0 < seconds <= 3600:
            raise ArgumentError(f"seconds must be above 0 and at most 3600, not {seconds}")
        self._captures = [os.fspath(capture) for capture in captures]
        self._seconds, self._rate, self._channels, self._pad = seconds, rate, channels, pad
        self._pieces: list[tuple[int, int, int]] = []  # capture, call, piece of the call
        for number, path in enumerate(self._captures):
            with open_capture(path) as capture:
                for at, call in enumerate(capture):
                    count = -(-round(call.duration_s * rate) // self._frames) if not call.encrypted else 0
                    self._pieces += [(number, at, piece) for piece in range(count)]
        self._open: OrderedDict[int, list[Call]] = OrderedDict()

    @property
    def _frames(self) -> int:
        return round(self._seconds * self._rate)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def __len__(self) -> int:
        return len(self._pieces)

    def _calls(self, number: int) -> list[Call]:
        if number not in self._open:
            with open_capture(self._captures[number]) as capture:
                self._open[number] = list(capture)
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The piece with this number; IndexError where there is none."""
        number, at, piece = self._pieces[index]
        call = self._calls(number)[at]
        start = piece * self._frames / self._rate
        pcm = call.mix(self._channels, self._rate, start, start + self._seconds, dtype="float32")
        audio = _tensor(pcm)
        if self._pad and audio.shape[1] < self._frames:
            audio = torch.nn.functional.pad(audio, (0, self._frames - audio.shape[1]))
        return {
            "audio": audio,
            "rate_hz": self._rate,
            "capture": self._captures[number],
            "call": call.number,
            "start_s": start,
            "frames": len(pcm),
        }


class CallStream(IterableDataset[dict[str, Any]]):  # type: ignore[misc,unused-ignore]
    """The talk of every call in pieces of at most ``seconds``, as the calls are decoded: many at once, in lanes.

    Captures are shared out over the workers of a data loader, and over the processes of distributed training where
    ``torch.distributed`` runs. ``channels``: ``apart`` (each speaker for itself), or as ``Call.segments`` has them. An
    item is a dictionary: ``audio`` (float32, ``(channels, n)``), ``rate_hz``, ``capture``, ``call``, ``speaker``,
    ``start_s``, ``talk`` (of each channel, a list of start and end in seconds). A capture that cannot be read is passed
    over, and told in ``errors`` of the data set (of the worker that met it).
    """

    def __init__(
        self,
        captures: Sequence[Source],
        seconds: float = 30.0,
        *,
        rate: int = 16000,
        channels: Speakers = "apart",
    ) -> None:
        Segmenter(rate, 1, seconds)  # says now what is wrong
        if channels not in ("apart", "stereo", "mono", "caller", "called"):
            raise ArgumentError(f"channels must be apart, stereo, mono, caller or called, not {channels!r}")
        self._captures = [os.fspath(capture) for capture in captures]
        self._seconds, self._rate, self._channels = seconds, rate, channels
        self.errors: list[tuple[str, str]] = []

    def _mine(self) -> list[str]:
        info, rank, world = get_worker_info(), 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        workers, worker = (info.num_workers, info.id) if info else (1, 0)
        return self._captures[rank * workers + worker :: world * workers]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        calls = self._calls(self._mine())
        group = RenderGroup()
        under_way: dict[int, tuple[str, Call, Segmenter]] = {}
        done = False
        while under_way or not done:
            while not done and len(under_way) < _LANES:
                found = next(calls, None)
                if found is None:
                    done = True
                    break
                under_way[self._add(group, found[1])] = (*found, self._segmenter(found[1]))
            if not under_way:
                return
            read = group.read()
            assert read is not None
            number, block, last = read
            path, call, segmenter = under_way[number]
            pieces = segmenter.write(block)
            if last:
                del under_way[number]
                pieces += segmenter.finish()
            yield from (self._item(path, call, piece) for piece in pieces)

    def _calls(self, paths: list[str]) -> Iterator[tuple[str, Call]]:
        for path in paths:
            try:
                with open_capture(path) as capture:
                    calls = [call for call in capture if not call.encrypted]
            except (OSError, ValueError) as error:
                self.errors.append((path, str(error)))
                continue
            yield from ((path, call) for call in calls)

    def _add(self, group: RenderGroup, call: Call) -> int:
        start, stop = call.bounds
        return group.add(
            [leg.columns for leg in call.legs],
            self._rate,
            "stereo" if self._channels == "apart" else self._channels,
            events=[leg.events for leg in call.legs],
            external=[leg.external() for leg in call.legs],
            origin_ns=start,
            stop_ns=stop,
        )

    def _segmenter(self, call: Call) -> Segmenter:
        both = self._channels in ("apart", "stereo")
        return Segmenter(
            self._rate,
            2 if both else 1,
            self._seconds,
            apart=self._channels != "stereo",
            heard_hz=call.sample_rate_hz,
        )

    def _item(self, path: str, call: Call, piece: Segment) -> dict[str, Any]:
        speaker = self._channels if self._channels in ("caller", "called") else ""
        if self._channels == "apart" and piece.channel is not None:
            speaker = ("caller", "called")[piece.channel]
        return {
            "audio": _tensor(_floats(piece.pcm)),
            "rate_hz": self._rate,
            "capture": path,
            "call": call.number,
            "speaker": speaker,
            "start_s": piece.start_s,
            "talk": [[(talk.start_s, talk.end_s) for talk in of] for of in piece.talk],
        }
