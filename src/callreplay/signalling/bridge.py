"""A phone's built-in bridge: it sends what it says and what it hears to a recorder, in two sessions of their own.

Cisco's call manager sets them up, and says in the From URI which is which: ``x-nearend`` or ``x-farend``, the call
(``x-refci``) and the two parties (``x-nearendaddr``, ``x-farendaddr``).
"""

from __future__ import annotations

from callreplay.deferred import dataclass
from callreplay.evidence import Rival, weigh
from callreplay.model import CallDescription
from callreplay.signalling import sip

__all__ = ["Bridge", "name_bridged", "read_bridge"]


@dataclass(frozen=True, slots=True)
class Bridge:
    """One session of a built-in bridge: whether it carries the far end, and the numbers of both ends."""

    call: str
    far: bool
    near_number: str
    far_number: str

    @property
    def key(self) -> tuple[str, ...]:
        """The same in both sessions of a call."""
        return (self.call,) if self.call else (self.near_number, self.far_number)


def read_bridge(message: sip.SipMessage) -> Bridge | None:
    """What an INVITE's From says of a built-in bridge; None where it is none."""
    contact = message.header("contact")
    if "x-" not in (message.header("from") + contact).lower():
        return None
    for source in (message.sender, sip.parse_name_address(contact)):
        told = {**source.parameters, **(source.uri.parameters if source.uri else {})}
        if "x-nearend" in told or "x-farend" in told:
            far = "x-farend" in told and "x-nearend" not in told
            return Bridge(
                told.get("x-refci", ""), far, told.get("x-nearendaddr", ""), told.get("x-farendaddr", "")
            )
    return None


def name_bridged(call: CallDescription, bridge: Bridge) -> None:
    """Name the parties of the call that is recorded, and put each end's voice on its side.

    The phone sends both sessions; what the far end says is sent in the called party's stead. Nothing tells which of
    the two had called.
    """
    if bridge.far:
        call.swap_sides()
    call.caller_number = bridge.near_number or call.caller_number
    call.called_number = bridge.far_number or call.called_number
    call.caller_name = call.called_name = ""
    call.called_numbers = [call.called_number] if call.called_number else []
    call.sides_inferred = True
    end = "far" if bridge.far else "near"
    rival = Rival("a recorder").says(
        0, f"From says that the phone's built-in bridge sends the {end} end's voice"
    )
    call.verdicts.append(weigh("who is called here?", f"dialog {call.call_id}", rival))
