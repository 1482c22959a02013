"""What holds for every test."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import programs

# A job that a shell runs in the background ignores SIGINT, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, so that a failure is the doing of the change under test; CALLREPLAY_EXPLORE=1 draws
# new ones, and what it finds becomes an @example.
settings.register_profile("repeatable", derandomize=True, database=None)
settings.register_profile("explore", print_blob=True)
settings.load_profile("explore" if os.environ.get("CALLREPLAY_EXPLORE") else "repeatable")

# Files of more than ten seconds of CPU, the longest first, in the order in which they are dealt out: one of them that
# is begun last runs when the other workers have nothing left.
LONG = (
    "test_wheel", "service/test_browser", "batch/test_batch", "service/test_rights", "service/test_player",
    "service/test_openapi", "service/test_search_plans", "service/test_list_browser", "service/test_security",
    "service/test_lifecycle", "service/test_connections", "test_capture", "store/test_sharing", "service/test_work",
    "test_capi", "service/test_object_volumes", "importing/test_importing", "recording/test_record",
    "store/test_backup", "test_typing", "batch/test_crew", "service/test_starting", "service/test_urls",
    "service/test_workers", "service/test_throttle", "service/test_guides", "recording/test_progress",
    "scripts/test_docs",
)  # fmt: skip
_TURN = {Path(__file__).parent / f"{name}.py": turn for turn, name in enumerate(LONG)}


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the workers are given what this process has
        # Not pytest's: PostgreSQL, which refuses to run as root, could not enter it.
        os.environ["TESTS_CLUSTER_FOLDER"] = tempfile.mkdtemp(prefix="callreplay-cluster-")
        Path(os.environ["TESTS_CLUSTER_FOLDER"]).chmod(0o755)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["TESTS_CLUSTER_FOLDER"], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _TURN.get(item.path, len(LONG)))


@pytest.fixture(autouse=True)
def workers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Workers of `multiprocessing` are forked: a start takes 0.4 s of CPU. With ``mark.started`` they are started."""
    if request.node.get_closest_marker("started"):
        yield
        return
    with programs.forked_workers():
        yield
