"""Migrations are SQL, which stands beside them as one would show it."""

from __future__ import annotations

from pathlib import Path

from alembic import op

__all__ = ["run_sql"]


def run_sql(migration: str) -> None:
    """Run the SQL beside ``migration``, a module's file: what has its name and ends in ``.sql``."""
    # The driver's own connection: without parameters it sends the text as it stands, '%' and all.
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(Path(migration).with_suffix(".sql").read_text(encoding="utf-8"))
