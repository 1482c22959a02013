"""Questions that a capture leaves open, weighed: the rivals, what speaks for each, and the verdict with its reasons.

A rule that acts on one likeness (equal payloads, one socket named twice) is wrong as soon as something else looks the
same. Whoever decides gathers what speaks for every reading and lets `weigh` choose; the `Verdict` goes into the report.

>>> verdict = weigh(
...     "are these streams copies of one?",
...     "0x00000001 and 0x00000002",
...     Rival("copies").says(2, "95 % of the payloads are the same"),
...     Rival("two calls").says(3, "two dialogs announced them").says(1, "4.2 s lie between them"),
... )
>>> verdict.answer, verdict.reasons
('two calls', ('two dialogs announced them', '4.2 s lie between them'))
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from callreplay.deferred import dataclass

__all__ = ["Rival", "Verdict", "weigh"]


@dataclass(slots=True)
class Rival:
    """One reading of what was captured, and what speaks for it: (weight, in words)."""

    name: str
    reasons: list[tuple[int, str]] = field(default_factory=list)

    def says(self, weight: int, text: str, *, when: bool = True) -> Rival:
        """Add a reason (``when`` it holds); returns the rival, so that reasons can be chained."""
        if when:
            self.reasons.append((weight, text))
        return self

    @property
    def weight(self) -> int:
        """All its reasons together."""
        return sum(weight for weight, _ in self.reasons)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided of what, why, and what spoke for the other readings."""

    question: str
    about: str
    answer: str
    reasons: tuple[str, ...] = ()
    against: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def report(self) -> dict[str, Any]:
        """As plain JSON data."""
        return {
            "question": self.question,
            "about": self.about,
            "answer": self.answer,
            "reasons": list(self.reasons),
            "rivals": [{"answer": name, "reasons": list(reasons)} for name, reasons in self.against],
        }

    def __str__(self) -> str:
        """One line."""
        return f"{self.question} {self.about}: {self.answer} ({'; '.join(self.reasons) or 'nothing speaks against it'})"


def weigh(question: str, about: str, *rivals: Rival) -> Verdict:
    """The verdict for the rival with most weight; of equal ones the first, so name the harmless reading first."""
    best = max(rivals, key=lambda rival: rival.weight)
    return Verdict(
        question,
        about,
        best.name,
        tuple(text for _, text in best.reasons),
        tuple(
            (rival.name, tuple(text for _, text in rival.reasons)) for rival in rivals if rival is not best
        ),
    )
