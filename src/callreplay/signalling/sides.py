"""Who called whom in a dialog that was set up before the capture began."""

from __future__ import annotations

from callreplay.evidence import Rival, weigh
from callreplay.model import CallDescription, Side
from callreplay.signalling.dialog import Dialog

__all__ = ["settle_sides"]

_SOON = 3  # an INVITE is number 1 of many senders, 2 with credentials; the next request follows it


def settle_sides(dialog: Dialog) -> None:
    """Swap caller and called where the requests within the dialog say so; the report says that it is inferred.

    So far the sender of the first request seen stands as the caller. RFC 3261 12.2.1.1: each side counts its own
    requests. Who called has counted its INVITE before, so a number 1 is the other side's, and a 2 most likely its own.
    """
    call = dialog.call
    if not call.begun_before:
        return
    sides: tuple[Side, Side] = ("caller", "called")
    rivals = {side: Rival(_party(call, side)) for side in sides}
    for side, other in (sides, sides[::-1]):
        number, beside = dialog.numbers.get(side, 0), dialog.numbers.get(other, 0)
        rivals[other].says(
            4, f"{_party(call, side)} numbers a request 1, and an INVITE came before", when=number == 1
        )
        small = 1 < number <= _SOON and not 1 < beside <= _SOON
        rivals[side].says(2, f"its request numbered {number} follows an INVITE closely", when=small)
        name = call.caller_name if side == "caller" else call.called_name
        other_name = call.called_name if side == "caller" else call.caller_name
        rivals[side].says(
            1, "callers give themselves a name, who is dialled has none", when=bool(name and not other_name)
        )
    verdict = weigh("who called?", f"dialog {call.call_id}", *rivals.values())
    call.verdicts.append(verdict)
    call.sides_inferred = True
    if verdict.answer == rivals["called"].name and verdict.answer != rivals["caller"].name:
        call.swap_sides()


def _party(call: CallDescription, side: Side) -> str:
    number, address = (
        (call.caller_number, call.caller_address)
        if side == "caller"
        else (call.called_number, call.called_address)
    )
    return number or address or side
