"""The numbers of every hop of a call, found by a search. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import run_sql

revision = "0009"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0009_hop_numbers.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Index the called number alone again, and take the column away."""
    op.execute("DROP INDEX calls_text")
    op.execute("DROP INDEX calls_keys")
    op.execute("ALTER TABLE calls DROP COLUMN hop_numbers")
    op.execute(
        "CREATE INDEX calls_text ON calls USING gin (caller_number gin_trgm_ops, caller_name gin_trgm_ops, "
        "called_number gin_trgm_ops, called_name gin_trgm_ops) WITH (fastupdate = off)"
    )
    op.execute(
        "CREATE INDEX calls_keys ON calls USING gin (call_keys(tenant_id, caller_number, caller_name, called_number, "
        "called_name, caller_ip, called_ip, caller_mac, called_mac, true)) WITH (fastupdate = off)"
    )
