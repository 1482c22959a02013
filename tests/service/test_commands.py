"""Commands on the database: what they print of hostile calls, and what they say of what they could not do."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from callreplay import cli
from tests.cli.test_terminal import EVIL, OBEYED, hostile

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = pytest.mark.database
TENANT = "strange"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    service: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Run a command in this process, on a tenant of its own; its status and what it printed."""
    monkeypatch.setenv("CALLREPLAY_DATABASE_URL", service.database_url)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["callreplay", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    made = run("tenants", "add", TENANT)
    assert made[0] == 0, made
    try:
        yield run
    finally:
        tenant = "(SELECT id FROM tenants WHERE name = %s)"
        for table in ("calls", "users", "tags", "jobs"):
            service.rows(f"DELETE FROM {table} WHERE tenant_id = {tenant}", TENANT)
        service.rows("DELETE FROM tenants WHERE name = %s", TENANT)


def test_no_command_on_the_database_prints_what_a_terminal_obeys(
    service: Running, command: Command, tmp_path: Path
) -> None:
    name = EVIL.replace("/", "")
    good, broken = tmp_path / f"good{name}.pcap", tmp_path / f"broken{name}.pcap"
    good.write_bytes(hostile())
    broken.write_bytes(b"\x1b[2J no capture")
    of = ("--tenant", TENANT)
    said = 0

    def check(*words: str, status: int | None = 0) -> str:
        nonlocal said
        code, out, err = command(*words)
        assert status in (code, None), (words, code, out, err)
        for text in (out, err):
            assert not (found := OBEYED.search(text)), (words, found, text)
            said += "owned" in text
        return out

    assert "owned" in check("import", "--dry-run", "--json", str(good), *of)
    told = check("import", "--json", str(good), str(broken), *of, status=None)
    [call] = [json.loads(line) for line in told.splitlines()]
    uuid = call["callId"]
    service.rows("UPDATE calls SET description = %s, status = %s, source = %s, tags = %s WHERE uuid = %s",
                 EVIL, EVIL, EVIL, [EVIL], uuid)  # fmt: skip
    check("import", str(good), str(broken), *of, status=None)
    check("import", str(tmp_path / f"none{EVIL}"), *of, status=None)
    check("calls", "find", *of)
    assert "owned" in json.dumps(json.loads(check("calls", "find", "--json", *of)))
    check("calls", "find", "--csv", *of)
    json.loads(check("calls", "find", "--json", "--columns", "callerName,description", *of))
    check("calls", "find", "--caller-number", EVIL, *of)
    check("calls", "find", "--call-id", EVIL, *of, status=2)
    check("calls", "find", "--columns", EVIL, *of, status=2)
    check("calls", "tag", uuid, "--add", EVIL)
    check("calls", "tag", EVIL, "--add", "x", status=2)
    check("calls", "transcode", "--call-id", uuid, "-o", str(tmp_path / "out.wav"), *of)
    check("calls", "transcode", "--caller-name", EVIL, "-o", str(tmp_path / f"out.{name}"), *of, status=2)
    check(
        "batch",
        "--query",
        f"callId={uuid}",
        "-o",
        str(tmp_path / "batch"),
        "--workers",
        "1",
        *of,
        status=None,
    )
    check("users", "add", EVIL, *of, status=2)
    check("users", "delete", EVIL, *of, status=2)
    check("users", "list", "--tenant", EVIL, status=None)
    check("tenants", "add", EVIL, status=None)
    check("tenants", "list")
    check("tenants", "list", "--json")
    service.rows("DELETE FROM users WHERE tenant_id = (SELECT id FROM tenants WHERE name = %s)", EVIL)
    service.rows("DELETE FROM tenants WHERE name = %s", EVIL)
    check("volumes", "list")
    for words in (
        ("users", "list"),
        ("users", "roles"),
        ("tenants", "list"),
        ("volumes", "list"),
        ("jobs", "list"),
    ):
        [head, *rows] = csv.reader(io.StringIO(check(*words, "--csv")))
        listed = json.loads(check(*words, "--json"))
        assert len(rows) == len(listed), words
        if listed:
            shown = json.loads(check(*words, "--columns", head[0]))
            assert shown == [{head[0]: row[head[0]]} for row in listed]
    check("volumes", "add", str(tmp_path / f"gone{EVIL}" / "x" / "y"), status=None)
    check("audit", "verify")
    check("retain", "--set", EVIL, *of, status=2)
    check("retain", "--dry-run", "--set", "period", "--days", "1", *of)
    check("retain", "--dry-run", "--json", "--set", "period", "--days", "1", *of)
    assert said > 8, "such texts were there to be printed"
    service.rows("DELETE FROM storage_volumes WHERE path LIKE %s", f"{tmp_path}%")


def test_calls_that_stay_are_told_by_retain(service: Running, command: Command, tmp_path: Path) -> None:
    (tmp_path / "call.pcap").write_bytes(hostile())
    assert command("import", str(tmp_path / "call.pcap"), "--tenant", TENANT)[0] == 0
    [row] = service.rows("SELECT path FROM storage_volumes WHERE id = 1")
    volume, away = Path(row["path"]), Path(row["path"] + ".away")
    volume.rename(away)
    try:
        code, out, err = command("retain", "--json", "--set", "period", "--days", "1", "--tenant", TENANT)
        [line] = map(json.loads, out.splitlines())
        assert code == 1
        assert line["error"]
        assert f"callreplay: 1 calls stay: {line['error']}" in err.splitlines()
        assert err.splitlines()[-1] == "0 calls (0 B) removed", err
        code, out, err = command("retain", "--tenant", TENANT)
        assert (code, out) == (1, ""), "said again for as long as it is so"
        assert "1 calls stay" in err
    finally:
        away.rename(volume)
    assert service.rows("SELECT 1 FROM calls WHERE source LIKE %s", "%call.pcap")
    code, out, err = command("retain", "--json", "--tenant", TENANT)
    assert (code, "error" in json.loads(out)) == (0, False), err
    assert err.splitlines()[-1].startswith("1 calls (")


@pytest.mark.parametrize("kept", [200, 1500, -1])
def test_a_truncated_file_is_told_of_in_one_line(command: Command, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "call.pcap.gz"
    path.write_bytes(gzip.compress(hostile())[:kept])
    code, _, err = command("import", str(path), "--tenant", TENANT)
    told = [line for line in err.splitlines() if "call.pcap.gz" in line]
    assert len(told) == 1, err
    assert code in (0, 1, 2)
