"""The command line as a user meets it: real processes, exit codes, what stands on which stream."""

import json
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from tests import programs

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
COMMAND = [sys.executable, "-c", "from callreplay.cli import main; main()"]


def run(*arguments: object, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return programs.run(arguments, capture_output=True, input=stdin)


def test_version_and_help() -> None:
    from callreplay import __version__

    assert run("--version").stdout.decode().split() == ["callreplay", __version__]
    text = run("--help").stdout.decode()
    for name in ("transcode", "info", "peaks", "batch"):
        assert name in text


@pytest.mark.parametrize("channels", ["mono", "stereo", "caller", "called"])
def test_transcode_to_wav(channels: str, tmp_path: Path) -> None:
    out = tmp_path / "x.wav"
    done = run("transcode", SAMPLES / "reservation.pcap", "-o", out, "--channels", channels)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    with wave.open(str(out)) as wav:
        assert wav.getnchannels() == (2 if channels == "stereo" else 1)
        assert (wav.getframerate(), wav.getsampwidth()) == (8000, 2)
        assert wav.getnframes() / 8000 == pytest.approx(19.94, abs=0.02)


def test_wideband_comes_out_wide(tmp_path: Path) -> None:
    out = tmp_path / "x.wav"
    assert run("transcode", SAMPLES / "wideband.pcapng", "-o", out).returncode == 0
    with wave.open(str(out)) as wav:
        assert wav.getframerate() == 16000


def test_window_rate_and_standard_output(tmp_path: Path) -> None:
    out = tmp_path / "x.wav"
    arguments = ["--format", "wav", "--start", "0:02", "--end", "3.5", "--rate", "16000"]
    done = run("transcode", SAMPLES / "support.pcap", "-o", "-", *arguments)
    assert done.returncode == 0
    out.write_bytes(done.stdout)
    with wave.open(str(out)) as wav:
        assert (wav.getframerate(), wav.getnframes()) == (16000, 24000)


@pytest.mark.parametrize(("law", "encoding"), [("ulaw", "u-law"), ("alaw", "A-law")])
def test_law_wav_is_what_sox_reads(law: str, encoding: str, tmp_path: Path) -> None:
    if shutil.which("soxi") is None:
        pytest.skip("needs sox")
    out = tmp_path / "x.wav"
    assert run("transcode", SAMPLES / "support.pcap", "-o", out, "--sample-format", law).returncode == 0
    assert encoding in subprocess.run(["soxi", out], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("suffix", ["png", "json", "dat", "spx", "mp3", "opus", "flac", "m4a"])
def test_every_format_by_its_suffix(suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"x.{suffix}"
    done = run("transcode", SAMPLES / "wideband.pcapng", "-o", out)
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size > 200
    if suffix in ("spx", "mp3", "opus", "flac", "m4a"):
        probe: list[str | Path] = [
            "ffprobe",
            "-v",
            "error",
            "-show_entries",
            "format=duration",
            "-of",
            "csv=p=0",
            out,
        ]
        if suffix == "flac":  # streamed, so its header does not know the length
            probe = [
                "bash",
                "-c",
                f"ffmpeg -v error -i {out} -f s16le - | wc -c | awk '{{print $1 / 32000}}'",
            ]
        seconds = float(subprocess.run(probe, capture_output=True, text=True, check=True).stdout)
        wav = tmp_path / "x.wav"
        assert run("transcode", SAMPLES / "wideband.pcapng", "-o", wav).returncode == 0
        with wave.open(str(wav)) as truth:
            assert seconds == pytest.approx(truth.getnframes() / truth.getframerate(), abs=0.15)


def test_peaks_command_and_transcode_agree(tmp_path: Path) -> None:
    capture = SAMPLES / "support.pcap"
    printed = run("peaks", capture).stdout
    assert run("transcode", capture, "-o", tmp_path / "x.json").returncode == 0
    assert (tmp_path / "x.json").read_bytes() == printed
    assert json.loads(printed)["channels"] == 2


def test_info_as_json_and_as_a_table() -> None:
    report = json.loads(run("info", SAMPLES / "reservation.pcap", "--json").stdout)
    (call,) = report["calls"]
    assert [leg["codecs"] for leg in call["legs"]] == [["PCMU/8000"], ["PCMU/8000"]]
    assert call["legs"][0]["events"][0]["digit"] == "5"
    assert call["legs"][0]["levels"]["silence"] > 0.5
    assert report["calls"][0]["why"]
    assert report["calls"][0]["set_aside"] == []
    why = run("info", SAMPLES / "reservation.pcap", "--why").stdout.decode()
    assert "whose stream is this?" in why
    assert "both its ends are announced" in why
    text = run("info", SAMPLES / "reservation.pcap").stdout.decode()
    assert "whose stream is this?" not in text
    assert "0721555010" in text
    assert "2001" in text


def test_info_shows_no_figure_that_nobody_measured(tmp_path: Path) -> None:
    """A one-way call of a second: the empty leg has no jitter, and nothing is said of a clock not measured."""
    from tests.captures import pcap, rtp, udp

    start = 1_700_000_000_000_000_000
    one_way = tmp_path / "one-way.pcap"
    one_way.write_bytes(
        pcap(
            (start + index * 20_000_000, udp("10.0.0.1", 4000, "10.0.0.2", 5000, rtp(index, index * 160, 1)))
            for index in range(50)
        )
    )
    lines = run("info", one_way).stdout.decode().splitlines()
    assert lines[0].endswith("one-way.pcap: pcap, 1 call")
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("  ")}
    assert rows["packets"] == ["50", "0"]
    assert rows["lost"] == ["0", "(0.0", "%)"]
    assert rows["jitter"] == ["0.0", "ms"]
    assert "drift" not in rows


def test_info_of_a_silent_leg(tmp_path: Path) -> None:
    from tests.captures import pcap, rtp, udp

    silent = tmp_path / "silent.pcap"
    packets = (rtp(index, index * 160, 1, 0, b"\xff" * 160) for index in range(50))
    silent.write_bytes(
        pcap(
            (1_700_000_000_000_000_000 + index * 20_000_000, udp("10.0.0.1", 4000, "10.0.0.2", 5000, packet))
            for index, packet in enumerate(packets)
        )
    )
    (call,) = json.loads(run("info", silent, "--json").stdout)["calls"]
    assert call["legs"][0]["levels"]["rms_dbfs"] is None
    text = run("info", silent).stdout.decode()
    assert "dBFS" not in text
    assert "100%" in text


def test_one_file_per_leg(tmp_path: Path) -> None:
    """Split a sample by direction; the two halves give what the whole gave."""
    from tests.captures import pcap

    data = (SAMPLES / "support.pcap").read_bytes()
    halves: dict[bytes, list[tuple[int, bytes]]] = {}
    at = 24
    while at < len(data):
        seconds, micros, size = (int.from_bytes(data[at + k : at + k + 4], "little") for k in (0, 4, 8))
        frame = data[at + 16 : at + 16 + size]
        if frame[36:38] != b"\x13\xc4":  # not to port 5060
            halves.setdefault(frame[26:30], []).append((seconds * 10**9 + micros * 1000, frame))
        at += 16 + size
    caller, called = tmp_path / "a.pcap", tmp_path / "b.pcap"
    caller.write_bytes(pcap(halves[bytes([198, 51, 100, 7])]))
    called.write_bytes(pcap(halves[bytes([203, 0, 113, 40])]))
    assert (
        run(
            "transcode", caller, called, "-o", tmp_path / "two.wav", "--channels", "stereo", "--no-metadata"
        ).returncode
        == 0
    )
    whole = run(
        "transcode",
        SAMPLES / "support.pcap",
        "-o",
        tmp_path / "one.wav",
        "--channels",
        "stereo",
        "--no-metadata",
    )
    assert whole.returncode == 0
    assert (tmp_path / "one.wav").read_bytes() == (tmp_path / "two.wav").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["transcode", "absent.pcap", "-o", "x.wav"], 2, "absent.pcap"),
        (["transcode", "SAMPLE", "-o", "x.xyz"], 2, "suffix"),
        (["transcode", "SAMPLE", "-o", "x.wav", "--channels", "left"], 2, "channels"),
        (["transcode", "SAMPLE", "-o", "x.wav", "--rate", "12"], 2, "rate"),
        (["transcode", "SAMPLE", "-o", "x.wav", "--call", "7"], 2, "--call 1"),
        (["transcode", "SAMPLE", "-o", "x.wav", "--start", "9", "--end", "3"], 2, "start"),
        (["transcode", "SAMPLE", "-o", "x.wav", "--start", "soon"], 2, "no time"),
        (["transcode", "SAMPLE", "-o", "x.wav", "--codec", "97"], 2, "PT=NAME/RATE"),
        (["transcode", "SAMPLE", "-o", "/dev/full", "--format", "wav"], 1, "/dev/full"),
        (["transcode", "SAMPLE", "-o", "no/such/folder/x.wav"], 1, "no/such/folder"),
        (["frobnicate"], 2, "frobnicate"),
        (["info", "TEXT"], 2, "notes.txt"),
        (["info", "."], 2, "callreplay: .: a folder, not a regular file"),
        (["info", "/"], 2, "callreplay: /: a folder, not a regular file"),
        (["info", ""], 2, "callreplay: .: a folder, not a regular file"),
        (["transcode", ".", "-o", "x.wav"], 2, "callreplay: .: a folder, not a regular file"),
    ],
)
def test_errors_say_what_and_exit_as_promised(
    arguments: list[str], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = tmp_path / "notes.txt"
    text.write_text("no capture\n" * 50)
    words = [{"SAMPLE": str(SAMPLES / "support.pcap"), "TEXT": str(text)}.get(a, a) for a in arguments]
    done = run(*words)
    assert done.returncode == code, done.stderr
    assert says in done.stderr.decode().replace("\n", " ")
    assert "Traceback" not in done.stderr.decode()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.txt"]


@pytest.mark.parametrize("command", [["transcode", "--format", "wav"], ["peaks"]])
def test_an_output_over_the_capture_is_refused_before_it_is_written(
    command: list[str], tmp_path: Path
) -> None:
    capture = tmp_path / "x.pcap"
    shutil.copy(SAMPLES / "support.pcap", capture)
    done = run(*command, capture, "-o", capture)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr
    assert f"{str(capture)!r} is the capture" in done.stderr.decode()
    assert capture.read_bytes() == (SAMPLES / "support.pcap").read_bytes()
    assert list(tmp_path.iterdir()) == [capture]


def test_several_calls_must_be_chosen(tmp_path: Path) -> None:
    from tests.captures import pcap, rtp, udp

    records = []
    for call in range(2):
        for index in range(50):
            packet = rtp(index, index * 160, call + 1, 0, b"\x55" * 160)
            at = 1_700_000_000_000_000_000 + call * 60_000_000_000 + index * 20_000_000
            records.append((at, udp(f"10.0.{call}.1", 4000, f"10.0.{call}.2", 5000, packet)))
    capture = tmp_path / "two.pcap"
    capture.write_bytes(pcap(records))
    refused = run("transcode", capture, "-o", tmp_path / "x.wav")
    assert refused.returncode == 2
    assert b"--call 2" in refused.stderr
    assert run("transcode", capture, "-o", tmp_path / "x.wav", "--call", "2").returncode == 0


def test_a_closed_pipe_is_no_traceback() -> None:
    shell = (
        f"{sys.executable} -c 'from callreplay.cli import main; main()' transcode {SAMPLES / 'support.pcap'}"
    )
    done = subprocess.run(
        ["bash", "-c", f"{shell} --format wav -o - | head -c 10 >/dev/null; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_a_capture_from_standard_input(tmp_path: Path) -> None:
    """What `tcpdump -w - | callreplay transcode - -o x.wav` does."""
    sample = SAMPLES / "support.pcap"
    assert run("transcode", "-", "-o", tmp_path / "in.wav", stdin=sample.read_bytes()).returncode == 0
    assert run("transcode", sample, "-o", tmp_path / "file.wav").returncode == 0
    assert (tmp_path / "in.wav").read_bytes() == (tmp_path / "file.wav").read_bytes()
    twice = run("info", "-", "-")
    assert (twice.returncode, b"can be read once" in twice.stderr) == (2, True)


def test_captures_of_their_own_are_refused_in_one_line() -> None:
    refused = run("info", SAMPLES / "support.pcap", SAMPLES / "reservation.pcap")
    assert refused.returncode != 0
    assert b"are captures of their own" in refused.stderr
    assert refused.stderr.count(b"\n") == 1
