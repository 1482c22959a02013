"""Short texts and pairs of conditions by index. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import run_sql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0002_search_keys.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Take the index and its function away."""
    op.execute("DROP INDEX calls_keys")
    op.execute(
        "DROP FUNCTION call_keys(integer, text, text, text, text, inet, inet, macaddr, macaddr, boolean)"
    )
