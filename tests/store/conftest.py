"""A real database for every test of the room."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from tests.scenario.database import database, emptied, server, url

__all__ = ["database", "emptied", "server", "url"]


@pytest.fixture(scope="module")
def case() -> ModuleType:
    """The capture and call writers of test_filing.py."""
    path = Path(__file__).parents[1] / "importing" / "test_filing.py"
    spec = importlib.util.spec_from_file_location("filing_case", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
