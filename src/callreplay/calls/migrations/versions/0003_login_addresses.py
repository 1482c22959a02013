"""The addresses that users have logged in from. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0003_login_addresses.sql."""
    # The driver's own connection: without parameters it sends the text as it stands, '%' and all.
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Take the table and the index away."""
    op.execute("DROP INDEX login_failures_age")
    op.execute("DROP TABLE login_addresses")
