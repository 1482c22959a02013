"""Debian's Firefox, driven by WebDriver BiDi, which it speaks of itself: what the tests need of it, and no driver."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import ClientConnection, connect

__all__ = ["Firefox", "program"]

_START_SECONDS: Final = 60
_PREFERENCES: Final = {
    "media.autoplay.default": 0,  # sound without a click
    "media.cubeb.backend": "alsa",
    "media.cubeb.sandbox": False,
    "app.normandy.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "intl.accept_languages": "en-GB",
}


def program() -> str | None:
    """Where it is; None where it is not installed."""
    return shutil.which("firefox-esr")


class Firefox:
    """One window. A context manager, which ends the browser."""

    def __init__(self, profile: Path) -> None:
        lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in _PREFERENCES.items()]
        # Where there is no sound card Firefox gives a recording up; ALSA's null device takes all of it at once.
        (profile / ".asoundrc").write_text("pcm.!default { type null }\nctl.!default { type null }\n")
        (profile / "user.js").write_text("\n".join(lines))
        found = program()
        assert found is not None
        self._log = profile / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    found,
                    "--headless",
                    "--no-remote",
                    "--profile",
                    str(profile),
                    "--remote-debugging-port",
                    "0",
                ],
                stdout=log,
                stderr=log,
                env={"HOME": str(profile), "MOZ_DISABLE_CONTENT_SANDBOX": "1", "PATH": "/usr/bin:/bin"},
            )
        self._owned = contextlib.ExitStack()
        self._number = 0
        self.errors: list[str] = []
        try:
            self._socket = self._connect()
            self.command("session.new", capabilities={})
            self.command("session.subscribe", events=["log.entryAdded"])
            self._page: str = self.command("browsingContext.getTree")["contexts"][0]["context"]
        except BaseException:
            self._end()
            raise

    def _connect(self) -> ClientConnection:
        deadline = time.monotonic() + _START_SECONDS
        while not (found := re.search(r"listening on (ws://\S+)", self._log.read_text(errors="replace"))):
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return self._owned.enter_context(connect(f"{found[1]}/session", max_size=None))

    def __enter__(self) -> Firefox:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._owned.close()
        self._process.kill()
        self._process.wait()

    def command(self, method: str, **given: Any) -> Any:
        """What a command answers with."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": given}))
        while True:
            said = json.loads(self._socket.recv(60))
            if said.get("method") == "log.entryAdded" and said["params"]["level"] == "error":
                self.errors.append(said["params"]["text"])
            elif said.get("id") == self._number:
                assert said["type"] == "success", said
                return said["result"]

    def go(self, address: str) -> None:
        """Open a page, and wait for all of it."""
        self.command("browsingContext.navigate", context=self._page, url=address, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """A number, a text, a truth, or null."""
        made = self.command(
            "script.evaluate", expression=expression, target={"context": self._page}, awaitPromise=True
        )
        assert made["type"] == "success", made
        return made["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait for something to be true."""
        deadline = time.monotonic() + 60
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.05)

    def press(self, keys: str) -> None:
        """Press keys, one after the other."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        sources = [{"type": "key", "id": "keys", "actions": actions}]
        self.command("input.performActions", context=self._page, actions=sources)

    def click(self, choice: str) -> None:
        """Click into the middle of what a selector finds."""
        box = f"JSON.stringify(document.querySelector({json.dumps(choice)}).getBoundingClientRect())"
        edge = json.loads(self.evaluate(box))
        place = {"x": round(edge["x"] + edge["width"] / 2), "y": round(edge["y"] + edge["height"] / 2)}
        actions: list[dict[str, Any]] = [
            {"type": "pointerMove", **place},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self.command(
            "input.performActions",
            context=self._page,
            actions=[{"type": "pointer", "id": "mouse", "actions": actions}],
        )
