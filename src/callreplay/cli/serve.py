"""``callreplay serve``: the service, with its database, on one machine."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import secrets
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

import psycopg
import typer

from callreplay.cli import interrupted
from callreplay.errors import ArgumentError, OutputError
from callreplay.importing import importer
from callreplay.recording.beside import beside
from callreplay.service import logs, settings
from callreplay.service.settings import Settings
from callreplay.store import accounts, audit, volumes
from callreplay.store.access import ready
from callreplay.store.cluster import EmbeddedError, is_loopback
from callreplay.store.database import Database, why
from callreplay.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["prepare", "register", "samples_folder"]

_log = logging.getLogger("callreplay.serve")
_BACKLOG: Final = 512  # what asyncio takes at once, and tells of one by one where descriptors run out
_SAMPLES: Final = "samples.imported"
_CAPTURES: Final = (".pcap", ".pcapng")


class _Stopped(KeyboardInterrupt):
    """A signal to stop came before the server could take it. Drivers cancel what they are at when one is raised."""


class _Stopping:
    """What signals to stop do before uvicorn takes them.

    Raising ends what takes long at once; but Python drops what is raised while an object is being cleared away, in the
    middle of an import for example. So the signal is remembered as well, and asked about before the next long thing.
    A second one changes nothing: it would only disturb what the first has begun to put away.
    """

    def __init__(self) -> None:
        self.asked = False

    def interrupt(self, number: int, _: FrameType | None) -> None:
        if not self.asked:
            self.asked = True
            raise _Stopped(number)

    def check(self) -> None:
        if self.asked:
            raise _Stopped

    def take(self, handler: Callable[[int, FrameType | None], None]) -> None:
        """Let ``handler`` have the signals from now on; raises _Stopped where one has come."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handler)
        self.check()


def samples_folder(chosen: str) -> Path | None:
    """The folder that the setting ``samples`` means: one of the user's, or the bundled one; None where there is none.

    Raises:
        ArgumentError: the folder named is not there.

    """
    if not chosen:
        return None
    if chosen != "auto":
        folder = Path(chosen).expanduser()
        if not folder.is_dir():
            raise ArgumentError(f"samples: {chosen} is not a folder")
        return folder
    found = Path(__file__).resolve().parent.parent / "samples"
    return found if found.is_dir() else None


def prepare(database: Database, chosen: Settings, announce: Any = typer.echo) -> None:
    """Make what a first start needs: the first volume, the administrator (told once to ``announce``), the samples."""
    from argon2 import PasswordHasher

    with database.connection() as connection:
        volumes.first(connection, chosen.data_path)
        needed = not accounts.has_users(connection)
    if needed:
        password = secrets.token_urlsafe(12)
        with database.connection() as connection:
            made = accounts.first_admin(connection, "admin", PasswordHasher().hash(password))
            if made:
                audit.write(connection, "user.add", actor="system", target="admin", detail={"role": "admin"})
        if made:
            announce("user: admin")
            announce(f"password: {password}")
    _import_samples(database, chosen)


def _import_samples(database: Database, chosen: Settings) -> None:
    folder = samples_folder(chosen.samples)
    if folder is None or database.setting(_SAMPLES) is not None:
        return
    tenant, zone = accounts.open_tenant(database, "default")
    job = importer.Job(database.url, tenant, zone)
    calls = 0
    for path in sorted(folder.iterdir()):
        if path.suffix in _CAPTURES and path.is_file():
            outcome = importer.import_one(database, job, path)
            if outcome.error:
                _log.warning("sample %s was not imported: %s", path.name, outcome.error)
            calls += outcome.added
    database.set_setting(_SAMPLES, calls)
    _log.info("sample calls imported", extra={"calls": calls})


@contextmanager
def _database(chosen: Settings) -> Iterator[str]:
    """The URL of the database to use; an embedded server runs as long as the block."""
    if chosen.database_url:
        yield chosen.database_url
        return
    folder = chosen.data_path
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    server = EmbeddedPostgres(
        folder,
        host=chosen.db_host,
        port=chosen.db_port,
        password=chosen.db_password or None,
        writes=chosen.db_writes,
    )
    with server:
        if not is_loopback(chosen.db_host):
            _log.warning("connections to the database are not encrypted: this PostgreSQL speaks no TLS")
        _log.info("database ready", extra={"host": server.host, "port": server.port})
        try:
            yield server.url
        finally:
            _log.info("stopping the database")


def _listen(chosen: Settings) -> socket.socket:
    """Take the port before anything else: who is first there is the one that serves."""
    family = socket.AF_INET6 if ":" in chosen.host else socket.AF_INET
    # asyncio sets TCP_NODELAY on what a socket of protocol TCP accepts, and leaves one of protocol 0 alone: a body
    # that is written after its headers then waits 40 ms for the client's delayed acknowledgement.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((chosen.host, chosen.port))
    except OSError as error:
        listening.close()
        raise OutputError(f"cannot listen on {chosen.host}:{chosen.port}: {error.strerror}") from error
    listening.listen(_BACKLOG)
    listening.set_inheritable(True)
    return listening


def _doors(chosen: Settings) -> list[socket.socket]:
    """The sockets to serve on: that of the pages, and that of metrics where it has one of its own."""
    found = [_listen(chosen)]
    if chosen.metrics_listen:
        host, port = settings.listen_address("metrics_listen", chosen.metrics_listen)
        try:
            found.append(_listen(settings.replace(chosen, host=host, port=port, metrics_listen="")))
        except BaseException:
            found[0].close()
            raise
    return found


def _name(taken: socket.socket) -> str:
    host, port = taken.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _serve(chosen: Settings, doors: list[socket.socket], stopping: _Stopping) -> int:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from callreplay.service.connections import Door, TlsDoor, raise_descriptor_limit

    raise_descriptor_limit()
    os.environ.update(chosen.as_environment())
    config = uvicorn.Config(
        "callreplay.service.app:from_environment",
        factory=True,
        host=chosen.host,
        port=chosen.port,
        workers=chosen.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        http=TlsDoor if chosen.tls_cert else Door,
        # By uvloop's start_tls a client lost its connection while 600 others were half open (test_connections.py).
        loop="asyncio" if chosen.tls_cert else "uvloop",
        ws="none",
        backlog=_BACKLOG,
        proxy_headers=False,  # the application's own, which remembers through whom a request came
        timeout_graceful_shutdown=10,
    )
    if chosen.workers > 1:
        # Files through which each worker's figures reach whichever of them is asked for /metrics.
        with tempfile.TemporaryDirectory(prefix="callreplay-metrics-") as figures:
            os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", figures)
            supervisor = Multiprocess(config, sockets=doors)  # which takes the signals
            stopping.check()
            supervisor.run()
        return 0
    server = uvicorn.Server(config)

    def stop(number: int, _: FrameType | None) -> None:
        # Obeyed as soon as it has started. Its own handlers, when they have let go, raise the signal once more.
        server.should_exit = True

    stopping.take(stop)
    server.run(sockets=doors)
    return 0 if server.started else 1


def _check_tls(chosen: Settings) -> None:
    """Read certificate and key before anything starts. Raises ArgumentError."""
    if not chosen.tls_cert:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chosen.tls_cert, chosen.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ArgumentError(f"tls_cert and tls_key: {error}") from None


def _run(chosen: Settings) -> int:
    logs.configure(chosen.log_level)
    stopping = _Stopping()
    try:
        stopping.take(stopping.interrupt)
        _check_tls(chosen)
        with contextlib.ExitStack() as owned:
            doors = [owned.enter_context(contextlib.closing(door)) for door in _doors(chosen)]
            url = owned.enter_context(_database(chosen))
            ready(url, chosen.data_path)
            port = doors[0].getsockname()[1]
            running = settings.replace(
                chosen, database_url=url, port=port, metrics_listen=_name(doors[1]) if doors[1:] else ""
            )
            with Database(url, size=2) as database:
                prepare(database, running)
            if running.record:
                owned.enter_context(beside(running.record, url, chosen.data_path, speech=chosen.speech))
            shown = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
            scheme = "https" if chosen.tls_cert else "http"
            typer.echo(f"serving {scheme}://{shown}:{port}/CallRecorder/")
            if running.metrics_listen:
                typer.echo(f"metrics {scheme}://{running.metrics_listen}/metrics")
            sys.stdout.flush()
            return _serve(running, doors, stopping)
    except _Stopped:
        return 0
    except Exception as error:
        if interrupted(error):
            return 0
        if isinstance(error, EmbeddedError):
            raise OutputError(str(error)) from error
        if isinstance(error, psycopg.Error):
            raise OutputError(why(error)) from error
        raise
    finally:
        _log.info("stopped")


def _serve_command(config: str | None, **flags: Any) -> None:
    """Serve CallReplay's URLs, the pages, and the database they need."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        chosen = settings.load(given, file=config)
    except OSError as error:
        raise ArgumentError(f"config: {error}") from error
    raise typer.Exit(_run(chosen))


def _command() -> Any:
    """The command with one option per setting: the table of settings is the only list of them."""

    def serve(**values: Any) -> None:
        _serve_command(**values)

    config = Annotated[str | None, typer.Option("--config", help="A TOML file of settings.")]
    parameters = [
        inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=config)
    ]
    kinds = get_type_hints(Settings)
    for entry in fields(Settings):
        kind: Any = kinds[entry.name] if kinds[entry.name] in (int, bool, str) else str
        flag = "--" + entry.name.replace("_", "-")
        name = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
        option = typer.Option(name, help=entry.metadata["text"], show_default=False)
        annotation: Any = Annotated[kind | None, option]
        parameters.append(
            inspect.Parameter(entry.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        )
    serve.__doc__ = _serve_command.__doc__
    serve.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    serve.__annotations__ = {each.name: each.annotation for each in parameters}
    return serve


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(_command())
