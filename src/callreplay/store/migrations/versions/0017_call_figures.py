"""What a list of calls shows and sorts by, on the call itself. The SQL stands beside this file."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import run_sql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0017_call_figures.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Take the columns away, and with them their indexes."""
    op.execute("DROP TRIGGER call_files_figures ON call_files")
    op.execute("DROP FUNCTION follow_call_files")
    op.execute("DROP FUNCTION call_figures")
    op.execute("DROP INDEX calls_caller, calls_called, calls_status, calls_tag")
    op.execute(
        "ALTER TABLE calls DROP COLUMN length_ms, DROP COLUMN mos, DROP COLUMN loss_percent, DROP COLUMN codecs, "
        "DROP COLUMN one_way"
    )
