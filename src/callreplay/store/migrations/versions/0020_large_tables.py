"""Indexes and a trigger for tables of millions of calls; nobody who writes waits for them."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import create_index, run_sql

revision = "0020"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0020_large_tables.sql, then make the index of calls that a backup has."""
    run_sql(__file__)
    create_index("calls_backed_up", "ON calls (tenant_id, started_at, uuid) WHERE backed_up_at IS NOT NULL")


def downgrade() -> None:
    """Take the index away; the function of 0017 does the same, slower."""
    op.execute("DROP INDEX calls_backed_up")
