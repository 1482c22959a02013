"""Words in the order of their calls. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import create_index, drop_index, in_portions, run_sql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0022_words_in_order.sql, give the words that there are their places, some at a time, and make the index."""
    run_sql(__file__)
    in_portions(
        "WITH portion AS (SELECT call_uuid FROM call_words WHERE call_uuid > %s ORDER BY call_uuid LIMIT 2000), "
        "placed AS (UPDATE call_words w SET tenant_id = NULL FROM portion "  # the trigger knows it better
        "WHERE w.call_uuid = portion.call_uuid AND w.started_at IS NULL) "
        "SELECT call_uuid FROM portion ORDER BY call_uuid DESC LIMIT 1"
    )
    create_index("call_words_time", "ON call_words (tenant_id, started_at, call_uuid)")
    op.execute("ANALYZE call_words")


def downgrade() -> None:
    """Words without places."""
    drop_index("call_words_time")
    op.execute("DROP TRIGGER move_words ON calls")
    op.execute("DROP TRIGGER place_words ON call_words")
    op.execute("DROP FUNCTION move_words()")
    op.execute("DROP FUNCTION place_words()")
    op.execute("ALTER TABLE call_words DROP COLUMN tenant_id, DROP COLUMN started_at")
