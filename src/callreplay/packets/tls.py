"""TLS 1.2 and 1.3 records into clear text, with the secrets of a key log; AEAD cipher suites.

Both hellos of a connection must be in the capture. Nothing here raises on bytes from outside: a connection that cannot
be read has its reason in ``Session.reason``.
"""

from __future__ import annotations

import struct
from dataclasses import field
from typing import Any, Final

from callreplay.deferred import dataclass
from callreplay.packets.keylog import KeyLog

__all__ = ["Session", "available"]

_MAX_RECORD: Final = 18432
_MAX_HELD: Final = 1 << 20
_CHANGE_CIPHER, _HANDSHAKE, _DATA = 20, 22, 23
_CLIENT_HELLO, _SERVER_HELLO, _FINISHED, _KEY_UPDATE = 1, 2, 20, 24
_RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The server random that makes a ServerHello a HelloRetryRequest (RFC 8446 section 4.1.3)."""
_MOST_LOST: Final = 64
"""Records that a gap of the capture may have swallowed: so many numbers are tried after one."""

_GCM, _CHACHA, _CCM, _CCM_8 = "AES-GCM", "ChaCha20-Poly1305", "AES-CCM", "AES-CCM-8"
_SUITES: Final[dict[int, tuple[str, int, str]]] = {
    0x1301: (_GCM, 16, "sha256"), 0x1302: (_GCM, 32, "sha384"), 0x1303: (_CHACHA, 32, "sha256"),
    0x1304: (_CCM, 16, "sha256"), 0x1305: (_CCM_8, 16, "sha256"),
    **dict.fromkeys((0x009C, 0x009E, 0x00A0, 0x00A2, 0x00A4, 0x00A8, 0x00AA, 0xC02B, 0xC02D, 0xC02F, 0xC031),
                    (_GCM, 16, "sha256")),
    **dict.fromkeys((0x009D, 0x009F, 0x00A1, 0x00A3, 0x00A5, 0x00A9, 0x00AB, 0xC02C, 0xC02E, 0xC030, 0xC032),
                    (_GCM, 32, "sha384")),
    **dict.fromkeys((0xCCA8, 0xCCA9, 0xCCAA, 0xCCAB, 0xCCAC), (_CHACHA, 32, "sha256")),
    **dict.fromkeys((0xC09C, 0xC09E, 0xC0AC), (_CCM, 16, "sha256")),
    **dict.fromkeys((0xC09D, 0xC09F, 0xC0AD), (_CCM, 32, "sha256")),
    **dict.fromkeys((0xC0A0, 0xC0A2, 0xC0AE), (_CCM_8, 16, "sha256")),
    **dict.fromkeys((0xC0A1, 0xC0A3, 0xC0AF), (_CCM_8, 32, "sha256")),
}  # fmt: skip
"""Cipher, octets of its key, hash (RFC 5288, 5289, 6655, 7251, 7905, 8446)."""


def available() -> bool:
    """Whether the package that decrypts is installed."""
    try:
        import cryptography  # noqa: F401
    except ImportError:
        return False
    return True


def _prf(secret: bytes, label: bytes, seed: bytes, size: int, digest: str) -> bytes:
    """RFC 5246 section 5."""
    import hmac

    seed, found = label + seed, b""
    step = seed
    while len(found) < size:
        step = hmac.digest(secret, step, digest)
        found += hmac.digest(secret, step + seed, digest)
    return found[:size]


def _expand_label(secret: bytes, label: str, size: int, digest: str) -> bytes:
    """HKDF-Expand-Label with no context (RFC 8446 section 7.1)."""
    import hmac

    name = b"tls13 " + label.encode()
    info = struct.pack(">HB", size, len(name)) + name + b"\0"
    found = step = b""
    count = 1
    while len(found) < size:
        step = hmac.digest(secret, step + info + bytes([count]), digest)
        found += step
        count += 1
    return found[:size]


def _aead(name: str, key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers import aead

    if name == _GCM:
        return aead.AESGCM(key)
    if name == _CHACHA:
        return aead.ChaCha20Poly1305(key)
    return aead.AESCCM(key, tag_length=8 if name == _CCM_8 else 16)


@dataclass(slots=True)
class _Side:
    """What one direction of a connection is encrypted with at the moment."""

    cipher: Any = None
    iv: bytes = b""
    secret: bytes = b""  # of TLS 1.3: the next ones are made of it
    sequence: int = 0
    settled: bool = False  # TLS 1.3: past Finished, under the traffic secret
    handshake: bytearray = field(default_factory=bytearray)
    gaps: int = 0


class Session:
    """One connection. ``reason`` says why it cannot be read, where it cannot."""

    def __init__(self, keys: KeyLog) -> None:
        self._keys = keys
        self._client_random = b""
        self._server_random = b""
        self._suite: tuple[str, int, str] | None = None
        self._modern = False  # TLS 1.3
        self._sides = {True: _Side(), False: _Side()}  # by whether the client sends
        self._client: int | None = None  # the flow of the client, or else
        self._server: int | None = None  # that of the server
        self.reason = ""

    def cut(self, flow: int, ready: bytearray, gaps: int = 0) -> bytes:
        """The clear text of the whole records in ``ready``, which they are removed from.

        ``flow`` tells the direction, ``gaps`` how often octets of it were missing so far.
        """
        clear = bytearray()
        at = 0
        while not self.reason and len(ready) - at >= 5:
            kind, size = ready[at], int.from_bytes(ready[at + 3 : at + 5], "big")
            if not 20 <= kind <= 24 or ready[at + 1] != 3 or size > _MAX_RECORD:
                at = self._resynchronised(ready, at)
                continue
            if len(ready) - at < 5 + size:
                break
            if not self._take(
                flow, bytes(ready[at : at + 5]), bytes(ready[at + 5 : at + 5 + size]), gaps, clear
            ):
                break  # the other direction must speak first
            at += 5 + size
        del ready[:at]
        if self.reason or len(ready) > _MAX_HELD:
            self.reason = self.reason or "its ServerHello is missing"
            ready.clear()
        return bytes(clear)

    def _resynchronised(self, ready: bytearray, at: int) -> int:
        """Where the next record may begin after octets that are none, at a gap of the capture say."""
        later = ready.find(b"\x17\x03\x03", at + 1)
        return later if later >= 0 else len(ready)

    def _take(self, flow: int, head: bytes, body: bytes, gaps: int, clear: bytearray) -> bool:
        """Read one record; False where it must wait for the other direction."""
        kind = head[0]
        if self._client is None and self._server is None:
            if kind != _HANDSHAKE or not body:
                self.reason = "it began before the capture"
                return True
            if body[0] == _CLIENT_HELLO:
                self._client = flow
            else:
                self._server = flow
        mine = flow == self._client if self._client is not None else flow != self._server
        side = self._sides[mine]
        if side.cipher is None:
            if kind == _HANDSHAKE:
                side.handshake += body
                self._messages(side)
            elif kind == _CHANGE_CIPHER and not self._modern:
                return self._begin_legacy(mine)
            elif kind == _DATA:
                if not self._begin_modern(mine):
                    return False
                return bool(self.reason) or self._take(flow, head, body, gaps, clear)
            return True
        if kind == _CHANGE_CIPHER:
            return True if self._modern else self._begin_legacy(mine)
        self._encrypted(mine, side, head, body, gaps, clear)
        return True

    def _encrypted(
        self, mine: bool, side: _Side, head: bytes, body: bytes, gaps: int, clear: bytearray
    ) -> None:
        lost = _MOST_LOST if gaps > side.gaps else 1
        for ahead in range(lost):
            found = self._open(side, head, body, side.sequence + ahead)
            if found is not None:
                side.sequence += ahead + 1
                side.gaps = gaps
                break
        else:
            return  # early data that the server refused, or damage
        kind = head[0]
        if self._modern:
            found = found.rstrip(b"\0")
            if not found:
                return
            kind, found = found[-1], found[:-1]
        if kind == _DATA:
            clear += found
        elif kind == _HANDSHAKE:
            side.handshake += found
            self._messages(side, mine)

    def _open(self, side: _Side, head: bytes, body: bytes, sequence: int) -> bytes | None:
        from cryptography.exceptions import InvalidTag

        number = struct.pack(">Q", sequence)
        assert self._suite is not None
        explicit = not self._modern and self._suite[0] != _CHACHA
        if explicit:  # RFC 5288 section 3: the nonce's end stands in the record
            nonce, sealed = side.iv + body[:8], body[8:]
        else:
            nonce, sealed = (
                bytes(a ^ b for a, b in zip(side.iv, bytes(4) + number, strict=True)),
                body,
            )
        tag = 8 if self._suite[0] == _CCM_8 else 16
        if len(sealed) < tag or len(nonce) != 12:
            return None
        about = head if self._modern else number + head[:3] + struct.pack(">H", len(sealed) - tag)
        try:
            return bytes(side.cipher.decrypt(nonce, sealed, about))
        except (InvalidTag, ValueError):
            return None

    def _messages(self, side: _Side, mine: bool | None = None) -> None:
        """Take the whole handshake messages of a direction; ``mine`` where they came encrypted."""
        held = side.handshake
        while len(held) >= 4 and not self.reason:
            size = int.from_bytes(held[1:4], "big")
            if size > _MAX_HELD:
                held.clear()
                return
            if len(held) < 4 + size:
                return
            kind, body = held[0], bytes(held[4 : 4 + size])
            del held[: 4 + size]
            if kind == _CLIENT_HELLO and len(body) >= 34:
                self._client_random = body[2:34]
            elif kind == _SERVER_HELLO and len(body) >= 38 and body[2:34] != _RETRY:
                self._server_hello(body)
            elif mine is not None and self._modern and kind == _FINISHED and not side.settled:
                self._settle(mine, side)
            elif mine is not None and self._modern and kind == _KEY_UPDATE and self._suite:
                size = len(side.secret)
                self._key(side, _expand_label(side.secret, "traffic upd", size, self._suite[2]))

    def _server_hello(self, body: bytes) -> None:
        self._server_random = body[2:34]
        at = 35 + body[34]
        number = int.from_bytes(body[at : at + 2], "big")
        self._suite = _SUITES.get(number)
        self._modern = number >> 8 == 0x13
        if len(body) < at + 2 or self._suite is None:
            self.reason = f"its cipher suite 0x{number:04X} is not read"

    def _begin_legacy(self, mine: bool) -> bool:
        """TLS 1.2: keys after ChangeCipherSpec (RFC 5246 section 6.3). A client of TLS 1.3 may send one too."""
        if mine and not self._suite and self._client_random:
            return False
        if not (self._client_random and self._server_random and self._suite):
            self.reason = "its hellos are not in the capture"
            return True
        master = self._keys.get("CLIENT_RANDOM", self._client_random)
        if master is None:
            self.reason = "the key log has no secret for it"
            return True
        name, size, digest = self._suite
        salt = 12 if name == _CHACHA else 4
        seed = self._server_random + self._client_random
        block = _prf(master, b"key expansion", seed, 2 * (size + salt), digest)
        key = block[:size] if mine else block[size : 2 * size]
        iv = block[2 * size : 2 * size + salt] if mine else block[2 * size + salt :]
        side = self._sides[mine]
        side.cipher, side.iv, side.sequence = _aead(name, key), iv, 0
        return True

    def _begin_modern(self, mine: bool) -> bool:
        """TLS 1.3: the handshake secret; False until the ServerHello has come."""
        if not self._suite:
            return False
        if not self._modern:
            self.reason = "it began before the capture"
            return True
        if not self._client_random:
            self.reason = "its ClientHello is not in the capture"
            return True
        label = f"{'CLIENT' if mine else 'SERVER'}_HANDSHAKE_TRAFFIC_SECRET"
        secret = self._keys.get(label, self._client_random)
        side = self._sides[mine]
        if secret is None:
            self.reason = "the key log has no secret for it"
            return True
        self._key(side, secret)
        return True

    def _settle(self, mine: bool, side: _Side) -> None:
        secret = self._keys.get(f"{'CLIENT' if mine else 'SERVER'}_TRAFFIC_SECRET_0", self._client_random)
        if secret is None:
            self.reason = "the key log has no secret for it"
            return
        side.settled = True
        self._key(side, secret)

    def _key(self, side: _Side, secret: bytes) -> None:
        assert self._suite is not None
        name, size, digest = self._suite
        side.secret = secret
        side.cipher = _aead(name, _expand_label(secret, "key", size, digest))
        side.iv = _expand_label(secret, "iv", 12, digest)
        side.sequence = 0
