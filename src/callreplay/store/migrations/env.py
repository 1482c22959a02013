"""Alembic's entry: the caller hands over a connection that holds the migration lock."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transactional_ddl=True, version_table="schema_version")
with context.begin_transaction():
    context.run_migrations()
