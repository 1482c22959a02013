"""Short texts and pairs of conditions by index. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0002_search_keys.sql."""
    # The driver's own connection: without parameters it sends the text as it stands, '%' and all.
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Take the index and its function away."""
    op.execute("DROP INDEX calls_keys")
    op.execute(
        "DROP FUNCTION call_keys(integer, text, text, text, text, inet, inet, macaddr, macaddr, boolean)"
    )
