"""What clients of the database may read. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from callreplay.store.migrations.beside import run, run_sql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


_REVOKE = """
DO $$
DECLARE
    reads  text := 'calls, call_files, storage_volumes';
    writes text := 'calls, call_files, call_events, tags';
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'callreplay_readonly') THEN
        EXECUTE format('REVOKE ALL ON %s FROM callreplay_readonly', reads);
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'callreplay_writer') THEN
        EXECUTE format('REVOKE ALL ON %s FROM callreplay_writer', writes);
        EXECUTE format('REVOKE ALL ON SEQUENCE %s, %s FROM callreplay_writer',
                       pg_get_serial_sequence('call_files', 'id'), pg_get_serial_sequence('call_events', 'id'));
        EXECUTE format('REVOKE USAGE ON SCHEMA %I FROM callreplay_writer', current_schema());
    END IF;
END
$$;
"""


def upgrade() -> None:
    """Run 0005_readers.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Take row security and the tables' grants away; the views are those of the first schema again."""
    for table in ("calls", "call_files", "call_events", "tags"):
        op.execute(f"DROP POLICY readers ON {table}")
        op.execute(f"DROP POLICY writers ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    first = Path(__file__).with_name("0001_schema.sql").read_text(encoding="utf-8")
    views = first[first.index("CREATE VIEW call_list") : first.index("-- The read-only role")]
    op.execute(views.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))
    op.execute("DROP FUNCTION reader_tenants()")
    op.execute("DROP TABLE reader_roles")
    # Without row security who may read the tables would see every tenant's calls.
    run(_REVOKE)
