"""The OpenAPI document of what programs call."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from callreplay._version import __version__
from callreplay.service import engine
from callreplay.service.context import BASE
from callreplay.store import search

__all__ = ["SEARCH", "build", "document"]

_UUID: Final = search.SCHEMAS["uuid"]
_TIME: Final = search.SCHEMAS["time"]

SEARCH: Final = {row.url: (dict(row.kind.schema), row.help) for row in search.ROWS}
_REQUEST: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "format": (
        {"type": "string", "enum": ["json", *engine.MEDIA_TYPES], "default": "wav"},
        "json lists every match.",
    ),
    "limit": ({"type": "integer", "minimum": 1, "maximum": 1000}, "json: calls of one page; left out: all."),
    "after": (_UUID, "json: the last call of the page before."),
    "reason": ({"type": "string"}, "Why someone listens; the audit log keeps 500 characters of it."),
}
_RENDER: Final = _REQUEST | {row.url: (row.schema, row.help) for row in engine.ROWS}


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
_TOLD: Final = {row.url: dict(row.told or {}) for row in search.TOLD}
_CALL: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["callId", "wireCallId", "beginTime", "endTime", "duration", "legs", *_TOLD],
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
        **_TOLD,
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
