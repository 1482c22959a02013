"""What the database writes for programs, in words for people: statuses, events, gaps, roles, warnings, the audit log.

Each is looked up in the reader's catalogue when a page shows it. A code that is not here is shown as it stands: rows of
a later version, or of another program.
"""

from __future__ import annotations

from typing import Final

from callreplay.service.i18n import mark

__all__ = [
    "ACTIONS",
    "EVENTS",
    "GAPS",
    "JOBS",
    "JOB_STATES",
    "LEGS",
    "POLICIES",
    "REASONS",
    "RIGHTS",
    "ROLES",
    "STATUSES",
    "WARNINGS",
]

STATUSES: Final = {
    "answered": mark("answered"),
    "unanswered": mark("unanswered"),
    "cancelled": mark("cancelled"),
    "redirected": mark("redirected"),
    "failed": mark("failed"),
    "in progress": mark("in progress"),
    "interrupted": mark("interrupted"),
}
"""``calls.status``, or its first word where the far end's own text follows it (``486 Busy Here``)."""

LEGS: Final = {"caller": mark("Caller"), "called": mark("Called"), "both": mark("Both legs")}
"""``call_files.leg`` and ``call_events.leg``."""

EVENTS: Final = {"dtmf": mark("Key pressed")}
"""``call_events.kind``."""

GAPS: Final = {
    "lost": mark("lost packets"),
    "silence": mark("silence"),
    "hold": mark("on hold"),
    "late_start": mark("the leg starts late"),
    "early_end": mark("the leg ends early"),
    "capture": mark("missing in the capture"),
}
"""``callreplay.model.GapReason`` by its name in lower case."""

ROLES: Final = {
    "admin": mark("administrator"),
    "auditor": mark("auditor"),
    "user": mark("user"),
    "listener": mark("listener"),
}
"""``roles.name``, of those that come with the program."""

RIGHTS: Final = {
    "search": mark("find calls"),
    "play": mark("play"),
    "download": mark("download"),
    "rtp": mark("recordings as captured"),
    "edit": mark("edit"),
    "delete": mark("delete"),
    "audit": mark("read the audit log"),
    "administer": mark("administer"),
}
"""``roles.rights``."""

WARNINGS: Final = {
    "full": mark("full"),
    "cannot be reached": mark("cannot be reached"),
    "used + free is less than reserved": mark("used + free is less than reserved"),
}
"""``callreplay.store.volumes.Volume.warning``."""

POLICIES: Final = {
    "forever": mark("for ever"),
    "period": mark("for a period"),
    "backup": mark("until they are in a backup"),
    "space": mark("until space is needed"),
}
"""``callreplay.store.retention.POLICIES``."""

REASONS: Final = {
    "period": mark("its period is over"),
    "tag": mark("its tag's days are over"),
    "backed up": mark("it is in a backup"),
    "space": mark("space is needed"),
    "erased by number": mark("erased by number"),
}
"""What begins ``callreplay.store.retention.Removal.reason``."""

JOBS: Final = {
    "import": mark("Import"),
    "batch": mark("Batch"),
    "export": mark("Export"),
    "join": mark("Join of volumes"),
    "retain": mark("Retention"),
    "erase": mark("Erasure"),
}
"""``callreplay.store.jobs.KINDS``."""

JOB_STATES: Final = {
    "running": mark("under way"),
    "done": mark("done"),
    "failed": mark("failed"),
    "cancelled": mark("cancelled"),
    "lost": mark("its process has ended"),
}
"""What ``callreplay.store.jobs.listing`` calls a job's ``state``."""

ACTIONS: Final = {
    "login": mark("Logged in"),
    "login.refused": mark("Login refused"),
    "logout": mark("Logged out"),
    "play": mark("Played"),
    "transcode": mark("Transcoded"),
    "fetch": mark("Fetched by link"),
    "search": mark("Searched"),
    "call.view": mark("Call looked at"),
    "storage.read": mark("File read"),
    "storage.refused": mark("File refused"),
    "storage.player_password": mark("Player Access Password set"),
    "call.list": mark("Calls listed"),
    "call.export": mark("Call exported"),
    "call.describe": mark("Description changed"),
    "call.hold": mark("Legal hold set"),
    "call.release": mark("Legal hold lifted"),
    "call.delete": mark("Call deleted"),
    "call.tag": mark("Tags changed"),
    "retention.policy": mark("Retention changed"),
    "retention.backup": mark("Backup noted"),
    "tenant.add": mark("Tenant added"),
    "tenant.change": mark("Tenant changed"),
    "user.add": mark("User added"),
    "user.change": mark("User changed"),
    "user.password": mark("User's password set"),
    "user.disable": mark("User locked out"),
    "user.enable": mark("User let in"),
    "user.delete": mark("User deleted"),
    "role.define": mark("Role defined"),
    "token.add": mark("API token made"),
    "token.revoke": mark("API token revoked"),
    "volume.add": mark("Volume added"),
    "volume.retire": mark("Volume deleted"),
    "volume.join": mark("Volumes joined"),
    "volume.move": mark("Volume moved"),
    "volume.change": mark("Volume changed"),
    "job.start": mark("Job started"),
    "job.cancel": mark("Job cancelled"),
    "audit.export": mark("Audit log exported"),
}
"""``audit_log.action``."""
