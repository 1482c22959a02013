"""The service against its own OpenAPI document, with whatever schemathesis makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import schemathesis

from callreplay.service import openapi

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = [pytest.mark.database, pytest.mark.slow]
TRANSCODER = "/CallRecorder/Transcoder"
schema = schemathesis.openapi.from_dict(openapi.build())
bounded = hypothesis.settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)


def checked(case: schemathesis.Case, service: Running) -> None:
    query: dict[str, Any] = case.query or {}
    # What a schema cannot say of two parameters together.
    start, end = query.get("start", 0), query.get("end")
    if isinstance(start, int | float) and isinstance(end, int | float):
        hypothesis.assume(start < end)
    case.call_and_validate(base_url=service.base, auth=("admin", service.password), allow_redirects=False)


def test_document_is_valid() -> None:
    schema.validate()


@schema.parametrize()
@bounded
def test_service_keeps_to_its_document(case: schemathesis.Case, service: Running) -> None:
    checked(case, service)


@schema.include(path=TRANSCODER).parametrize()
@bounded
def test_renderings_keep_to_the_document(case: schemathesis.Case, service: Running) -> None:
    """Random search parameters hardly ever find a call; without them every request finds one and renders it."""
    case.query = {name: value for name, value in (case.query or {}).items() if name not in openapi.SEARCH}
    checked(case, service)
