"""Storage, retention, tenants, roles, jobs and the audit log, administered in the browser."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from .conftest import Running, ended, fresh

if TYPE_CHECKING:
    from uuid import UUID

pytestmark = pytest.mark.database
BASE = "/CallRecorder"


class Desk:
    """An administrator's browser."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.client = running.logged_in()
        self.client.headers["accept"] = "text/html"
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("Users"))
        assert found is not None
        self.csrf = found[1]

    def get(self, place: str) -> str:
        answer = self.client.get(f"{BASE}/{place}")
        assert answer.status_code == 200, answer.text[:2000]
        return answer.text

    def post(self, place: str, status: int = 303, **fields: str) -> httpx.Response:
        answer = self.client.post(f"{BASE}/{place}", data={"csrf": self.csrf, **fields})
        assert answer.status_code == status, answer.text[:3000]
        return answer

    def last(self) -> dict[str, Any]:
        [row] = self.running.rows("SELECT * FROM audit_log ORDER BY id DESC LIMIT 1")
        return row

    def job(self, kind: str) -> dict[str, Any]:
        """The last job of a kind, when it has ended."""
        deadline = time.monotonic() + 60
        while True:
            [row] = self.running.rows("SELECT * FROM jobs WHERE kind = %s ORDER BY id DESC LIMIT 1", kind)
            if row["state"] != "running":
                return row
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture(scope="module")
def own() -> Iterator[Running]:
    """A service whose calls may go."""
    with ended(fresh(("--samples", "auto"))) as running:
        yield running.start()


@pytest.fixture(scope="module")
def desk(own: Running) -> Iterator[Desk]:
    opened = Desk(own)
    yield opened
    opened.client.close()


@pytest.fixture
def ana(own: Running) -> UUID:
    [row] = own.rows("SELECT uuid FROM calls WHERE caller_name = 'Ana Pop'")
    return row["uuid"]  # type: ignore[no-any-return]


# The tests run in this order: the last ones remove calls.


def test_a_volume_is_added_changed_joined_moved_and_retired(desk: Desk, own: Running) -> None:
    folder = own.folder / "more"
    desk.post("Volumes/add", path=str(folder), name="Second", quota="2 GiB", reserved="100M")
    assert desk.last()["action"] == "volume.add"
    assert (desk.last()["actor"], str(desk.last()["address"]).split("/")[0]) == ("admin", "127.0.0.1")
    [row] = own.rows("SELECT id, quota_bytes, reserved_bytes FROM storage_volumes WHERE name = 'Second'")
    assert (row["quota_bytes"], row["reserved_bytes"]) == (2 * 2**30, 10**8)
    place = f"Volumes/{row['id']}"
    assert 'value="2 GiB"' in desk.get("Volumes")

    desk.post(place, action="change", name="Archive", quota="3GiB", reserved="0")
    assert desk.last()["detail"] == {"name": "Archive", "quota": 3 * 2**30, "reserved": 0}
    for wrong in ({"quota": "much"}, {"quota": "1k", "reserved": "2k"}, {"name": "Volume 1"}):
        page = desk.post(place, 400, action="change", **{"name": "Archive", **wrong}).text
        assert 'role="alert"' in page
    assert own.rows("SELECT 1 FROM storage_volumes WHERE name = 'Archive' AND quota_bytes = 3221225472")
    assert 'role="alert"' in desk.post("Volumes/add", 400, path="relative").text

    desk.post("Volumes/1", action="join", into=str(row["id"]))
    job = desk.job("join")
    assert (job["state"], job["done"], job["total"], job["what"]) == ("done", 3, 3, "Volume 1 → Archive")
    assert job["result"]["calls"] == 3
    assert own.rows("SELECT 1 FROM call_files WHERE volume_id = 1") == []
    assert "Archive" in desk.get("Jobs")

    moved = own.folder / "elsewhere"
    assert 'role="alert"' in desk.post(place, 400, action="move", path=str(moved)).text, "nothing is there"
    folder.rename(moved)
    desk.post(place, action="move", path=str(moved))
    desk.post(place, action="retire")
    assert desk.last()["detail"] == {"removed": False}
    assert "takes no new calls" in desk.get("Volumes")
    desk.post(place, action="use")
    assert own.rows("SELECT 1 FROM storage_volumes WHERE deleted_at IS NOT NULL") == []
    assert (
        desk.client.post(f"{BASE}/Volumes/999", data={"csrf": desk.csrf, "action": "retire"}).status_code
        == 400
    )
    desk.post(place, 400, action="burn")


def test_a_call_is_tagged_and_held_from_its_details(desk: Desk, own: Running, ana: UUID) -> None:
    answer = desk.post(f"Call/{ana}/tags", tags=" complaint ,, vip,<b>", callerName="ana")
    assert answer.headers["location"] == f"{BASE}/?callerName=ana&callDetails={ana}&saved"
    assert own.rows("SELECT tags FROM calls WHERE uuid = %s", ana)[0]["tags"] == ["<b>", "complaint", "vip"]
    desk.post(f"Call/{ana}/tags", tags="vip")
    assert own.rows("SELECT tags FROM calls WHERE uuid = %s", ana)[0]["tags"] == ["vip"]
    assert desk.last()["action"] == "call.tag"
    desk.post(f"Call/{ana}/hold", action="hold", reason="case 7")
    assert (desk.last()["action"], desk.last()["reason"]) == ("call.hold", "case 7")
    assert "Release from legal hold" in desk.get(f"?callDetails={ana}")
    assert str(ana) in desk.get("Retention")


def test_who_is_bound_to_some_calls_changes_no_others(desk: Desk, own: Running, ana: UUID) -> None:
    desk.post("Users/add", login="bound", password="bound's password", role="admin", scope="callerNumber=999")
    with own.client() as entering:
        entering.post(f"{BASE}/Login", data={"user": "bound", "password": "bound's password"})
        page = entering.get(f"{BASE}/Retention").text
        found = re.search(r'name="csrf" value="([^"]+)"', page)
        assert found is not None
        csrf = {"csrf": found[1]}
        assert "Erase by number" not in page
        assert entering.post(f"{BASE}/Call/{ana}/hold", data={**csrf, "action": "release"}).status_code == 404
        assert entering.post(f"{BASE}/Call/{ana}/tags", data={**csrf, "tags": ""}).status_code == 404
        assert entering.post(f"{BASE}/Retention/erase", data={**csrf, "number": "1"}).status_code == 403


def test_policies_are_tried_set_and_told_apart_by_tag(desk: Desk, own: Running, ana: UUID) -> None:
    page = desk.get("Retention?policy=period&days=1")
    assert page.count("its period is over · 1 day") == 2, "of three calls one is under legal hold"
    assert own.rows("SELECT retention FROM tenants")[0]["retention"] == "forever", "only tried"
    desk.post("Retention/change", action="policy", policy="period", days="30000")
    assert desk.last()["detail"] == {"policy": "period", "days": 30000}
    assert (
        'role="alert"' in desk.post("Retention/change", 400, action="policy", policy="period", days="").text
    )
    desk.post("Retention/change", action="tag", tag="vip", days="7")
    assert desk.last()["object"] == "vip"
    assert 'value="7"' in desk.get("Retention")
    desk.post("Retention/change", action="backup", before="2030-01-01T00:00")
    assert desk.last()["detail"]["calls"] == 3
    desk.post("Retention/change", 400, action="backup", before="soon")


def test_tenants_are_made_and_locked(desk: Desk, own: Running) -> None:
    page = desk.post("Tenants/add", 200, name="acme", zone="Europe/Riga", login="boss").text
    found = re.search(r'class="token">([^<]+)<', page)
    assert found is not None
    with own.client() as entering:
        given = {"user": "boss", "password": found[1], "tenant": "acme"}
        assert entering.post(f"{BASE}/Login", data=given).status_code == 303
        assert entering.get(f"{BASE}/Tenants").status_code == 403
        assert "Ana" not in entering.get(f"{BASE}/Jobs").text
        desk.post("Tenants/change", name="acme", action="lock")
        assert entering.get(f"{BASE}/Users").status_code == 401
    desk.post("Tenants/change", name="acme", action="zone", zone="Europe/Paris")
    assert desk.last()["detail"] == {"zone": "Europe/Paris"}
    assert "Europe/Paris" in desk.get("Tenants")
    for place, wrong in (
        ("Tenants/add", {"name": "acme", "zone": "UTC"}),
        ("Tenants/add", {"name": "b", "zone": "Europe/Nowhere"}),
        ("Tenants/change", {"name": "nobody", "action": "lock"}),
        ("Tenants/change", {"name": "default", "action": "lock"}),
    ):
        desk.post(place, 400, **wrong)


def test_roles_are_defined(desk: Desk, own: Running) -> None:
    desk.post("Users/roles", role="eraser", right_search="1", right_delete="1")
    assert own.rows("SELECT rights FROM roles WHERE name = 'eraser'")[0]["rights"] == ["search", "delete"]
    desk.post("Users/roles", 400, role="admin", right_search="1")
    desk.post("Users/roles", 400, role="nothing")


def test_the_audit_log_is_exported_and_verified(desk: Desk, own: Running) -> None:
    own.rows("INSERT INTO audit_log (actor, action, object) VALUES ('=1+1', 'login.refused', '@x')")
    rows = list(csv.DictReader(io.StringIO(desk.get("Audit/export?format=csv"))))
    assert rows[0]["action"] == "audit.export", "taking it along is a row too"
    assert (rows[1]["actor"], rows[1]["object"]) == ("'=1+1", "'@x"), "no formula for a spreadsheet"
    [count] = own.rows(
        "SELECT count(*) AS n FROM audit_log a LEFT JOIN tenants t ON t.id = tenant_id "
        "WHERE coalesce(t.name, 'default') = 'default'"
    )
    assert len(rows) == count["n"], "of another tenant's rows none"
    lines = [json.loads(line) for line in desk.get("Audit/export?format=json&action=volume.add").splitlines()]
    assert {line["action"] for line in lines} == {"volume.add"}
    assert lines[0]["detail"]["quota"] == 2 * 2**30
    assert desk.client.get(f"{BASE}/Audit/export?beginTime=x").status_code == 400
    head = re.search(r"<code>(\d+:[0-9a-f]{64})</code>", desk.post("Audit/verify", 200).text)
    assert head is not None
    own.rows("ALTER TABLE audit_log DISABLE TRIGGER USER")
    own.rows("UPDATE audit_log SET actor = 'nobody' WHERE id = 3")
    assert "row 3 of the audit log is not what was written" in desk.post("Audit/verify", 200).text
    own.rows("ALTER TABLE audit_log ENABLE TRIGGER USER")


def test_a_number_is_erased_after_a_look(desk: Desk, own: Running, ana: UUID) -> None:
    [other] = own.rows("SELECT uuid, caller_number FROM calls WHERE uuid <> %s LIMIT 1", ana)
    files = own.rows(
        "SELECT v.path AS root, f.path FROM call_files f JOIN storage_volumes v ON v.id = volume_id "
        "WHERE call_uuid = %s",
        other["uuid"],
    )
    page = desk.get(f"Retention?number={other['caller_number']}&reason=request 12")
    assert "Erase 1 call for ever" in page
    assert own.rows("SELECT 1 FROM calls WHERE uuid = %s", other["uuid"]), "only looked at"
    desk.post("Retention/erase", number=other["caller_number"], reason="request 12")
    job = desk.job("erase")
    assert (job["state"], job["result"]["calls"], job["actor"]) == ("done", 1, "admin")
    assert own.rows("SELECT 1 FROM calls WHERE uuid = %s", other["uuid"]) == []
    assert not any(Path(file["root"], file["path"]).exists() for file in files)
    [row] = own.rows("SELECT actor, reason FROM audit_log WHERE action = 'call.delete'")
    assert row == {"actor": "admin", "reason": "erased by number: request 12"}
    held = own.rows("SELECT caller_number FROM calls WHERE uuid = %s", ana)[0]["caller_number"]
    page = desk.get(f"Retention?number={held}")
    assert "1 call under legal hold stays." in page
    assert "No call matches." in page
    desk.post("Retention/erase", number=held)
    assert desk.job("erase")["result"] == {"failed": 1}
    assert own.rows("SELECT 1 FROM calls WHERE uuid = %s", ana)


def test_what_is_to_go_goes_and_a_job_is_cancelled(desk: Desk, own: Running) -> None:
    [row] = own.rows(
        "INSERT INTO jobs (kind, what, actor, total) VALUES ('import', '<b>captures</b>', 'system', 10) RETURNING id"
    )
    page = desk.get("Jobs")
    assert "data-refresh" in page
    assert "&lt;b&gt;captures" in page
    desk.post(f"Jobs/{row['id']}/cancel")
    assert own.rows("SELECT 1 FROM jobs WHERE id = %s AND cancel_asked_at IS NOT NULL", row["id"])
    assert "ending…" in desk.get("Jobs")
    own.rows("UPDATE jobs SET state = 'cancelled' WHERE id = %s", row["id"])
    desk.post(f"Jobs/{row['id']}/cancel", 404)
    desk.post("Retention/change", action="policy", policy="period", days="1")
    desk.post("Retention/run")
    job = desk.job("retain")
    assert (job["state"], job["result"]["calls"]) == ("done", 1), "the one that is neither held nor erased"
