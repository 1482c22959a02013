"""What schemathesis makes of the service's OpenAPI document, each case sent to a service that runs.

Run by test_openapi.py in a pytest of its own: schemathesis makes the cases while pytest collects, 5 s of CPU which
every worker would spend. CALLREPLAY_TEST_SERVICE tells the service, CALLREPLAY_TEST_PASSWORD its administrator's
password.
"""

from __future__ import annotations

import os
from typing import Any

import hypothesis
import requests
import schemathesis
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from callreplay.service import openapi

TRANSCODER = "/CallRecorder/Transcoder"
CREDENTIALS = ("user", "password", "tenant")
schema = schemathesis.openapi.from_dict(openapi.build())
bounded = hypothesis.settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
sent: set[str] = set()
session = requests.Session()  # one connection for all of them


def checked(case: schemathesis.Case[Any]) -> None:
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
    # Cases that differed in what was taken out of them are the same request; one answer is enough.
    mode = case.meta.generation.mode if case.meta else None
    what = repr(
        (case.method, case.path, case.path_parameters, query, case.headers, case.cookies, case.body, mode)
    )
    if what in sent:
        return
    sent.add(what)
    response = case.call_and_validate(
        session=session,
        base_url=os.environ["CALLREPLAY_TEST_SERVICE"],
        auth=("admin", os.environ["CALLREPLAY_TEST_PASSWORD"]),
        allow_redirects=False,
        excluded_checks=excluded,
    )
    assert response.status_code not in (401, 429), "it was not the request that was judged"


def test_document_is_valid() -> None:
    schema.validate()


@schema.parametrize()
@bounded
def test_service_keeps_to_its_document(case: schemathesis.Case[Any]) -> None:
    checked(case)


@schema.include(path=TRANSCODER).parametrize()
@bounded
def test_renderings_keep_to_the_document(case: schemathesis.Case[Any]) -> None:
    """Random search parameters hardly ever find a call; without them every request finds one and renders it."""
    case.query = {name: value for name, value in (case.query or {}).items() if name not in openapi.SEARCH}
    checked(case)
