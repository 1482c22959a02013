"""SRTP (RFC 3711, RFC 7714) with keys from SDP (RFC 4568): packets in, plain RTP packets out.

A capture may begin in mid-call, when the rollover counter is not known: the first packet of an SSRC is tried with small
counters until its authentication tag fits. Nothing is ever decrypted that does not authenticate, so wrong keys give a
count and never noise.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from typing import Any, Final

from callreplay.deferred import dataclass
from callreplay.errors import FormatError, UnsupportedError

__all__ = ["SUITES", "SrtpKey", "SrtpStream", "Suite", "parse_crypto"]

_MAX_ROLLOVERS: Final = 64  # 64 * 65536 packets are 23 hours at 20 ms


@dataclass(frozen=True, slots=True)
class Suite:
    """A crypto suite: octets of master key, master salt and authentication tag, and whether it is AES-GCM."""

    key: int
    salt: int
    tag: int
    gcm: bool = False


SUITES: Final[dict[str, Suite]] = {
    "AES_CM_128_HMAC_SHA1_80": Suite(16, 14, 10),
    "AES_CM_128_HMAC_SHA1_32": Suite(16, 14, 4),
    "AES_192_CM_HMAC_SHA1_80": Suite(24, 14, 10),
    "AES_192_CM_HMAC_SHA1_32": Suite(24, 14, 4),
    "AES_256_CM_HMAC_SHA1_80": Suite(32, 14, 10),
    "AES_256_CM_HMAC_SHA1_32": Suite(32, 14, 4),
    "AEAD_AES_128_GCM": Suite(16, 12, 16, gcm=True),
    "AEAD_AES_256_GCM": Suite(32, 12, 16, gcm=True),
}


@dataclass(frozen=True, slots=True)
class SrtpKey:
    """A master key and salt with their suite; ``mki_size`` octets of master key identifier follow each payload."""

    suite: Suite
    key: bytes
    salt: bytes
    mki_size: int = 0


def parse_crypto(line: str) -> SrtpKey:
    """The key of an ``a=crypto`` value: ``1 AES_CM_128_HMAC_SHA1_80 inline:BASE64|2^31|1:4``.

    Raises FormatError for a malformed line and UnsupportedError for a suite that is not known. Messages never hold the
    key.
    """
    parts = line.split()
    if len(parts) < 3 or not parts[2].lower().startswith("inline:"):
        raise FormatError("a crypto line needs a tag, a suite and inline:KEY")
    suite = SUITES.get(parts[1].upper())
    if suite is None:
        raise UnsupportedError(f"crypto suite {parts[1]!r} is not supported")
    if any(parameter.upper() in ("UNENCRYPTED_SRTP", "UNAUTHENTICATED_SRTP") for parameter in parts[3:]):
        raise UnsupportedError("SRTP without encryption or authentication is not supported")
    material, *parameters = parts[2][7:].split("|")
    try:
        secret = base64.b64decode(material, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError("the inline key is not base64") from error
    if len(secret) != suite.key + suite.salt:
        raise FormatError(
            f"the inline key has {len(secret)} octets; its suite needs {suite.key + suite.salt}"
        )
    mki_size = 0
    for parameter in parameters:
        value, colon, length = parameter.partition(":")
        if colon:
            if not (value.isdigit() and length.isdigit() and 1 <= int(length) <= 128):
                raise FormatError("the MKI of a crypto line must be value:length")
            mki_size = int(length)
    return SrtpKey(suite, secret[: suite.key], secret[suite.key :], mki_size)


def _cipher() -> Any:
    try:
        from cryptography.hazmat.primitives import ciphers
        from cryptography.hazmat.primitives.ciphers import aead, algorithms, modes
    except ImportError as error:
        raise UnsupportedError("SRTP needs cryptography: pip install 'callreplay[srtp]'") from error
    return ciphers.Cipher, algorithms.AES, modes.CTR, aead.AESGCM


def _keystream(key: bytes, iv: int, data: bytes) -> bytes:
    """AES in counter mode from a 128-bit initial counter (RFC 3711, 4.1.1)."""
    cipher, aes, ctr, _ = _cipher()
    encryptor = cipher(aes(key), ctr(iv.to_bytes(16, "big"))).encryptor()
    out: bytes = encryptor.update(data) + encryptor.finalize()
    return out


def derive(key: bytes, salt: bytes, label: int, size: int) -> bytes:
    """A session key (RFC 3711, 4.3): key derivation rate 0, so the packet index does not enter."""
    # A 12-octet GCM salt is padded on the right to 14 (RFC 7714, 11).
    x = int.from_bytes(salt.ljust(14, b"\0"), "big") ^ label << 48
    return _keystream(key, x << 16, bytes(size))


class SrtpStream:
    """Decrypts the packets of one SSRC, in any order within half a rollover (32768 packets)."""

    def __init__(self, key: SrtpKey) -> None:
        self._suite, self._mki = key.suite, key.mki_size
        self._key = derive(key.key, key.salt, 0, key.suite.key)
        self._auth = derive(key.key, key.salt, 1, 20)
        self._salt = int.from_bytes(derive(key.key, key.salt, 2, key.suite.salt), "big")
        self._highest: int | None = None  # highest index (rollover * 65536 + sequence) that authenticated
        self.failed = 0

    def decrypt(self, packet: bytes, header_size: int) -> bytes | None:
        """The plain payload of a packet (padding included), or None where it does not authenticate.

        ``packet`` is the whole SRTP packet; ``header_size`` its octets of header, CSRCs and extension.
        """
        if not 12 <= header_size <= len(packet) - self._suite.tag - self._mki:
            self.failed += 1
            return None
        sequence, ssrc = struct.unpack_from(">2xH4xI", packet)
        for index in self._candidates(sequence):
            payload = self._try(packet, header_size, ssrc, index)
            if payload is not None:
                if self._highest is None or index > self._highest:
                    self._highest = index
                return payload
        self.failed += 1
        return None

    def _candidates(self, sequence: int) -> list[int]:
        """Likely packet indices, best first (RFC 3711, 3.3.1)."""
        if self._highest is None:
            return [rollover << 16 | sequence for rollover in range(_MAX_ROLLOVERS)]
        rollover, last = self._highest >> 16, self._highest & 0xFFFF
        if sequence - last > 32768:
            near = (rollover - 1, rollover)
        elif last - sequence > 32768:
            near = (rollover + 1, rollover)
        else:
            near = (rollover, rollover + 1)
        return [r << 16 | sequence for r in near if r >= 0]

    def _try(self, packet: bytes, header_size: int, ssrc: int, index: int) -> bytes | None:
        if self._suite.gcm:
            return self._try_gcm(packet, header_size, ssrc, index)
        tag = packet[-self._suite.tag :]
        body = packet[: len(packet) - self._suite.tag - self._mki]
        rollover = (index >> 16).to_bytes(4, "big")
        wanted = hmac.new(self._auth, body + rollover, hashlib.sha1).digest()[: self._suite.tag]
        if not hmac.compare_digest(tag, wanted):
            return None
        iv = (self._salt << 16) ^ (ssrc << 64) ^ (index << 16)
        return _keystream(self._key, iv, body[header_size:])

    def _try_gcm(self, packet: bytes, header_size: int, ssrc: int, index: int) -> bytes | None:
        from cryptography.exceptions import InvalidTag

        *_, aesgcm = _cipher()
        iv = (ssrc << 48 | index) ^ self._salt
        body = packet[: len(packet) - self._mki] if self._mki else packet
        try:
            plain: bytes = aesgcm(self._key).decrypt(
                iv.to_bytes(12, "big"), body[header_size:], body[:header_size]
            )
        except InvalidTag:
            return None
        return plain
