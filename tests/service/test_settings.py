"""Settings of three places, of which one wins; what is wrong in any of them is told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from callreplay.errors import ArgumentError
from callreplay.service.settings import Settings, load


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "callreplay.toml"
    file.write_text('port = 1\nworkers = 2\ndb_pool = 3\ntrusted_proxies = ["192.0.2.1"]\nspeech = true\n')
    environment = {"CALLREPLAY_PORT": "11", "CALLREPLAY_WORKERS": "12", "CALLREPLAY_CONFIG": str(file)}
    found = load({"port": 21, "workers": None}, environment)
    assert (found.port, found.workers, found.db_pool) == (21, 12, 3)
    assert (found.trusted_proxies, found.speech) == (("192.0.2.1",), True)
    assert load({}, {}).port == Settings().port


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"port = ", "callreplay.toml: "),
        (b"port = 8080 # \xff", "callreplay.toml: "),
        (b"ports = 8080\nworker = 1", "there is no setting ports, worker"),
        (b"port = true", "port must be a whole number, not True"),
        (b'port = "x"', "port must be a whole number, not 'x'"),
        (b"port = 99999", "port must be 0 to 65535, not 99999"),
        (b"auth_header = 5", "auth_header must be a text, not 5"),
        (b'speech = "perhaps"', "speech must be true or false, not 'perhaps'"),
        (b"trusted_proxies = 5", "trusted_proxies must be a list, not 5"),
        (b'log_level = "loud"', "log_level must be debug, info, warning or error, not 'loud'"),
    ],
)
def test_what_is_wrong_in_the_file_is_told(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "callreplay.toml"
    file.write_bytes(content)
    with pytest.raises(ArgumentError) as raised:
        load({}, {}, file)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "origin",
    [
        "crm.example.com",
        "*",
        "'self'",
        "https://a.example; script-src *",
        "https://a.example,https://b",
        "https://a b",
    ],
)
def test_an_ancestor_that_would_say_more_than_itself_is_refused(origin: str) -> None:
    """It stands in a Content-Security-Policy of every page."""
    values: dict[str, Any] = {"frame_ancestors": (origin,)}
    with pytest.raises(ArgumentError, match=r"frame_ancestors: .* is not an origin"):
        Settings(**values)
    assert Settings(frame_ancestors=("https://crm.example.com",)).frame_ancestors
