"""The audit log as a chain of hashes. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import run_sql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0006_audit_chain.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Take the chain away; the log stays."""
    op.execute("DROP TRIGGER audit_log_chain ON audit_log")
    op.execute("DROP TRIGGER audit_log_append ON audit_log")
    op.execute("DROP TABLE audit_chain, audit_head")
    op.execute("DROP FUNCTION audit_chain_row(), audit_append_only(), audit_text(audit_log)")
