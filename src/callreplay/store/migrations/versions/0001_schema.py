"""The first schema. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from callreplay.store.migrations.beside import run_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0001_schema.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Refuse: the first schema holds the calls."""
    raise NotImplementedError("the first schema is not taken away; restore a backup instead")
