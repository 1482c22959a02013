"""A parameter is one row: added to a table, it goes through every door."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Running

pytestmark = pytest.mark.database

# Each table's source with a row more, in the place of the module before anything else imports it.
ADDED = """
import importlib.util, json, sys

def with_row(name, before, row):
    spec = importlib.util.find_spec(name)
    source = spec.loader.get_source(name)
    assert source.count(before) == 1
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(source.replace(before, row + before), spec.origin, "exec"), module.__dict__)
    setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], module)

with_row("callreplay.store.query", "    @classmethod\\n    def parse(",
         '    room: str = _text("room", mark("Room"), "A part of the room.", example="b2")\\n\\n')
with_row("callreplay.outputs.options", "    def __post_init__(",
         '    echo: int = whole(0, "wav: echoes.", 0, 9, panel=_SOUND, example="3")\\n\\n')

from zoneinfo import ZoneInfo
from starlette.testclient import TestClient
from typer.main import get_command
from callreplay.cli.app import build
from callreplay.outputs.options import Options
from callreplay.service import openapi
from callreplay.service.app import create_app
from callreplay.service.settings import Settings
from callreplay.store.search import Reach
from tests.generated import files

url, password, folder = sys.argv[1:]
command = get_command(build([]))
document = openapi.build()
said = {
    "cli find": sorted(f for p in command.commands["calls"].commands["find"].params for f in p.opts if f == "--room"),
    "cli transcode": [f for p in command.commands["transcode"].params for f in p.opts if f == "--echo"],
    "openapi": sorted(p["name"] for p in document["paths"]["/CallRecorder/Transcoder"]["get"]["parameters"]
                      if p["name"] in ("room", "echo")),
    "openapi call": document["components"]["schemas"]["Call"]["properties"]["room"],
    "scope": Reach.parse(1, "room=b2", ZoneInfo("UTC")).within[0].room,
    "options": Options(echo=3).echo,
    "made": sorted(path.name for path, text in files().items() if "echo" in text),
    "reference": ["`room`" in text for path, text in files().items() if path.name == "parameters.md"],
}
with TestClient(create_app(Settings(database_url=url, data_dir=folder)), base_url="http://testserver") as client:
    find = lambda **query: client.get("/CallRecorder/Transcoder", params=query, auth=("admin", password),
                                      follow_redirects=False)
    said["json"] = [call["room"] for call in find(format="json", room="B2").json()]
    said["json, another"] = find(format="json", room="c3").json()
    said["too long"] = find(format="json", room="x" * 257).json()["parameter"]
    said["echo"] = find(room="b2", echo="3").status_code
    said["echo, too much"] = find(room="b2", echo="10").json()["parameter"]
    client.post("/CallRecorder/Login", data={"user": "admin", "password": password})
    page = client.get("/CallRecorder/", params={"room": "b2"}).text
    said["page"] = ['name="room" value="b2"' in page, page.count('id="call-')]
print(json.dumps(said))
"""


def test_a_row_goes_through_every_door(service: Running, call: dict[str, Any], tmp_path: Path) -> None:
    service.rows("ALTER TABLE calls ADD COLUMN room text NOT NULL DEFAULT ''")
    try:
        service.rows("UPDATE calls SET room = 'Hall B2' WHERE uuid = %s", call["callId"])
        done = subprocess.run(
            [sys.executable, "-c", ADDED, service.database_url, service.password, str(tmp_path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    finally:
        service.rows("ALTER TABLE calls DROP COLUMN room")
    assert json.loads(done.stdout) == {
        "cli find": ["--room"],
        "cli transcode": ["--echo"],
        "openapi": ["echo", "room"],
        "openapi call": {"type": "string"},
        "scope": "b2",
        "options": 3,
        "made": ["option_values.py", "parameters.md"],
        "reference": [True],
        "json": ["Hall B2"],
        "json, another": [],
        "too long": "room",
        "echo": 302,
        "echo, too much": "echo",
        "page": [True, 1],
    }
