"""SRTP against the RFCs' own vectors and against libsrtp."""

import base64
import struct

import pylibsrtp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callreplay.errors import FormatError, UnsupportedError
from callreplay.packets.srtp import SUITES, SrtpKey, SrtpStream, derive, parse_crypto

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


def _key(name: str) -> SrtpKey:
    suite = SUITES[name]
    return SrtpKey(suite, bytes(range(suite.key)), bytes(range(100, 100 + suite.salt)))


def _sender(name: str) -> pylibsrtp.Session:
    key = _key(name)
    policy = pylibsrtp.Policy(
        key=key.key + key.salt,
        ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND,
        srtp_profile=PROFILES[name],
    )
    return pylibsrtp.Session(policy)


def _rtp(sequence: int, payload: bytes, ssrc: int = 0x12345678) -> bytes:
    return struct.pack(">BBHII", 0x80, 0, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, ssrc) + payload


def test_key_derivation_of_rfc_3711_b3() -> None:
    key = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139")
    salt = bytes.fromhex("0EC675AD498AFEEBB6960B3AABE6")
    assert derive(key, salt, 0, 16).hex().upper() == "C61E7A93744F39EE10734AFE3FF7A087"
    assert derive(key, salt, 2, 14).hex().upper() == "30CBBC08863D8C85D49DB34A9AE1"
    assert derive(key, salt, 1, 20).hex().upper() == "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_what_libsrtp_encrypts_is_decrypted(name: str) -> None:
    sender, receiver = _sender(name), SrtpStream(_key(name))
    for sequence in (*range(65500, 65700), *range(65700, 131200, 37), *range(131200, 131300)):
        payload = sequence.to_bytes(4, "big") * 40
        secret = sender.protect(_rtp(sequence, payload))
        assert secret[12:172] != payload
        assert receiver.decrypt(secret, 12) == payload
    assert receiver.failed == 0


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_capture_that_begins_after_rollovers_is_found(name: str) -> None:
    sender, receiver = _sender(name), SrtpStream(_key(name))
    secrets = {s: sender.protect(_rtp(s, b"x" * 20)) for s in range(0, 200_000, 1000)}
    for sequence in range(150_000, 200_000, 1000):
        assert receiver.decrypt(secrets[sequence], 12) == b"x" * 20


def test_reordering_across_a_rollover_and_repetition() -> None:
    sender, receiver = _sender("AES_CM_128_HMAC_SHA1_80"), SrtpStream(_key("AES_CM_128_HMAC_SHA1_80"))
    secrets = [sender.protect(_rtp(s, bytes([s & 255]) * 20)) for s in range(65530, 65545)]
    order = [0, 1, 9, 8, 2, 3, 7, 7, 4, 14, 5, 6, 10]
    assert [receiver.decrypt(secrets[i], 12) for i in order] == [bytes([65530 + i & 255]) * 20 for i in order]


@given(at=st.integers(0, 181), bit=st.integers(0, 7))
def test_one_wrong_bit_is_refused(at: int, bit: int) -> None:
    secret = bytearray(_sender("AES_CM_128_HMAC_SHA1_80").protect(_rtp(5, bytes(160))))
    secret[at] ^= 1 << bit
    receiver = SrtpStream(_key("AES_CM_128_HMAC_SHA1_80"))
    assert receiver.decrypt(bytes(secret), 12) is None
    assert receiver.failed == 1


@given(st.binary(max_size=60), st.integers(0, 80))
def test_short_and_hostile_packets_are_refused(packet: bytes, header_size: int) -> None:
    for name in ("AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"):
        assert SrtpStream(_key(name)).decrypt(packet, header_size) is None


def test_crypto_lines() -> None:
    secret = bytes(range(30))
    line = f"1 AES_CM_128_HMAC_SHA1_80 inline:{base64.b64encode(secret).decode()}|2^31|1:4"
    key = parse_crypto(line)
    assert (key.key, key.salt, key.mki_size) == (secret[:16], secret[16:], 4)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", FormatError),
        ("1 AES_CM_128_HMAC_SHA1_80 inline:%%%", FormatError),
        ("1 AES_CM_128_HMAC_SHA1_80 inline:QUJD", FormatError),
        ("1 F8_128_HMAC_SHA1_80 inline:QUJD", UnsupportedError),
        (f"1 AES_CM_128_HMAC_SHA1_80 inline:{base64.b64encode(bytes(30)).decode()}|1:x", FormatError),
        (
            f"1 AES_CM_128_HMAC_SHA1_80 inline:{base64.b64encode(bytes(30)).decode()} UNENCRYPTED_SRTP",
            UnsupportedError,
        ),
    ],
)
def test_bad_crypto_lines_are_refused_without_showing_the_key(line: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        parse_crypto(line)
    assert "QUJD" not in str(caught.value)
