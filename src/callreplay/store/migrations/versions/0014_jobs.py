"""Jobs: what is done over minutes and hours, how far it is, and whether somebody wants it stopped."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import run_sql

revision = "0014"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0014_jobs.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Forget them."""
    op.execute("DROP TABLE jobs")
