"""What a migration did its downgrade undoes: the schema is the one before again, and what was in it before stays."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config
from psycopg.rows import tuple_row

from callreplay.store.database import MIGRATIONS, migrate

STORED, GOING = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
FIRST = f"""
    INSERT INTO users (id, tenant_id, login, password_hash, role)
        VALUES (1, 1, 'ana', 'x', 'auditor'), (2, 1, 'bo', 'x', 'user');
    INSERT INTO sessions (token_hash, user_id, csrf_token, expires_at) VALUES ('a', 1, 'c', now());
    INSERT INTO api_tokens (user_id, name, token_hash) VALUES (1, 'script', 'b');
    INSERT INTO login_failures (key, failures, failed_at) VALUES ('k', 3, now());
    INSERT INTO settings (key, value) VALUES ('a.setting', '{{"is": [1, 2]}}');
    INSERT INTO storage_volumes (id, path, quota_bytes, used_bytes) VALUES (1, '/nowhere', 5000, 4000);
    INSERT INTO tags (tenant_id, name, retention_days) VALUES (1, 'kept', 9);
    INSERT INTO calls (uuid, tenant_id, identity, wire_call_id, protocol, status, started_at, ended_at, caller_ip,
                       caller_number, called_number, called_name, description, tags, quality, backed_up_at)
        VALUES ('{STORED}', 1, 'one', 'c@h', 'sip', 'answered', '2026-01-02 03:04:05Z', '2026-01-02 03:05:05Z',
                '10.0.0.1', '101', '102', 'Ana', 'a note', '{{kept}}', '{{"mos": 4.1}}', now());
    INSERT INTO call_files (call_uuid, leg, position, volume_id, path, size_bytes, codec, duration_ms, packets, lost,
                            mos)
        VALUES ('{STORED}', 'caller', 1, 1, 'a-1.rtp', 9, 'PCMU', 60000, 3000, 30, 4.1),
               ('{STORED}', 'called', 2, 1, 'a-2.rtp', 9, 'PCMA', 60000, 3000, 0, 4.3);
    INSERT INTO call_events (call_uuid, at, leg, kind, detail) VALUES ('{STORED}', now(), 'caller', 'dtmf', '5');
    INSERT INTO audit_log (tenant_id, actor, action, object, address) VALUES (1, 'ana', 'play', '{STORED}', '10.0.0.9');
"""
LAST = f"""
    INSERT INTO roles (name, rights) VALUES ('guard', '{{search}}');
    UPDATE users SET role = 'guard', scope = 'tag=kept' WHERE id = 2;
    INSERT INTO jobs (tenant_id, kind, actor) VALUES (1, 'import', 'ana');
    INSERT INTO recorders (uuid, spools) VALUES ('{GOING}', '/spool');
    INSERT INTO calls (uuid, tenant_id, identity, status, started_at, ended_at)
        VALUES ('{GOING}', 1, 'two', 'in progress', now(), now());
    INSERT INTO calls_in_progress (call_uuid, recorder) VALUES ('{GOING}', '{GOING}');
    UPDATE calls SET hop_numbers = ' 103', talk_ms = 40000, silence_ms = 5000 WHERE uuid = '{STORED}';
"""
SCHEMA = (
    "SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated, "
    "pg_get_expr(d.adbin, d.adrelid) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
    "LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE c.relnamespace = 'public'::regnamespace "
    "AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped",
    "SELECT 'index', pg_get_indexdef(i.indexrelid), i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
    "WHERE c.relnamespace = 'public'::regnamespace",
    "SELECT 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint "
    "WHERE connamespace = 'public'::regnamespace",
    "SELECT 'trigger', pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "SELECT 'function', pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace "
    "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')",
    "SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'public'",
    "SELECT 'policy', tablename, policyname, roles, cmd, qual, with_check FROM pg_policies WHERE schemaname = 'public'",
    "SELECT 'rows', relname FROM pg_class WHERE relrowsecurity AND relnamespace = 'public'::regnamespace",
    "SELECT 'grant', c.relname, g.grantee::regrole, g.privilege_type FROM pg_class c, "
    "aclexplode(coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r' END, c.relowner))) g "
    "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'S')",
)  # fmt: skip


class Old:
    """A database whose schema goes up and down."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, text: str) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(text)

    def schema(self) -> set[str]:
        with psycopg.connect(self.url, row_factory=tuple_row) as connection:
            connection.execute("SET search_path = public")
            return {str(row) for each in SCHEMA for row in connection.execute(each)}

    def columns(self) -> dict[str, list[str]]:
        with psycopg.connect(self.url, row_factory=tuple_row) as connection:
            rows = connection.execute(
                "SELECT table_name, column_name FROM information_schema.columns "
                "JOIN pg_tables ON tablename = table_name "
                "WHERE table_schema = 'public' AND schemaname = 'public' AND tablename <> 'schema_version'"
            ).fetchall()
        found: dict[str, list[str]] = {}
        for table, column in rows:
            found.setdefault(table, []).append(column)
        return found

    def content(self, columns: dict[str, list[str]]) -> dict[str, set[str]]:
        """The rows of each table, as far as it has these columns."""
        with psycopg.connect(self.url, row_factory=tuple_row) as connection:
            return {
                table: {
                    str(row) for row in connection.execute(f"SELECT {', '.join(sorted(names))} FROM {table}")
                }
                for table, names in columns.items()
            }

    def down(self, target: str) -> None:
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg://", creator=lambda: psycopg.connect(self.url), poolclass=sqlalchemy.NullPool
        )
        with engine.connect() as connection:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.downgrade(config, target)
            connection.commit()


@pytest.fixture
def old(bare: str) -> Old:
    """A database without a schema."""
    return Old(bare)


def expected(version: str, before: dict[str, set[str]]) -> dict[str, set[str]]:
    """What the downgrade of a version says that it changes of older tables."""
    if version == "0018":  # calls that were not stored yet go
        before["calls"] = {row for row in before["calls"] if "in progress" not in row}
    if version == "0010":  # a role of one's own becomes that of a user
        before["users"] = {row.replace("'guard'", "'user'") for row in before["users"]}
    return before


def test_every_downgrade(old: Old) -> None:
    versions = sorted(path.name[:4] for path in MIGRATIONS.glob("versions/[0-9]*.py"))
    schemas: dict[str, set[str]] = {}
    columns: dict[str, dict[str, list[str]]] = {}
    for version in versions:
        migrate(old.url, version)
        if version == versions[0]:
            old.run(FIRST)
        schemas[version], columns[version] = old.schema(), old.columns()
    old.run(LAST)
    for version, below in zip(versions[:0:-1], versions[-2::-1], strict=True):
        before = expected(version, old.content(columns[below]))
        old.down(below)
        after = old.schema()
        assert (after - schemas[below], schemas[below] - after) == (set(), set()), version
        assert old.content(columns[below]) == before, version
    with pytest.raises(NotImplementedError, match="first schema"):
        old.down("base")
    kept = old.content(columns[versions[0]])
    migrate(old.url)
    assert old.schema() == schemas[versions[-1]]
    assert old.content(columns[versions[0]]) == kept
