"""Every codec of a recording. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import run_sql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0007_codecs.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Take the column away."""
    op.execute("ALTER TABLE call_files DROP COLUMN codecs")
