"""Verdicts: what was asked of the packets, what was found, what speaks for it and which other answers there were."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One question that was decided. ``packets`` and ``seconds`` are what it concerns."""

    question: str
    answer: str
    reasons: tuple[str, ...]
    rivals: tuple[str, ...] = ()
    packets: int = 0
    seconds: float = 0.0
