"""Scripts and styles: kept by browsers for as long as they are the same, found under any version."""

from __future__ import annotations

import re

import httpx
import pytest

from callreplay.service.static_files import static_version

from .conftest import Running

pytestmark = pytest.mark.database
STATIC = "/CallRecorder/static/"


def test_what_a_page_names_is_kept_and_what_has_changed_is_asked_for_again(service: Running) -> None:
    with service.client() as client:
        page = client.get("/CallRecorder/").text
        named = re.findall(rf'(?:href|src)="({STATIC}[^"]+)"', page)
        assert len(named) >= 4
        for place in named:
            assert place.startswith(STATIC + static_version() + "/")
            answer = client.get(place)
            assert answer.status_code == 200
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            again = client.get(place, headers={"if-none-match": answer.headers["etag"]})
            assert again.status_code == 304
        for place in ("v-000000000000/player.js", "player.js"):
            answer = client.get(STATIC + place)
            assert answer.status_code == 200, "of a page that an older release made"
            assert answer.headers["cache-control"] == "no-cache"
            assert answer.headers["etag"]


@pytest.mark.parametrize(
    "path", ["v-000000000000/../app.py", "v-000000000000/..%2fapp.py", "v-000000000000/none.js"]
)
def test_nothing_else_is_there(service: Running, path: str) -> None:
    with httpx.Client(base_url=service.base) as client:
        assert client.get(STATIC + path).status_code == 404
