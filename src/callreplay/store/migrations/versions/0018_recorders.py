"""Recorders and calls in progress. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import run_sql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0018_recorders.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Forget them, and the calls that were not stored yet."""
    op.execute(
        "DELETE FROM calls c USING calls_in_progress p WHERE c.uuid = p.call_uuid AND c.status = 'in progress'"
    )
    op.execute("DROP TABLE calls_in_progress")
    op.execute("DROP TABLE recorders")
