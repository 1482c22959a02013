import pytest

from callreplay import _core, errors


@pytest.mark.parametrize(("value", "name", "python", "message"), _core.STATUS_TABLE)
def test_every_status_has_its_class(value: int, name: str, python: str, message: str) -> None:
    if python == "None":
        assert (name, value) == ("OK", 0)
        return
    with pytest.raises(getattr(errors, python), match=message) as caught:
        errors.raise_status(value, "a detail")
    assert str(caught.value) == f"{message}: a detail"


def test_unknown_status_is_still_ours() -> None:
    with pytest.raises(errors.CallReplayError, match="unknown native status 99"):
        errors.raise_status(99)
