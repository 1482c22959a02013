"""A real database for every test of the room."""

from tests.scenario.database import database, emptied, server, url

__all__ = ["database", "emptied", "server", "url"]
