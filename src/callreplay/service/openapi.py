"""The OpenAPI document of what programs call."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from callreplay._version import __version__
from callreplay.service import engine
from callreplay.service.context import BASE

__all__ = ["SEARCH", "build", "document"]

_YEAR: Final = "(?!0000)[0-9]{4}"
_LEAP_YEAR: Final = "(?!0000)([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_DAYS: Final = (
    rf"({_YEAR}\.((0[13578]|1[02])\.(0[1-9]|[12][0-9]|3[01])|(0[469]|11)\.(0[1-9]|[12][0-9]|30)|"
    rf"02\.(0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}\.02\.29)"
)
_TIME: Final = {
    "type": "string",
    "pattern": rf"^{_DAYS}-([01][0-9]|2[0-3])\.[0-5][0-9]\.[0-5][0-9]$",
    "description": "yyyy.mm.dd-hh.mm.ss, a time that there is.",
}
_PORT: Final = {"type": "integer", "minimum": 0, "maximum": 65535}
_UUID: Final = {"type": "string", "format": "uuid"}
_ADDRESS: Final = {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
_MAC: Final = {"type": "string", "pattern": "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$"}
_NO_NUL: Final = r"^[^\u0000]*$"
_SOME: Final = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": _NO_NUL}
_CONTAINED: Final = {"type": "string", "maxLength": 256, "pattern": _NO_NUL}
_COLOUR: Final = {"type": "string", "pattern": "^(#?[0-9a-fA-F]{6})?$"}

SEARCH: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "callId": (_UUID, "The call's uuid."),
    "wireCallId": (_SOME, "SIP Call-ID or Skinny call reference, exact."),
    "pbxCallId": (_SOME, "Alias of wireCallId."),
    "beginTime": (
        _TIME,
        "Earliest start, inclusive, in the tenant's time zone; the first of a time shown twice.",
    ),
    "endTime": (
        _TIME,
        "Latest start, inclusive, in the tenant's time zone; the second of a time shown twice.",
    ),
    "tag": (_SOME, "A tag that the call has, exact."),
    **{
        f"{side}{name}": (schema, f"The {side} party's {text}.")
        for side in ("caller", "called")
        for name, schema, text in (
            ("IP", _ADDRESS, "address, exact"),
            ("Port", _PORT, "port, exact"),
            ("MAC", _MAC, "MAC address, exact"),
            ("Number", _CONTAINED, "number, contained"),
            ("Name", _CONTAINED, "name, contained in any letter case"),
        )
    },
}
_PIXELS: Final = {"type": "integer", "minimum": 16, "maximum": 16384}
_LONGEST_SECONDS: Final = 999_999_999
_FLAG: Final = {"type": "boolean"}
_RENDER: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "format": (
        {"type": "string", "enum": ["json", *engine.MEDIA_TYPES], "default": "wav"},
        "json lists every match.",
    ),
    "limit": ({"type": "integer", "minimum": 1, "maximum": 1000}, "json: calls of one page; left out: all."),
    "after": (_UUID, "json: the last call of the page before."),
    "start": (
        {"type": "number", "minimum": 0, "maximum": _LONGEST_SECONDS},
        "Seconds from the call's start.",
    ),
    "end": (
        {"type": "number", "exclusiveMinimum": 0, "maximum": _LONGEST_SECONDS},
        "Seconds from the call's start, after start.",
    ),
    "channels": (
        {"type": "string", "enum": ["", *engine.CHANNELS]},
        "Stereo: caller left; empty: the format's own.",
    ),
    "rate": (
        {"type": "integer", "anyOf": [{"const": 0}, {"minimum": 8000, "maximum": 48000}]},
        "Output sample rate, Hz; 0: the call's own.",
    ),
    "dtmf": ({"type": "string", "enum": ["mute", "tone"]}, "Whether RFC 4733 digits sound."),
    "concealment": (
        {"type": "string", "enum": ["exact", "best"]},
        "Lost G.729: as the standard says, or bridged from both sides as other codecs' losses are.",
    ),
    "limiter": (_FLAG, "True peaks stay below -1 dBTP instead of clipping."),
    "loudness": (
        {"type": "number", "minimum": -70, "maximum": 0},
        "LUFS (ITU-R BS.1770) that the sound is brought to; as it is where not given.",
    ),
    "loudnessBy": ({"type": "string", "enum": ["mix", "leg"]}, "What is brought to it."),
    "sampleFormat": ({"type": "string", "enum": ["int16", "ulaw", "alaw"]}, "wav."),
    "quality": ({"type": "integer", "minimum": 0, "maximum": 10}, "spx."),
    "vbr": (_FLAG, "spx: variable bit rate."),
    "vad": (_FLAG, "spx: background noise is only described."),
    "dtx": (_FLAG, "spx: next to nothing is sent in silence."),
    "segments": (_FLAG, "spx: a long call is coded by several lanes at once."),
    "bitrate": (
        {"type": "integer", "anyOf": [{"const": 0}, {"minimum": 500, "maximum": 1_000_000}]},
        "mp3, opus, m4a: bits per second; 0: usual.",
    ),
    "metadata": (_FLAG, "Whether the file says what it is: title, time, parties. false: bare."),
    "title": (
        {"type": "string", "maxLength": 200},
        "Written into formats that hold one; printable characters.",
    ),
    "width": (_PIXELS, "png, pixels."),
    "height": (_PIXELS, "png, pixels."),
    "theme": ({"type": "string", "enum": list(engine.THEMES)}, "png."),
    "background": (_COLOUR, "png: #rrggbb."),
    "callerColor": (_COLOUR, "png: #rrggbb."),
    "calledColor": (_COLOUR, "png: #rrggbb."),
    "axis": (_FLAG, "png: times below; by default where there is room."),
    "labels": (
        {"type": "string"},
        "png: speakers' names, caller first, a line break between them (printable).",
    ),
    "spectrogram": (_FLAG, "png: a spectrogram instead of a waveform."),
    "samplesPerPixel": ({"type": "integer", "minimum": 1, "maximum": 1 << 24}, "peaks."),
    "reason": ({"type": "string"}, "Why someone listens; the audit log keeps 500 characters of it."),
    "bits": ({"type": "integer", "enum": [8, 16]}, "peaks."),
    "peaksVersion": ({"type": "integer", "enum": [1, 2]}, "peaks, dat: of audiowaveform's format."),
}


def _parameters(table: dict[str, tuple[dict[str, Any], str]]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "allowEmptyValue": True,  # it asks nothing
            "schema": {"anyOf": [schema, {"const": ""}]},
            "description": text,
        }
        for name, (schema, text) in table.items()
    ]


def _problem(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {"application/problem+json": {"schema": schema}}}


_OPTIONAL_TEXT: Final = {"type": ["string", "null"]}
_SIDES: Final = {
    f"{side}{name}": schema
    for side in ("caller", "called")
    for name, schema in (
        ("IP", _OPTIONAL_TEXT),
        ("Port", {"type": ["integer", "null"]}),
        ("MAC", _OPTIONAL_TEXT),
        ("Number", {"type": "string"}),
        ("Name", {"type": "string"}),
    )
}
_CALL: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["callId", "wireCallId", "beginTime", "endTime", "duration", "legs", *_SIDES],
    "properties": {
        "callId": _UUID,
        "wireCallId": {"type": "string"},
        "beginTime": _TIME,
        "endTime": _TIME,
        "answerTime": _OPTIONAL_TEXT,
        "timeZone": {"type": "string"},
        "startedAt": {
            "type": "string",
            "format": "date-time",
            "description": "Start, with the offset from UTC.",
        },
        "duration": {"type": "number", "description": "Seconds."},
        **_SIDES,
        "description": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "quality": {"type": "object"},
        "warnings": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Codecs that cannot be decoded here: their part of the call is silent.",
        },
        "legs": {"type": "array", "items": {"type": "object", "required": ["leg", "files"]}},
    },
}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "parameter": {"type": "string", "description": "The parameter at fault."},
        "code": {"enum": ["encrypted", "missing"], "description": "What kind, where one status has several."},
    },
}


def build() -> dict[str, Any]:
    """The document (OpenAPI 3.1)."""
    calls = {"type": "array", "items": {"$ref": "#/components/schemas/Call"}}
    transcoder = {
        "summary": "Find calls; render the first, or list all",
        "parameters": _parameters(SEARCH | _RENDER),
        "security": [
            {"basic": []},
            {"bearer": []},
            {"session": []},
            {"user": [], "password": []},
            {"user": [], "password": [], "tenant": []},
        ],
        "responses": {
            "200": {"description": "format=json", "content": {"application/json": {"schema": calls}}},
            "302": {"description": "Location: a temporary URL of the rendering"},
            "400": _problem("A value is malformed; parameter names it"),
            "401": _problem("Not logged in"),
            "403": _problem("Credentials in URLs are switched off"),
            "404": _problem("No call matches, or its recording is missing"),
            "422": _problem("The recording is encrypted or cannot be read"),
            "429": _problem("Too many failed logins"),
            "500": _problem("The recording cannot be rendered"),
            "501": _problem("The format or codec is not installed"),
            "507": _problem("The disk of the cache is full"),
            "503": _problem("The database does not answer; Retry-After tells when to ask again"),
        },
    }
    ready = {
        "type": "object",
        "required": ["ready"],
        "properties": {"ready": {"type": "boolean"}, "schema": {"type": "string"}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "CallReplay", "version": __version__},
        "paths": {
            BASE + "/Transcoder": {"get": transcoder},
            "/readyz": {
                "get": {
                    "summary": "Whether the service can work",
                    "responses": {
                        "200": {"description": "Ready", "content": {"application/json": {"schema": ready}}},
                        "503": {
                            "description": "Not ready",
                            "content": {"application/json": {"schema": ready}},
                        },
                    },
                }
            },
        },
        "components": {
            "schemas": {"Call": _CALL, "Problem": _PROBLEM},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "callreplay_session"},
                **{
                    name: {"type": "apiKey", "in": "query", "name": name, "description": text}
                    for name, text in (
                        (
                            "user",
                            "Login name, where credentials in URLs are allowed (the setting get_login).",
                        ),
                        ("password", "Its password."),
                        ("tenant", "Its tenant; left out: default."),
                    )
                },
            },
        },
    }


async def document(request: Request) -> Response:
    """``GET /CallRecorder/openapi.json``."""
    return JSONResponse(build())
