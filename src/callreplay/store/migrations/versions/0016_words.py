"""Words that were said in calls. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import run_sql

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0016_words.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Forget them."""
    op.execute("DROP TABLE call_words")
