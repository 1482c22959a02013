"""Volumes with a name and a uuid of their own. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import run_sql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0004_volume_markers.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Take the columns away; the names stay as they are, the markers in the folders too."""
    op.execute(
        "ALTER TABLE storage_volumes DROP CONSTRAINT storage_volumes_name, DROP CONSTRAINT storage_volumes_named"
    )
    op.execute("ALTER TABLE storage_volumes DROP COLUMN uuid, DROP COLUMN marked_at, DROP COLUMN home")
