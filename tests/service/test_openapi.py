"""The service against its own OpenAPI document, with whatever schemathesis makes of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from callreplay.service import openapi
from callreplay.store import search

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = [pytest.mark.database, pytest.mark.slow]
TRANSCODER = "/CallRecorder/Transcoder"
CREDENTIALS = ("user", "password", "tenant")
schema = schemathesis.openapi.from_dict(openapi.build())
bounded = hypothesis.settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)


def checked(case: schemathesis.Case[Any], service: Running) -> None:
    # Wrong credentials on purpose would slow every later request down; test_urls.py has them.
    case.query = {name: value for name, value in (case.query or {}).items() if name not in CREDENTIALS}
    query: dict[str, Any] = case.query
    # What a schema cannot say of two parameters together: a format has its own rates, channels and bit rates.
    start, end = query.get("start", 0), query.get("end")
    if isinstance(start, int | float) and isinstance(end, int | float):
        hypothesis.assume(start < end)
    excluded = [ignored_auth]
    # What a format can hold, and which characters can be printed, no schema says.
    if {"rate", "channels", "bitrate", "title", "labels"} & query.keys():
        excluded.append(positive_data_acceptance)
    response = case.call_and_validate(
        base_url=service.base,
        auth=("admin", service.password),
        allow_redirects=False,
        excluded_checks=excluded,
    )
    assert response.status_code not in (401, 429), "it was not the request that was judged"


def test_document_is_valid() -> None:
    schema.validate()


@pytest.mark.parametrize(
    ("text", "is_time"),
    [
        ("0001.01.01-00.00.00", True),
        ("9999.12.31-23.59.59", True),
        ("0004.02.29-00.00.00", True),
        ("2100.02.29-00.00.00", False),
        ("0000.02.29-00.00.00", False),
        ("0000.01.01-00.00.00", False),
        ("2026.04.31-00.00.00", False),
        ("2026.04.30-24.00.00", False),
    ],
)
def test_times_of_the_document_are_those_that_are_read(text: str, is_time: bool) -> None:
    pattern = openapi.SEARCH["beginTime"][0]["pattern"]
    assert (re.search(pattern, text) is not None) is is_time
    if is_time:
        search.parse_time("beginTime", text, ZoneInfo("Europe/Bucharest"))
    else:
        with pytest.raises(search.ParameterError):
            search.parse_time("beginTime", text, ZoneInfo("Europe/Bucharest"))


@schema.parametrize()
@bounded
def test_service_keeps_to_its_document(case: schemathesis.Case[Any], service: Running) -> None:
    checked(case, service)


@schema.include(path=TRANSCODER).parametrize()
@bounded
def test_renderings_keep_to_the_document(case: schemathesis.Case[Any], service: Running) -> None:
    """Random search parameters hardly ever find a call; without them every request finds one and renders it."""
    case.query = {name: value for name, value in (case.query or {}).items() if name not in openapi.SEARCH}
    checked(case, service)
