"""A real database for every test of the room."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import psycopg
import pytest
from tests.scenario.database import database, emptied, server, url

from callreplay.store.embedded import EmbeddedPostgres

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


@pytest.fixture
def bare(server: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database without a schema, of this test alone."""
    name = f"bare_{uuid4().hex}"
    with psycopg.connect(server.url) as connection:
        owner = connection.info.user
    with server._superuser() as root:
        root.execute(f"CREATE DATABASE {name} OWNER {owner}".encode())
        try:
            yield psycopg.conninfo.make_conninfo(server.url, dbname=name)
        finally:
            root.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
