from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable

from callreplay import signalling
from callreplay.model import Flow, Message
from callreplay.signalling import skinny

MANAGER, PHONE, OTHER, GATEWAY = "10.0.0.100", "10.0.0.1", "10.0.0.2", "10.9.9.9"
MS = 1_000_000


def ip(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


class Wire:
    """Writes frames of an old phone (header version 0: four-octet addresses, fixed CallInfo)."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, message_id: int, body: bytes, phone: str = PHONE, up: bool = False) -> None:
        ends = (phone, 50000, MANAGER, 2000) if up else (MANAGER, 2000, phone, 50000)
        payload = struct.pack("<III", len(body) + 4, 0, message_id) + body
        self.messages.append(Message("skinny", (1 + len(self.messages)) * MS, Flow(*ends), "tcp", payload))

    def state(self, state: int, reference: int, phone: str = PHONE) -> None:
        self.send(skinny.CALL_STATE, struct.pack("<III", state, 1, reference), phone)

    def info(self, reference: int, call_type: int, phone: str = PHONE) -> None:
        body = struct.pack(
            "<40s24s40s24sIII", b"Ann", b"100", "Zoë".encode("latin-1"), b"200", 1, reference, call_type
        )
        self.send(skinny.CALL_INFO, body + bytes(200), phone)

    def media(
        self, reference: int, phone: str, port: int, towards: tuple[str, int], capability: int = 11
    ) -> None:
        passed = reference + 1000
        codec = struct.pack("<IIIIIII", reference, passed, 20, capability, 0, 0, reference)
        self.send(skinny.OPEN_RECEIVE_CHANNEL, codec, phone)
        ack = struct.pack("<I", 0) + ip(phone) + struct.pack("<III", port, passed, reference)
        self.send(skinny.OPEN_RECEIVE_CHANNEL_ACK, ack, phone, up=True)
        start = struct.pack("<II", reference, passed) + ip(towards[0])
        start += struct.pack("<IIIIIHHII", towards[1], 20, capability, 184, 0, 0, 0, 0, reference)
        self.send(skinny.START_MEDIA, start, phone)


def test_old_phones_on_one_manager_make_one_call() -> None:
    wire = Wire()
    wire.state(1, 11)
    wire.info(11, 2)
    wire.state(4, 12, OTHER)
    wire.info(12, 1, OTHER)
    wire.state(5, 11)
    wire.media(11, PHONE, 4000, (OTHER, 5000))
    wire.media(12, OTHER, 5000, (PHONE, 4000))
    wire.send(skinny.CLOSE_RECEIVE_CHANNEL, struct.pack("<III", 11, 1011, 11))
    wire.state(2, 11)
    wire.state(2, 12, OTHER)
    (call,) = signalling.describe(wire.messages)
    assert (call.call_id, call.related, call.status) == ("11", ["12"], "answered")
    assert (call.caller_number, call.caller_name, call.called_number, call.called_name) == (
        "100",
        "Ann",
        "200",
        "Zoë",
    )
    assert (call.caller_address, call.called_address) == (PHONE, OTHER)
    assert (call.start_ns, call.answer_ns, call.end_ns) == (MS, 5 * MS, 14 * MS)
    assert [(row.side, row.address, row.port, row.direction) for row in call.media] == [
        ("caller", PHONE, 4000, "sendrecv"),
        ("called", OTHER, 5000, "sendrecv"),
        ("caller", PHONE, 4000, "inactive"),
    ]
    assert str(call.media[0].payload_types[18]) == "G729/8000"


def test_call_through_a_gateway_that_is_not_captured() -> None:
    wire = Wire()
    wire.info(11, 1)
    wire.media(11, PHONE, 4000, (GATEWAY, 30000), capability=6)
    (call,) = signalling.describe(wire.messages)
    assert (call.caller_number, call.called_number, call.called_address) == ("100", "200", PHONE)
    assert [(row.side, row.address, row.port) for row in call.media] == [
        ("called", PHONE, 4000),
        ("caller", GATEWAY, 30000),
    ]
    assert call.media[0].payload_types[9].sample_rate_hz == 16000


def test_call_that_nobody_answered() -> None:
    wire = Wire()
    wire.state(1, 11)
    wire.info(11, 2)
    wire.state(6, 11)
    wire.state(2, 11)
    (call,) = signalling.describe(wire.messages)
    assert (call.status, call.media, call.end_ns) == ("failed busy", [], 4 * MS)


def test_short_frames_are_counted() -> None:
    faults: Counter[str] = Counter()
    assert skinny.parse(b"\x04\x00", faults) is None
    assert skinny.parse(struct.pack("<III", 2, 0, 1), faults) is None
    frame = skinny.parse(struct.pack("<III", 400, 20, skinny.CALL_INFO_V2) + b"abc", faults)
    assert frame is not None
    assert (frame.body, frame.word(0), frame.word(-4)) == (b"abc", 0, 0)
    assert faults == {"skinny: frame too short": 1, "skinny: not a frame": 1, "skinny: frame cut short": 1}


def test_skinny_capture(capture: Callable[[str], list[Message]]) -> None:
    faults: Counter[str] = Counter()
    (call,) = signalling.describe(capture("skinny.pcap"), faults)
    assert (call.call_id, call.related, call.status) == ("19805770", ["19805771"], "answered")
    assert (call.caller_number, call.caller_name) == ("321", "RIX Meeting Room")
    assert (call.called_number, call.called_name) == ("307", "Ervins Gailiss")
    assert (call.caller_address, call.called_address) == ("192.168.195.58", "192.168.195.50")
    assert {(row.side, row.address, row.port) for row in call.media if not row.fork} == {
        ("caller", "192.168.195.58", 32144),
        ("called", "192.168.195.50", 17718),
    }
    # 9395 and 9400 carry what .58 says, 9396 and 9399 what .50 says: the payloads in the capture are the same.
    assert {(row.side, row.port) for row in call.media if row.fork} == {
        ("called", 9395),
        ("called", 9400),
        ("caller", 9396),
        ("caller", 9399),
    }
    assert {row.ptime_ms for row in call.media} == {20.0}
    assert not faults


def test_registration(capture: Callable[[str], list[Message]]) -> None:
    (device,) = skinny.registrations(capture("sccp_hw_conf_register.pcapng"))
    assert (device.device, device.address, device.device_type) == ("NONSECURE_CONF", "172.18.110.58", 0x34)
    assert device.accepted
