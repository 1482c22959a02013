"""The first schema. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0001_schema.sql."""
    # The driver's own connection: without parameters it sends the text as it stands, '%' and all.
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Refuse: the first schema holds the calls."""
    raise NotImplementedError("the first schema is not taken away; restore a backup instead")
