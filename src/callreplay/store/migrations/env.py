"""Alembic's entry: the caller hands over a connection that holds the migration lock."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
# A transaction for each: one that makes indexes while others write (migrations.beside) ends it before.
context.configure(
    connection=connection,
    transactional_ddl=True,
    transaction_per_migration=True,
    version_table="schema_version",
)
with context.begin_transaction():
    context.run_migrations()
