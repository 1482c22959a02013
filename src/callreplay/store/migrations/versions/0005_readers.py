"""What clients of the database may read. The SQL stands beside this file, as one would show it."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from callreplay.store.migrations.beside import run_sql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


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
