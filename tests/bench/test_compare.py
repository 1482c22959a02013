from typing import Any

import pytest

from bench import compare


def _run(**rows: dict[str, Any]) -> dict[str, Any]:
    return {"benches": {"codecs": [{"name": name, **row} for name, row in rows.items()]}}


@pytest.mark.parametrize(
    ("old", "new", "loss"),
    [
        ({"ratio": 10.0}, {"ratio": 9.5}, False),
        ({"ratio": 10.0}, {"ratio": 8.5}, True),
        ({"ratio": 10.0, "noise": 0.04}, {"ratio": 8.5, "noise": 0.04}, False),
        ({"ratio": 3.0, "bar_kind": "at_most"}, {"ratio": 3.6, "bar_kind": "at_most"}, True),
        ({"ratio": 3.0, "bar_kind": "at_most"}, {"ratio": 2.0, "bar_kind": "at_most"}, False),
    ],
)
def test_a_loss_beyond_tolerance_and_noise_is_found(
    old: dict[str, Any], new: dict[str, Any], loss: bool
) -> None:
    (row,) = compare.compare(_run(x=old), _run(x=new))
    assert row["loss"] is loss


def test_rows_without_a_ratio_are_left_out() -> None:
    assert compare.compare(_run(x={"cpu_s": 1.0}), _run(x={"cpu_s": 2.0})) == []
