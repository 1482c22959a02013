"""Migrations are SQL, which stands beside them as one would show it; indexes of large tables are made without locks."""

from __future__ import annotations

from pathlib import Path

from alembic import op

__all__ = ["create_index", "drop_index", "in_portions", "run", "run_sql"]

_FIRST = "00000000-0000-0000-0000-000000000000"


def run_sql(migration: str) -> None:
    """Run the SQL beside ``migration``, a module's file: what has its name and ends in ``.sql``."""
    run(Path(migration).with_suffix(".sql").read_text(encoding="utf-8"))


def run(text: str) -> None:
    """Run statements as they stand."""
    # The driver's own connection: without parameters it sends the text as it stands, '%' and all.
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(text)


def in_portions(statement: str) -> None:
    """Run a statement for the rows behind one uuid (``%s``) as long as it gives the next; each is committed by itself.

    What the migration did before is committed. Whoever writes waits for a portion at most; one that was cut short is
    gone on with, where the statement passes over what is done.
    """
    with op.get_context().autocommit_block():
        last: str | None = _FIRST
        while last is not None:
            found = op.get_bind().exec_driver_sql(statement, (last,)).scalar()
            last = None if found is None else str(found)


def create_index(name: str, definition: str) -> None:
    """Make an index, ``definition`` from ``ON`` on, while others go on writing.

    What the migration did before is committed. One that was cut short is gone on with by the next: an index that is
    whole stays, one that is not (INVALID) is dropped and made anew.
    """
    with op.get_context().autocommit_block():
        if (valid := _is_valid(name)) is False:
            op.execute(f"DROP INDEX CONCURRENTLY {name}")
        if not valid:
            op.execute(f"CREATE INDEX CONCURRENTLY {name} {definition}")


def drop_index(name: str) -> None:
    """Drop an index, if it is there, while others go on writing."""
    with op.get_context().autocommit_block():
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def _is_valid(name: str) -> bool | None:
    """Whether the index of that name is whole; None where there is none."""
    found: bool | None = (
        op.get_bind()
        .exec_driver_sql("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (name,))
        .scalar()
    )
    return found
