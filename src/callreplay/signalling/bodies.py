"""The bodies of SIP messages: content encodings undone, multipart ones taken apart (RFC 3261 section 7.4, RFC 5621)."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from callreplay.deferred import pattern

__all__ = ["Part", "decoded", "parts"]

MAX_BODY: Final = 1 << 20
"""Octets that a compressed body may have in the clear: a session description or its metadata has a few thousand."""
_MAX_PARTS: Final = 256
_MAX_DEPTH: Final = 4
_WINDOW: Final = {"gzip": 31, "x-gzip": 31, "deflate": 47, "x-deflate": 47}
"""For zlib: a gzip member, or zlib or gzip, whichever it is; servers that say deflate mean any of them."""
_HEADER: Final = pattern(rb"^([A-Za-z-]+)[ \t]*:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.MULTILINE)
_BOUNDARY: Final = pattern(r';[ \t]*boundary[ \t]*=[ \t]*(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)


class Part(NamedTuple):
    """One body: its media type in lower case without parameters, and its octets in the clear."""

    kind: str
    content: bytes


def decoded(encodings: str, body: bytes, faults: Counter[str] | None = None) -> bytes:
    """Undo a Content-Encoding, the last first. What cannot be undone is left as it is, and counted in ``faults``."""
    for encoding in reversed([name.strip().lower() for name in encodings.split(",")]):
        if encoding in ("", "identity") or not body:
            continue
        window = _WINDOW.get(encoding)
        clear = _inflated(body, window) if window else None
        if clear is None and encoding.endswith("deflate"):
            clear = _inflated(body, -15)
        if clear is None:
            if faults is not None:
                faults[f"sip: body encoded as {encoding[:32]} cannot be read"] += 1
            return body
        body = clear
    return body


def _inflated(body: bytes, window: int) -> bytes | None:
    """As far as the body goes: a capture may have cut it."""
    inner = zlib.decompressobj(window)
    try:
        clear = inner.decompress(body, MAX_BODY)
    except zlib.error:
        return None
    return clear or None


def parts(content_type: str, body: bytes, depth: int = 0) -> Iterator[Part]:
    """The bodies within ``body``: itself, or, where it is multipart, those inside it, at any depth up to four."""
    kind = content_type.partition(";")[0].strip().lower()
    if not kind.startswith("multipart/"):
        if body:
            yield Part(kind, body)
        return
    found = _BOUNDARY.search(content_type)
    if found is None or depth >= _MAX_DEPTH:
        return
    boundary = (found[1] or found[2]).encode("utf-8", "replace")
    for piece in body.split(b"--" + boundary, _MAX_PARTS)[1:_MAX_PARTS]:
        if piece.startswith(b"--"):  # the end
            return
        headers, content = _split(piece)
        content = _transferred(headers.get("content-transfer-encoding", ""), content)
        content = decoded(headers.get("content-encoding", headers.get("e", "")), content)
        yield from parts(headers.get("content-type", headers.get("c", "")), content, depth + 1)


def _split(piece: bytes) -> tuple[Mapping[str, str], bytes]:
    """Headers and content of a part; the line break before the next boundary belongs to the boundary."""
    piece = piece.removeprefix(b"\r").removeprefix(b"\n")
    if piece.startswith((b"\r\n", b"\n")):  # no headers
        return {}, piece.lstrip(b"\r").removeprefix(b"\n")
    head, separator, content = piece.partition(b"\r\n\r\n")
    if not separator:
        head, _, content = piece.partition(b"\n\n")
    headers = {
        name.decode("ascii").lower(): re.sub(r"\r?\n[ \t]+", " ", value.decode("latin-1")).strip()
        for name, value in _HEADER.findall(head)
    }
    return headers, content.removesuffix(b"\n").removesuffix(b"\r")


def _transferred(encoding: str, content: bytes) -> bytes:
    if encoding.lower() != "base64":
        return content
    import base64
    import binascii

    try:
        return base64.b64decode(content)
    except binascii.Error:
        return content
