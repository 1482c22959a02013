"""The pages in Debian's Firefox: find a call, play it, select and share a part of it, administer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .firefox import Firefox, program
from .test_browser import HOME, INK, NOW, STATE

if TYPE_CHECKING:
    from .conftest import Running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.database,
    pytest.mark.skipif(program() is None, reason="firefox-esr is not installed"),
]


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    with Firefox(tmp_path) as browser:
        yield browser
        assert browser.errors == []


def test_a_call_is_found_played_selected_and_shared(
    firefox: Firefox, service: Running, call: dict[str, Any]
) -> None:
    home = service.base + HOME
    firefox.go(f"{home}?user=admin&password={service.password}")
    firefox.until("document.documentElement.classList.contains('scripting')")
    firefox.press("/")
    firefox.until("document.activeElement.id === 'q'")
    firefox.press("ana pop\ue007")
    firefox.until("document.querySelectorAll('.chip').length === 1")
    firefox.click(".list tbody a[id]")
    firefox.until(f"location.search.includes('callDetails') && {INK} > 3000 && {STATE} === 'ready'")
    firefox.click("[data-do=play]")
    firefox.until(f"{NOW} > 0.3")
    firefox.click("[data-do=play]")
    firefox.until("document.querySelector('audio').paused")
    firefox.press("+[")
    firefox.until("!document.querySelector('.part').hidden")
    firefox.click("[data-do=share]")
    firefox.until("document.querySelector('.shared input').value.includes('&end=')")
    link = firefox.evaluate("document.querySelector('.shared input').value")
    firefox.go(link)
    firefox.until(f"{STATE} === 'ready' && !document.querySelector('.part').hidden && {NOW} > 0.3")
    for place in ("Volumes", "Retention", "Tenants", "Users", "Jobs", "Audit"):
        firefox.go(home + place)
        assert firefox.evaluate("document.querySelector('.top nav [aria-current]').textContent")
        over = "document.documentElement.scrollWidth - innerWidth"
        assert firefox.evaluate(over) <= 0, place
