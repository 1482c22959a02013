"""docs/embedding.md: its example is run as it stands."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from callreplay.service.app import create_app
from callreplay.service.settings import Settings

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = pytest.mark.database
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The application on a free port, its lifespan with it."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
    assert not thread.is_alive()


def test_the_example_mounts_the_service_in_fastapi(service: Running, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [example] = [block for block in blocks if "create_app(" in block]
    assert example.count('"postgresql://…"') == example.count('"/srv/callreplay"') == 1
    example = example.replace("postgresql://…", service.database_url)
    example = example.replace("/srv/callreplay", str(tmp_path))
    names: dict[str, Any] = {}
    exec(compile(example, "embedding.md", "exec"), names)
    with serving(names["app"]) as base, httpx.Client(base_url=base, timeout=30) as client:
        place = "/telephony/CallRecorder/"
        page = client.get(place)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert 'name="password"' in page.text
        assert 'action="/telephony/CallRecorder/Login"' in page.text
        style = re.search(r'href="(/telephony/CallRecorder/static/[^"]+\.css[^"]*)"', page.text)
        assert style
        assert client.get(style[1]).status_code == 200
        given = {"user": "admin", "password": service.password}
        entered = client.post(place + "Login", data=given)
        assert (entered.status_code, entered.headers["location"][: len(place)]) == (303, place)
        answer = client.get(place + "Transcoder", params={"format": "wav"})
        assert answer.status_code == 302
        assert answer.headers["location"].startswith(place + "Temp/")
        assert client.get(answer.headers["location"]).content.startswith(b"RIFF")
        assert client.get("/telephony/readyz").json()["ready"] is True
        assert names["recorder"].state.service.is_open
    assert not names["recorder"].state.service.is_open, "the host's end closes it"


def test_a_database_that_is_away_at_the_first_request_is_503(service: Running, tmp_path: Path) -> None:
    place = service.database_url
    port = place.rsplit(":", 1)[1].split("/")[0]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        away = place.replace(f":{port}/", f":{taken.getsockname()[1]}/")
    app = create_app(Settings(database_url=away, data_dir=str(tmp_path)))

    async def ask(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get(path)

    for _ in range(2):
        answer = asyncio.run(ask("/CallRecorder/"))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "CallReplay_2005" not in answer.text
    assert asyncio.run(ask("/healthz")).status_code == 200
    assert not app.state.service.is_open
