"""Calls on an object store are played, transcoded and read by the octet as those in folders, and by batches."""

from __future__ import annotations

import io
import os
import wave
from importlib.util import find_spec
from pathlib import Path

import httpx

from callreplay.batch.manifest import read_rows
from tests import programs
from tests.captures import pcap
from tests.importing.test_rotation import call
from tests.scenario.stores import BUCKET, object_store
from tests.service.conftest import ended, fresh


def sound(data: bytes) -> bytes:
    with wave.open(io.BytesIO(data)) as file:
        frames: bytes = file.readframes(file.getnframes())
    return frames


def test_the_service_and_batches_read_stored_calls_from_an_object_store(tmp_path: Path) -> None:
    (tmp_path / "one.pcap").write_bytes(pcap(sorted(call(1, 0, 2))))
    with object_store() as (environment, bucket), ended(fresh()) as running:
        running.environment |= environment
        running.start()

        def command(*words: str) -> str:
            words = (*words, "--database-url", running.database_url)
            done = programs.run(words, capture_output=True, text=True, env=os.environ | environment)
            assert done.returncode == 0, done.stderr
            return str(done.stdout)

        url = f"s3://{BUCKET}/a"
        command("volumes", "add", url, "--name", "far", "--quota", "1G")
        assert "unlimited" in command("volumes", "list")
        command("volumes", "retire", "--volume-name", "Volume 1")
        command("import", str(tmp_path / "one.pcap"), "--volume-path", url)
        assert len([name for name in bucket.keys if ".rtp" in name]) == 4
        [row] = running.rows(
            "SELECT f.* FROM call_files f JOIN storage_volumes v ON v.id = f.volume_id "
            "WHERE f.leg = 'caller' AND v.name = 'far'"
        )
        [player] = running.rows("SELECT value FROM settings WHERE key = 'storage.player_password'")

        with running.basic() as client:
            wav = client.get(
                "/CallRecorder/Transcoder",
                params={"callerNumber": "101", "format": "wav"},
                follow_redirects=True,
            )
            assert (wav.status_code, wav.content[:4]) == (200, b"RIFF")
            png = client.get(
                "/CallRecorder/Transcoder",
                params={"callerNumber": "101", "format": "png"},
                follow_redirects=True,
            )
            assert png.content.startswith(b"\x89PNG")
        stored = bucket.keys[f"a/{row['path']}"].value
        place = f"{running.base}/CallRecorder/Storage/{row['volume_id']}/{row['path']}"
        with httpx.Client(auth=("player", player["value"])) as client:
            whole = client.get(place)
            assert whole.content == stored
            part = client.get(place, headers={"range": "bytes=100-299"})
            assert (part.status_code, part.content) == (206, stored[100:300])
            again = client.get(place, headers={"if-none-match": whole.headers["etag"]})
            assert again.status_code == 304
            assert client.get(place + "x").status_code == 404
        with running.logged_in() as client:
            assert client.get("/CallRecorder/Volumes").status_code == 200

        out = tmp_path / "out"
        command("batch", "--query", "callerNumber=101", "-o", str(out), "--manifest", str(out / "rows.jsonl"))
        [made] = out.rglob("*.wav")
        assert sound(made.read_bytes()) == sound(wav.content)

        # The same on Ray, whose tasks read the volume themselves and write to the store.
        if find_spec("ray") is not None:
            rows = tmp_path / "rays.jsonl"
            there = f"s3://{BUCKET}/made"
            words = ("--engine", "ray", "--workers", "1", "-o", there, "--manifest", str(rows))
            command("batch", "--query", "callerNumber=101", *words)
            [name] = [name for name in bucket.keys if name.startswith("made/")]
            assert name == f"made/{made.relative_to(out)}"
            assert bucket.keys[name].value == made.read_bytes()
            assert [row.error for row in read_rows(rows)] == [""]

        del bucket.keys["a/.callreplay/volume.json"]
        with httpx.Client(auth=("player", player["value"])) as client:
            assert client.get(place).status_code == 503
