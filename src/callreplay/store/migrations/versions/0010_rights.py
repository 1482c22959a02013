"""Roles as sets of rights, scopes of users and tokens, tickets. The SQL stands beside this file."""

from __future__ import annotations

from alembic import op

from callreplay.store.migrations.beside import run_sql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run 0010_rights.sql."""
    run_sql(__file__)


def downgrade() -> None:
    """Take it all away; a role of one's own becomes that of a user."""
    op.execute("DROP TABLE session_tickets")
    op.execute("ALTER TABLE api_tokens DROP COLUMN rights, DROP COLUMN made_by")
    op.execute("ALTER TABLE users DROP CONSTRAINT users_role, DROP COLUMN scope")
    op.execute("UPDATE users SET role = 'user' WHERE role NOT IN ('admin', 'auditor', 'user')")
    op.execute(
        "ALTER TABLE users ADD CONSTRAINT users_role_check CHECK (role IN ('admin', 'auditor', 'user'))"
    )
    op.execute("DROP TABLE roles")
