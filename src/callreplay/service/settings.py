"""The service's settings: one table, three sources.

A flag of ``callreplay serve`` outweighs the environment (``CALLREPLAY_DATA_DIR`` for ``data_dir``), which outweighs the
file (TOML, the same names, named by ``--config`` or ``CALLREPLAY_CONFIG``), which outweighs the default.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, get_type_hints

from callreplay.cores import cores
from callreplay.errors import ArgumentError
from callreplay.store.cluster import DEFAULT_PASSWORD
from callreplay.store.passwords import is_common
from callreplay.store.places import home_data_dir

__all__ = ["PREFIX", "SHORTEST_PASSWORD", "Settings", "listen_address", "load", "table"]

PREFIX: Final = "CALLREPLAY_"
SHORTEST_PASSWORD: Final = 8
"""Characters of any password, whatever is set; ``password_length`` may ask more of users."""


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. Sizes in octets, times in seconds."""

    data_dir: str = _setting(
        "", "Where everything lives. Empty: /var/lib/callreplay for root, else the user's data folder."
    )
    host: str = _setting("127.0.0.1", "Address to serve on.")
    port: int = _setting(8080, "TCP port to serve on; 0 takes any free one.")
    workers: int = _setting(1, "Worker processes.")
    database_url: str = _setting("", "Any PostgreSQL 14 or newer instead of the embedded one.")
    db_host: str = _setting("127.0.0.1", "Address that the embedded PostgreSQL listens on.")
    db_port: int = _setting(5432, "TCP port of the embedded PostgreSQL; 0 takes any free one.")
    db_password: str = _setting(
        "", "Password of the database user callreplay. Empty: the one set before, else CallReplay_2005."
    )
    db_writes: bool = _setting(
        False, "Let the database user callreplay write calls, files, events and tags; else it reads."
    )
    db_pool: int = _setting(
        16, "Greatest number of database connections of one worker, besides one for short statements."
    )
    samples: str = _setting(
        "auto", "Folder of captures to import at first start; 'auto' for the bundled ones, empty for none."
    )
    tls_cert: str = _setting(
        "", "PEM file of the certificate (with those between it and its root): serve https."
    )
    tls_key: str = _setting("", "PEM file of the certificate's key.")
    connections: int = _setting(
        1000, "Connections at once, in all; less where the system allows fewer files."
    )
    address_connections: int = _setting(200, "Connections at once of one address.")
    header_seconds: int = _setting(10, "A request's headers must have come after this long; so must a form.")
    get_login: bool = _setting(True, "Accept user and password in URLs (GET).")
    password_length: int = _setting(8, "The fewest characters of a user's password.")
    session_seconds: int = _setting(43200, "A session ends after this long,")
    session_idle_seconds: int = _setting(7200, "or after this long without a request.")
    frame_ancestors: tuple[str, ...] = _setting(
        (), "Origins that may show pages in an iframe, e.g. https://crm.example.com."
    )
    secure_cookies: bool = _setting(
        False, "Mark cookies Secure even where the service itself sees plain http (a proxy has TLS)."
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (), "Addresses or networks of proxies whose X-Forwarded-For and -Proto are believed."
    )
    auth_header: str = _setting(
        "", "Header in which trusted_proxies name the user that they logged in, e.g. X-Forwarded-User."
    )
    auth_role: str = _setting("user", "Role of a user that such a header names for the first time.")
    url_seconds: int = _setting(600, "Temporary URLs expire after this long.")
    cache_bytes: int = _setting(2 * 2**30, "Bound of the cache of transcoded calls.")
    transcodes: int = _setting(0, "Calls that one worker transcodes at once; 0: as many as processors.")
    json_limit: int = _setting(0, "Calls that format=json answers with when limit is left out; 0: all.")
    metrics: bool = _setting(False, "Serve /metrics to everybody, at the address of the pages.")
    metrics_listen: str = _setting("", "HOST:PORT of its own for /metrics, e.g. 127.0.0.1:9464.")
    import_paths: tuple[str, ...] = _setting(
        (), "Folders whose captures administrators of tenant default may import on the page Jobs."
    )
    batch_path: str = _setting(
        "", "Folder into which they may have calls of the list rendered, a folder a batch. Empty: nobody may."
    )
    record: str = _setting("", "Record calls beside the service: interfaces (eth1,eth2), hep:PORT, or both.")
    speech: bool = _setting(
        False, "Find out who talks how long in each call that is filed; it is decoded for that."
    )
    log_level: str = _setting("info", "debug, info, warning or error.")

    def __post_init__(self) -> None:
        """Check the values: ArgumentError names the setting."""
        for name, low, high in (
            ("port", 0, 65535),
            ("db_port", 0, 65535),
            ("workers", 1, 256),
            ("db_pool", 1, 1000),
            ("session_seconds", 60, 31_536_000),
            ("session_idle_seconds", 60, 31_536_000),
            ("url_seconds", 1, 604_800),
            ("cache_bytes", 2**20, 2**50),
            ("transcodes", 0, 1024),
            ("json_limit", 0, 1000),
            ("connections", 8, 1_000_000),
            ("address_connections", 1, 1_000_000),
            ("header_seconds", 1, 600),
            ("password_length", 8, 128),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ArgumentError(f"{name} must be {low} to {high}, not {value}")
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise ArgumentError(f"log_level must be debug, info, warning or error, not {self.log_level!r}")
        self._check_doors()
        for origin in self.frame_ancestors:
            if not origin.startswith(("https://", "http://")) or any(c in origin for c in " ;,'\"\r\n"):
                raise ArgumentError(
                    f"frame_ancestors: {origin!r} is not an origin like https://crm.example.com"
                )

    def _check_doors(self) -> None:
        for address in self.trusted_proxies:
            try:
                ipaddress.ip_network(address, strict=False)
            except ValueError:
                raise ArgumentError(
                    f"trusted_proxies: {address!r} is neither an address nor a network"
                ) from None
        if self.auth_header and not self.trusted_proxies:
            raise ArgumentError("auth_header: name the proxies that set it in trusted_proxies")
        if self.auth_header and re.fullmatch(r"[A-Za-z0-9-]{1,100}", self.auth_header) is None:
            raise ArgumentError(f"auth_header: {self.auth_header!r} is no header's name")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ArgumentError("tls_cert and tls_key go together")
        if self.db_password and len(self.db_password) < SHORTEST_PASSWORD:
            raise ArgumentError(f"db_password must have {SHORTEST_PASSWORD} characters or more")
        if self.db_password and self.db_password != DEFAULT_PASSWORD and is_common(self.db_password):
            raise ArgumentError("db_password is one of those that are guessed first: choose another")
        if self.metrics_listen:
            listen_address("metrics_listen", self.metrics_listen)

    @property
    def data_path(self) -> Path:
        """``data_dir``, or its default."""
        if self.data_dir:
            return Path(self.data_dir).expanduser().resolve()
        return home_data_dir()

    @property
    def transcode_slots(self) -> int:
        """Calls that one worker transcodes at once."""
        return self.transcodes or cores()

    def as_environment(self) -> dict[str, str]:
        """The settings as environment variables, for worker processes."""
        made = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            made[PREFIX + entry.name.upper()] = text
        return made


def listen_address(name: str, text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[HOST]:PORT``. Raises ArgumentError, which names the setting."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([^\s:/\[\]]+)):(\d{1,5})", text, re.ASCII)
    if match is None or int(match[3]) > 65535:
        raise ArgumentError(f"{name} must be HOST:PORT, not {text!r}")
    return match[1] or match[2], int(match[3])


def _convert(name: str, value: Any, kind: Any) -> Any:
    try:
        if kind is bool:
            if isinstance(value, bool):
                return value
            return {
                "1": True,
                "true": True,
                "yes": True,
                "on": True,
                "0": False,
                "false": False,
                "no": False,
                "off": False,
            }[str(value).strip().lower()]
        if kind is int:
            if isinstance(value, bool):
                raise ValueError
            return int(value)
        if kind is str:
            if not isinstance(value, str):
                raise ValueError
            return value
        parts = value.split(",") if isinstance(value, str) else value
        return tuple(str(part).strip() for part in parts if str(part).strip())
    except (ValueError, KeyError, TypeError):
        what = {bool: "true or false", int: "a whole number", str: "a text"}.get(kind, "a list")
        raise ArgumentError(f"{name} must be {what}, not {value!r}") from None


def load(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    file: str | os.PathLike[str] | None = None,
) -> Settings:
    """Settings from flags (None means not given), the environment (``os.environ`` if None) and a file.

    Raises:
        ArgumentError: a value is wrong, or the file has a name that is no setting.
        OSError: the file cannot be read.

    """
    environment = os.environ if environment is None else environment
    kinds = get_type_hints(Settings)
    found: dict[str, Any] = {}
    file = file or environment.get(PREFIX + "CONFIG")
    if file:
        try:
            values = tomllib.loads(Path(file).read_text(encoding="utf-8"))
        except ValueError as error:  # no TOML, or no UTF-8
            raise ArgumentError(f"{file}: {error}") from error
        unknown = set(values) - {entry.name for entry in fields(Settings)}
        if unknown:
            raise ArgumentError(f"{file}: there is no setting {', '.join(sorted(unknown))}")
        found |= values
    for entry in fields(Settings):
        text = environment.get(PREFIX + entry.name.upper())
        if text is not None:
            found[entry.name] = text
    found |= {name: value for name, value in (flags or {}).items() if value is not None}
    return Settings(**{name: _convert(name, value, kinds[name]) for name, value in found.items()})


def table() -> str:
    """The settings as a Markdown table, as docs/service.md shows it."""
    lines = ["| setting | flag | environment | default | meaning |", "| --- | --- | --- | --- | --- |"]
    for entry in fields(Settings):
        default = entry.default
        shown = (
            "" if default in ("", ()) else str(default).lower() if isinstance(default, bool) else str(default)
        )
        flag = "--" + entry.name.replace("_", "-")
        lines.append(
            f"| `{entry.name}` | `{flag}` | `{PREFIX}{entry.name.upper()}` | {shown} | {entry.metadata['text']} |"
        )
    return "\n".join(lines) + "\n"


def replace(settings: Settings, **values: Any) -> Settings:
    """The settings with other values for some."""
    return dataclasses.replace(settings, **values)
