"""The addresses that users have logged in from. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import run_sql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0003_login_addresses.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Take the table and the index away."""
    op.execute("DROP INDEX login_failures_age")
    op.execute("DROP TABLE login_addresses")
