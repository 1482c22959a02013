"""Signalling that is in a capture and was not read: which connections, how many packets, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from callreplay.deferred import dataclass
from callreplay.model import Flow
from callreplay.packets.names import UNREAD

__all__ = ["DTLS", "TLS", "Unread", "gather_unread", "sentences"]

TLS, DTLS = 1, 7
_TLS_PORTS: Final = frozenset((5061, 5062, 5063, 5065, 5067, 5081, 5082, 2443, 1300, 7443, 8089))
"""Where SIP (5061 by RFC 3261, and what servers take beside it), Skinny, H.323 and SIP over WebSockets listen."""
_WEB_PORTS: Final = frozenset((443, 8443))
_SHOWN: Final = 8
_REMEDIES: Final = {
    "TLS": "it is read with the secrets of its connections: --keylog, as SSLKEYLOGFILE has them",
    "DTLS": "it is not read",
    "H.323": "H.323 is not read",
    "MGCP": "MGCP is not read",
    "H.248": "H.248 is not read",
    "IAX2": "IAX2 is not read, nor the media inside it",
    "SCTP": "what is in these associations is not SIP in clear",
}


@dataclass(frozen=True, slots=True)
class Unread:
    """A connection whose signalling was not read; ``packets`` of both directions. ``reason`` may be ''.

    ``sure``: it is signalling by its port or its octets; else it may be.
    """

    protocol: str
    client: str
    client_port: int
    server: str
    server_port: int
    packets: int
    reason: str = ""
    sure: bool = True

    def __str__(self) -> str:
        why = f", {self.reason}" if self.reason else ""
        ends = f"{_end(self.client, self.client_port)} > {_end(self.server, self.server_port)}"
        return f"{ends} ({self.packets} packets{why})"


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def gather_unread(found: Iterable[tuple[Flow, int, int]], reasons: dict[Flow, str]) -> list[Unread]:
    """The connections behind (flow, UnreadKind, packets), both directions of each as one."""
    connections: dict[tuple[str, frozenset[tuple[str, int]]], list[tuple[Flow, int]]] = {}
    for flow, kind, packets in found:
        connections.setdefault((UNREAD[kind], _ends(flow)), []).append((flow, packets))
    listed = []
    for (protocol, _), flows in connections.items():
        first = flows[0][0]
        client, server = (first.source, first.source_port), (first.destination, first.destination_port)
        if _is_server(client[1]) > _is_server(server[1]) or (
            _is_server(client[1]) == _is_server(server[1]) and client[1] < server[1]
        ):
            client, server = server, client
        reason = next((reasons[flow] for flow, _ in flows if flow in reasons), "")
        sure = protocol != UNREAD[TLS] or server[1] in _TLS_PORTS
        packets = sum(count for _, count in flows)
        listed.append(Unread(protocol, *client, *server, packets, reason, sure))
    return listed


def _is_server(port: int) -> int:
    return 2 if port in _TLS_PORTS else 1 if port in _WEB_PORTS else 0


def _ends(flow: Flow) -> frozenset[tuple[str, int]]:
    return frozenset(((flow.source, flow.source_port), (flow.destination, flow.destination_port)))


def sentences(listed: Sequence[Unread], unexplained: bool) -> list[str]:
    """A warning for each protocol.

    TLS that need not be signalling is named where there is media that no signalling explains (``unexplained``).
    """
    said = []
    for protocol in dict.fromkeys(one.protocol for one in listed):
        sure = [one for one in listed if one.protocol == protocol and one.sure]
        perhaps = [one for one in listed if one.protocol == protocol and not one.sure]
        remedy = _REMEDIES.get(protocol, "it is not read")
        if sure:
            said.append(f"signalling over {protocol} was not read: {_named(sure)}; {remedy}")
        if perhaps and unexplained and not sure:
            said.append(f"{protocol} connections, which may carry signalling: {_named(perhaps)}; {remedy}")
    return said


def _named(listed: Sequence[Unread]) -> str:
    text = ", ".join(str(one) for one in listed[:_SHOWN])
    more = len(listed) - _SHOWN
    return f"{text} and {more} more" if more > 0 else text
