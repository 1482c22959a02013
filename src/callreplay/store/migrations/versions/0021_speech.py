"""Who talks how long, on the call itself. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import create_index, drop_index, run_sql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_INDEXES = {
    "calls_talk": ("talk_ms", "talk_ms"),
    "calls_silence": ("(silence_ms * 100.0::float8 / nullif(talk_ms + silence_ms, 0))", "silence_ms"),
}


def upgrade() -> None:
    """Run 0021_speech.sql, then make the indexes; they have the calls that figures are known of, and no others."""
    run_sql(__file__)
    for name, (what, known) in _INDEXES.items():
        create_index(name, f"ON calls (tenant_id, {what}, started_at, uuid) WHERE {known} IS NOT NULL")


def downgrade() -> None:
    """Forget the figures; the view as it was."""
    for name in _INDEXES:
        drop_index(name)
    op.execute("DROP VIEW call_list")
    op.execute(
        "ALTER TABLE calls DROP COLUMN talk_ms, DROP COLUMN silence_ms, DROP COLUMN overlap_ms, "
        "DROP COLUMN caller_talk_ms, DROP COLUMN called_talk_ms, DROP COLUMN caller_monologue_ms, "
        "DROP COLUMN called_monologue_ms, DROP COLUMN caller_interruptions, DROP COLUMN called_interruptions"
    )
    run_sql(__file__.replace("0021_speech", "0021_speech_down"))
