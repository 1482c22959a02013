"""Metrics of what is stored, and that the dashboard and the alerts ask for metrics that there are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from callreplay.service.stored_metrics import stored_text
from tests import programs

from .conftest import Running

pytestmark = pytest.mark.database
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def values(service: Running) -> dict[str, float]:
    """Each series by its name and labels."""
    lines = httpx.get(service.metrics).text.splitlines()
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")
    }


def known(service: Running) -> dict[str, set[str]]:
    """Every name that Prometheus will have, with the labels' names of those that have values by now."""
    text = httpx.get(service.metrics).text
    names: dict[str, set[str]] = {"up": {"job"}}
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        for suffix in ("", "_bucket", "_count", "_sum") if kind == "histogram" else ("",):
            names[name + suffix] = set()
    for name, labels in re.findall(r"^(\w+)\{([^}]*)\}", text, re.MULTILINE):
        names.setdefault(name, set()).update(re.findall(r"(\w+)=", labels))
    return names


def _expressions() -> list[str]:
    board = json.loads((DEPLOY / "monitoring" / "grafana.json").read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    rules = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text())
    found += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    docs = (DEPLOY.parent / "docs" / "operations.md").read_text()
    return [*found, *re.findall(r"`([^`]*callreplay_[a-z_]+(?:total|bytes|seconds|waiting)[^`]*)`", docs)]


def test_dashboard_alerts_and_pages_name_metrics_that_there_are(service: Running) -> None:
    with service.basic() as client:
        assert client.get(
            "/CallRecorder/Transcoder", params={"callerName": "ana"}, follow_redirects=True
        ).content
    service.logged_in().close()
    run("import", SAMPLES / "support.pcap", database_url=service.database_url)
    there = known(service)
    asked = set()
    for expression in _expressions():
        for name, labels in re.findall(r"\b(callreplay_\w+|up)\b(?:\{([^}]*)\})?", expression):
            assert name in there, f"{name} of {expression}"
            asked.add(name)
            assert set(re.findall(r"(\w+)\s*(?:=|!=|=~)", labels)) <= there[name], expression
        for labels in re.findall(r"\bby \(([^)]*)\)", expression):
            base = {label for name in re.findall(r"callreplay_\w+", expression) for label in there[name]}
            assert set(re.findall(r"\w+", labels)) <= base, expression
    shown = {
        name
        for name in there
        if name.startswith("callreplay_") and not name.endswith(("_created", "_sum", "_count"))
    }
    shown -= {"callreplay_transcode_first_byte_seconds", "callreplay_request_seconds"}  # by their buckets
    assert shown - asked == set(), "metrics that neither dashboard nor alerts show"


def run(*words: object, database_url: str) -> None:
    environment = {**os.environ, "CALLREPLAY_DATABASE_URL": database_url}
    programs.run(words, check=True, capture_output=True, env=environment)


def test_imports_and_volumes_are_counted(service: Running, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(b"no capture at all")
    before = values(service)
    run("import", SAMPLES / "reservation.pcap", database_url=service.database_url)
    with pytest.raises(subprocess.CalledProcessError):
        run("import", bad, database_url=service.database_url)
    now = values(service)

    def more(name: str) -> float:
        return now[name] - before.get(name, 0)

    assert more('callreplay_imported_captures_total{by="import",result="done"}') == 1
    assert more('callreplay_imported_captures_total{by="import",result="failed"}') == 1
    assert more('callreplay_imported_calls_total{by="import"}') == 0, "it was there"
    assert now["callreplay_database_up"] == 1
    [row] = service.rows("SELECT id, name, used_bytes FROM storage_volumes")
    labels = f'{{name="{row["name"]}",volume="{row["id"]}"}}'
    assert now[f"callreplay_volume_used_bytes{labels}"] == row["used_bytes"]
    assert now[f"callreplay_volume_usable{labels}"] == 1
    assert now[f"callreplay_volume_left_bytes{labels}"] > 0
    assert now["callreplay_call_stored_timestamp_seconds"] > 1.7e9


def test_without_a_database_the_rest_is_told() -> None:
    assert b"\ncallreplay_database_up 0.0\n" in stored_text(None)


def test_the_image_s_health_check(service: Running) -> None:
    port = service.base.rpartition(":")[2]
    script = DEPLOY / "docker" / "healthy"
    environment: dict[str, Any] = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert subprocess.run([script], env=environment | {"CALLREPLAY_PORT": port}, check=False).returncode == 0
    failed = subprocess.run(
        [script], env=environment | {"CALLREPLAY_PORT": "1"}, check=False, capture_output=True
    )
    assert failed.returncode != 0
