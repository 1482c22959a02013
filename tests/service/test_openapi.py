"""The service against its own OpenAPI document, with whatever schemathesis makes of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from callreplay.service import openapi
from callreplay.store import search

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = [pytest.mark.database, pytest.mark.slow]


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


def test_service_keeps_to_its_document(service: Running) -> None:
    told = {"CALLREPLAY_TEST_SERVICE": service.base, "CALLREPLAY_TEST_PASSWORD": service.password}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "schemathesis.pytest.plugin",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("document_cases.py"))],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | told,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    operations = sum(len(methods) for methods in openapi.build()["paths"].values())
    assert f"{operations + 2} passed" in done.stdout, "each of them, the renderings and the document itself"
