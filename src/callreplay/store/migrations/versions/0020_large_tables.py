"""Indexes and a trigger for tables of millions of calls; nobody who writes waits for them."""

from __future__ import annotations

from pathlib import Path

from callreplay.store.migrations.beside import create_index, drop_index, run, run_sql

revision = "0020"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0020_large_tables.sql, then make the index of calls that a backup has."""
    run_sql(__file__)
    create_index("calls_backed_up", "ON calls (tenant_id, started_at, uuid) WHERE backed_up_at IS NOT NULL")


def downgrade() -> None:
    """Take the index away, and let the function be that of 0017 again."""
    drop_index("calls_backed_up")
    earlier = Path(__file__).with_name("0017_call_figures.sql").read_text(encoding="utf-8")
    function = earlier[earlier.index("CREATE FUNCTION follow_call_files") : earlier.index("DO $$")]
    run(function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    path = earlier[earlier.index("DO $$") : earlier.index("CREATE CONSTRAINT TRIGGER")]
    run(path)
