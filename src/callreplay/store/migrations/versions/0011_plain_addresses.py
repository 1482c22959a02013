"""IPv4 addresses as IPv6 sockets show them become IPv4 addresses. The SQL stands beside this file."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import run_sql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0011_plain_addresses.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Let rows hold such addresses again; those that were changed stay."""
    op.execute("DROP TRIGGER calls_plain_addresses ON calls")
    op.execute("DROP FUNCTION plain_addresses()")
