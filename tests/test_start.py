"""What a start costs, counted in modules: times are noise, and what is imported is what takes them."""

from __future__ import annotations

import cProfile
import os
import pstats
import subprocess
import sys
from pathlib import Path

import pytest
from bench._captures import leg, write_pcap

import callreplay

SAMPLE = Path(__file__).parents[1] / "samples" / "reservation.pcap"
OPEN = f"import callreplay; callreplay.open({str(SAMPLE)!r})"
SAVE = f"import callreplay; callreplay.open({str(SAMPLE)!r}).calls[0].save('/dev/null', 'wav')"


def _modules(program: str) -> set[str]:
    """What the program imports beyond NumPy."""
    code = (
        f"import sys, numpy\nbefore = set(sys.modules)\n{program}\nprint(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


NEVER = {"asyncio", "av", "concurrent", "multiprocessing", "psycopg", "pyarrow", "rich", "starlette", "typer"}


def test_to_open_a_call_loads_nothing_that_only_others_need() -> None:
    """Compression, encryption, XML, pictures and reports are loaded by what has or asks for them."""
    found = _modules(OPEN)
    unused = NEVER | {
        "bz2",
        "decimal",
        "email",
        "fractions",
        "hashlib",
        "lzma",
        "shutil",
        "tempfile",
        "xml",
        "zipfile",
    }
    assert not found & unused
    assert not {
        name
        for name in found
        if name.startswith(("callreplay.outputs.", "callreplay.report", "callreplay.batch"))
    }
    assert not found & {
        "callreplay.packets.hep",
        "callreplay.packets.sctp",
        "callreplay.packets.tls",
        "callreplay.packets.websocket",
        "callreplay.signalling.rsmetadata",
        "callreplay.signalling.rtpengine",
        "callreplay.signalling.siprec",
        "json",
    }
    assert len(found) <= 111


def test_a_call_without_signalling_loads_no_reader_of_it(tmp_path: Path) -> None:
    path = tmp_path / "call.pcap"
    write_pcap(path, leg(2, 0), leg(2, 1, seed=2))
    found = _modules(f"import callreplay; callreplay.open({str(path)!r})")
    assert not {name for name in found if name.startswith("callreplay.signalling.")}
    assert len(found) <= 96


def test_to_open_a_plain_call_takes_few_calls(tmp_path: Path) -> None:
    """Calls of Python and of C functions: each costs what some hundred packets do."""
    path = tmp_path / "call.pcap"
    write_pcap(path, leg(10, 0), leg(10, 1, seed=2))
    callreplay.open(str(path))
    profile = cProfile.Profile()
    profile.runcall(callreplay.open, str(path))
    assert pstats.Stats(profile).total_calls <= 500  # type: ignore[attr-defined]


def test_no_class_has_its_methods_made_before_they_are_used() -> None:
    """``dataclasses`` compiles four methods a class: half of what a start took."""
    count = "import dataclasses; made = []; real = dataclasses._process_class"
    count += "; dataclasses._process_class = lambda *each: (made.append(each[0].__name__), real(*each))[1]"
    # The options' rows are read from their table of fields.
    for module, expected in (("callreplay.capture", []), ("callreplay.outputs.options", ["Options"])):
        program = f"{count}\nimport {module}\nprint(*made, sep='\\n')"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.split() == expected


def test_a_command_compiles_no_pattern_for_what_it_does_not_print() -> None:
    program = "import re; re.compile = re._compile = None\nimport callreplay.cli.printable"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_start_costs_no_more_than_numpy_does() -> None:
    """The processor's time of ``import callreplay`` and of the first call, beside what importing NumPy takes."""
    program = f"""
from time import process_time
begun = process_time()
import numpy
between = process_time()
{OPEN}
print((process_time() - between) / (between - begun))
"""
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program]
    ratios = [2.0]
    while min(ratios) > 1.0 and len(ratios) < 8:  # 0.6 to 0.8 on a machine with nothing else to do
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=alone)
        ratios.append(float(done.stdout))
    assert min(ratios) <= 1.0, ratios


@pytest.mark.parametrize("program", ["import callreplay", "import callreplay; callreplay.__version__"])
def test_the_package_alone_loads_nothing(program: str) -> None:
    assert {name for name in _modules(program) if name.startswith("callreplay")} == {
        "callreplay",
        "callreplay._version",
    }


def test_to_write_a_file_loads_no_more_than_its_format() -> None:
    assert not _modules(SAVE) & NEVER


def test_a_worker_of_a_batch_loads_no_data_sets() -> None:
    found = _modules(
        "import callreplay.batch.crew, callreplay.batch; callreplay.batch.BatchSettings('x').order()"
    )
    assert not found & {
        "tarfile",
        "callreplay.outputs.samples",
        "callreplay.batch.sharding",
        "pyarrow",
        "typer",
    }


def test_a_command_loads_no_more_than_it_needs(tmp_path: Path) -> None:
    """No other command, and none of what checks arguments at the price of all the rest (typer 0.29 by pydantic)."""
    words = ["transcode", str(SAMPLE), "-o", str(tmp_path / "call.wav"), "--channels", "stereo"]
    for more, typer in (([], False), (["--rate=0x"], True)):
        ask = f"import sys; sys.argv[1:] = {[*words, *more]!r}\nfrom callreplay.cli import main\n"
        found = _modules(f"{ask}try: main()\nexcept SystemExit: pass")
        unused = NEVER | {"pydantic", "email", "zoneinfo", "callreplay.cli.batch"}
        assert found & unused == ({"typer"} if typer else set())
        assert len(found) <= (300 if typer else 175)


def test_a_command_is_loaded_without_the_collector(tmp_path: Path) -> None:
    """What is loaded by a command that reads plain words, or by Typer, is looked through neither then nor later."""
    watch = """
import gc, sys
seen = []
gc.callbacks.append(lambda phase, info: seen.append(set(sys.modules)))
before = gc.get_freeze_count()
from callreplay.cli import main
try: main()
except SystemExit: pass
print(gc.isenabled(), gc.get_freeze_count() - before > 10_000)
print(any("numpy" in each and not WHOLE <= each for each in seen))
"""
    words = ["transcode", str(SAMPLE), "-o", str(tmp_path / "call.wav")]
    for more, whole in (([], "callreplay.cli.transcoding"), (["--rate=0x"], "typer.main")):
        program = f"import sys; sys.argv[1:] = {[*words, *more]!r}{watch.replace('WHOLE', repr({whole}))}"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["True", "True", "False"]


def test_the_version_is_told_without_the_command_line() -> None:
    ask = "import sys; sys.argv[1:] = ['--version']\nfrom callreplay.cli import main\n"
    program = f"{ask}try: main()\nexcept SystemExit: pass"
    assert not _modules(program) & (NEVER | {"callreplay.capture", "callreplay.cli.app"})
