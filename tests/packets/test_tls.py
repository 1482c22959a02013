"""TLS with the secrets of a key log: connections made by OpenSSL itself, in every version and suite that it has."""

from __future__ import annotations

import datetime
import re
import ssl
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import captures as c

from callreplay import packets
from callreplay.errors import CaptureError, FormatError, UnsupportedError
from callreplay.packets.keylog import in_capture

T = 1_700_000_000_000_000_000
A, B = "10.1.0.1", "10.2.0.1"
INVITE = c.sip("INVITE sip:200@pbx SIP/2.0", body=c.sdp(A, 10000, {0: "PCMU/8000"}))
OK = c.sip("SIP/2.0 200 OK", to="<sip:200@pbx>;tag=b", body=c.sdp(B, 20000, {0: "PCMU/8000"}))
BYE = c.sip("BYE sip:200@pbx SIP/2.0", cseq="2 BYE")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pbx")])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=9000))
    signed = made.sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("tls") / "pbx.pem"
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(encoding, kind, plain) + signed.public_bytes(encoding))
    return path


class Connection:
    """A connection of two OpenSSL ends in memory, and the octets that went between them."""

    def __init__(
        self, certificate: Path, keylog: Path, *, version: ssl.TLSVersion, ciphers: str = ""
    ) -> None:
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        server.load_cert_chain(certificate)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client.keylog_filename = str(keylog)
        client.minimum_version = client.maximum_version = version
        if ciphers:
            client.set_ciphers(ciphers)
            server.set_ciphers(ciphers)
        self.said: list[tuple[bool, bytes]] = []
        pipes = [ssl.MemoryBIO() for _ in range(4)]
        self._ends = {
            True: client.wrap_bio(pipes[0], pipes[1]),
            False: server.wrap_bio(pipes[2], pipes[3], server_side=True),
        }
        self._pipes = {True: (pipes[1], pipes[2]), False: (pipes[3], pipes[0])}
        done = {True: False, False: False}
        while not all(done.values()):
            for side in (True, False):
                try:
                    self._ends[side].do_handshake()
                    done[side] = True
                except ssl.SSLWantReadError:
                    pass
                self._carry(side)

    def _carry(self, side: bool) -> None:
        out, into = self._pipes[side]
        octets = out.read()
        if octets:
            self.said.append((side, octets))
            into.write(octets)

    def say(self, side: bool, octets: bytes) -> None:
        self._ends[side].write(octets)
        self._carry(side)
        assert self._ends[not side].read(1 << 20)


def _frames(
    said: list[tuple[bool, bytes]],
    *,
    size: int = 500,
    port: int = 5061,
    keep: Callable[[int], bool] = lambda _: True,
) -> list[tuple[int, bytes]]:
    numbers = {True: 77, False: 0xFFFFFF00}  # the server's wraps
    frames: list[tuple[int, bytes]] = []
    for client, octets in said:
        for at in range(0, len(octets), size):
            piece = octets[at : at + size]
            ends = (A, 40000, B, port) if client else (B, port, A, 40000)
            frames.append((T + len(frames) * 10_000_000, c.tcp(*ends, piece, numbers[client])))
            numbers[client] += len(piece)
    return [frame for index, frame in enumerate(frames) if keep(index)]


def _call(certificate: Path, keylog: Path, **options: object) -> list[tuple[bool, bytes]]:
    connection = Connection(certificate, keylog, **options)  # type: ignore[arg-type]
    connection.say(True, INVITE)
    connection.say(False, OK)
    connection.say(True, BYE)
    return connection.said


SUITES = [
    (ssl.TLSVersion.TLSv1_3, ""),
    (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-CCM"),
    (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-CCM8"),
]


@pytest.mark.parametrize(("version", "ciphers"), SUITES, ids=str)
@pytest.mark.parametrize("size", [37, 1400])
def test_sip_over_tls_is_read_with_its_secrets(
    certificate: Path, tmp_path: Path, version: ssl.TLSVersion, ciphers: str, size: int
) -> None:
    keylog = tmp_path / "keys"
    said = _call(certificate, keylog, version=version, ciphers=ciphers)
    capture = packets.open_buffer(c.pcap(_frames(said, size=size)))
    found = packets.scan(capture, keys=packets.read_keylog(keylog))
    assert [message.payload for message in found.messages] == [INVITE, OK, BYE]
    assert not found.unread
    assert not found.warnings
    without = packets.scan(capture)
    assert not without.messages
    assert without.unread[0].packets == len(_frames(said, size=size))


def test_a_pcapng_may_carry_its_secrets(certificate: Path, tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    said = _call(certificate, keylog, version=ssl.TLSVersion.TLSv1_3)
    plain = c.pcapng(_frames(said))
    text = keylog.read_bytes()
    body = struct.pack("<II", 0x544C534B, len(text)) + text + bytes(-len(text) % 4)
    block = struct.pack("<II", 10, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))
    head = struct.unpack_from("<I", plain, 4)[0]
    octets = plain[:head] + block + plain[head:]
    assert in_capture(packets.open_buffer(octets)).strip() == text.strip()
    found = packets.scan(packets.open_buffer(octets))
    assert [message.payload for message in found.messages] == [INVITE, OK, BYE]


def test_websockets_inside_tls(certificate: Path, tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    connection = Connection(certificate, keylog, version=ssl.TLSVersion.TLSv1_3)
    connection.say(True, b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
    connection.say(False, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
    connection.say(True, c.websocket(INVITE, masked=True))
    connection.say(False, c.websocket(OK))
    found = packets.scan(
        packets.open_buffer(c.pcap(_frames(connection.said, port=443))), keys=packets.read_keylog(keylog)
    )
    assert [message.payload for message in found.messages] == [INVITE, OK]


def test_a_gap_of_the_capture_costs_what_it_cut(certificate: Path, tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    connection = Connection(certificate, keylog, version=ssl.TLSVersion.TLSv1_3)
    before = len(_frames(connection.said, size=5000))
    for number in range(5):
        connection.say(True, c.sip("INVITE sip:200@pbx SIP/2.0", call_id=f"{number}@x"))
        connection.say(False, c.sip("SIP/2.0 200 OK", call_id=f"{number}@x"))
    frames = _frames(connection.said, size=5000, keep=lambda index: index != before + 2)  # call 1's INVITE
    found = packets.scan(packets.open_buffer(c.pcap(frames)), keys=packets.read_keylog(keylog))
    heard = {re.search(rb"Call-ID: (\d)", m.payload)[1]: m.payload[:3] for m in found.messages}  # type: ignore[index]
    invites = [m for m in found.messages if m.payload.startswith(b"INVITE")]
    assert len(heard) == 5
    assert len(invites) == 4
    assert found.counters["tcp_gaps"] == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda said, keys: (said[1:], keys), "ClientHello is not in the capture"),
        (lambda said, keys: (said, re.sub(rb" [0-9a-f]{64} ", b" " + b"00" * 32 + b" ", keys)), "no secret"),
        (
            lambda said, keys: ([one for one in said if len(one[1]) and said.index(one) > 2], keys),
            "began before",
        ),
    ],
)
def test_why_a_connection_is_not_read(
    certificate: Path,
    tmp_path: Path,
    change: Callable[..., tuple[list[tuple[bool, bytes]], bytes]],
    reason: str,
) -> None:
    keylog = tmp_path / "keys"
    said, keys = change(_call(certificate, keylog, version=ssl.TLSVersion.TLSv1_3), keylog.read_bytes())
    keylog.write_bytes(keys)
    found = packets.scan(packets.open_buffer(c.pcap(_frames(said))), keys=packets.read_keylog(keylog))
    assert not found.messages
    (unread,) = found.unread
    assert reason in unread.reason
    assert reason in found.warnings[0]


def test_a_suite_that_is_not_read_is_named(certificate: Path, tmp_path: Path) -> None:
    keylog = tmp_path / "keys"
    said = _call(certificate, keylog, version=ssl.TLSVersion.TLSv1_2, ciphers="ECDHE-ECDSA-AES128-SHA256")
    found = packets.scan(packets.open_buffer(c.pcap(_frames(said))), keys=packets.read_keylog(keylog))
    assert "cipher suite 0xC023 is not read" in found.unread[0].reason


def test_a_key_log_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with pytest.raises(CaptureError, match="keys"):
        packets.read_keylog(path)
    path.write_bytes(b"# nothing\nCLIENT_RANDOM 12 34\n")
    with pytest.raises(FormatError, match="no key log"):
        packets.read_keylog(path)


def test_keys_without_the_extra_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callreplay.packets.tls.available", lambda: False)
    keys = packets.KeyLog({("CLIENT_RANDOM", b"\0" * 32): b"\0" * 48})
    with pytest.raises(UnsupportedError, match=r"callreplay\[srtp\]"):
        packets.scan(packets.open_buffer(c.pcap([(T, c.udp(A, 1, B, 2, INVITE))])), keys=keys)
