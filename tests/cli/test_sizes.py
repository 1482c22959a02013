"""What the commands around the database are given as sizes."""

import pytest
import typer

from callreplay.cli import sizes


@pytest.mark.parametrize(
    ("text", "octets"), [("0", 0), ("500M", 500_000_000), ("2GiB", 2 << 30), ("1.5k", 1500), ("7b", 7)]
)
def test_sizes_are_octets(text: str, octets: int) -> None:
    assert sizes.parse_size(text) == octets


@pytest.mark.parametrize("text", ["", "inf", "1e999", "9" * 400, "8388608TiB", "0i", "-1", "2X", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no size"):
        sizes.parse_size(text)
    if text != "8388608TiB":
        with pytest.raises(typer.BadParameter, match="is no size"):
            sizes.parse_memory(text)
