"""A real database for every test of the room."""

from tests.scenario.database import server

__all__ = ["server"]
