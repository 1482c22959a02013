"""A stranger's Cython module, compiled against the installed package: the example of the docs, as it stands."""

import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import callreplay
from callreplay import _core
from callreplay.audio.decode import decode_leg
from callreplay.codecs import STATIC
from callreplay.model import Span
from tests import laws

DOCS = Path(__file__).resolve().parent.parent / "docs" / "embedding-cython.md"
SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "support.pcap"


# What the table has since 1.1 and 1.2, through cimport.
GROWN = """
from callreplay.capi cimport *

cdef const cr_capi *api = cr_capi_import()

def table():
    return api.major, api.minor, api.size, sizeof(cr_capi)

def mixed(const int16_t[::1] pcm, int16_t[::1] out):
    cdef cr_timeline timeline
    cdef cr_mixer *mixer = NULL
    cdef uint32_t track = 0
    cdef size_t taken = 0, got = 0
    timeline.rate_hz, timeline.channels, timeline.origin_ns = 8000, 1, 0
    timeline.frames, timeline.block_ms, timeline.ignore_drift = out.shape[0], 1000, 1
    assert api.mixer_create(&timeline, NULL, 0, &mixer) == CR_OK
    assert api.mixer_add_track(mixer, 0, 0, 8000, 0, 0, &track) == CR_OK
    assert api.mixer_push(mixer, track, 0, &pcm[0], pcm.shape[0], &taken) == CR_OK
    assert api.mixer_finish(mixer, track) == CR_OK
    assert api.mixer_read(mixer, &out[0], out.shape[0], &got) == CR_OK
    cdef int64_t position = api.mixer_position(mixer)
    api.mixer_destroy(mixer)
    return taken, got, position

def extremes(const int16_t[::1] pcm):
    cdef cr_peaks *peaks = NULL
    assert api.peaks_create(1, 100, &peaks) == CR_OK
    assert api.peaks_write(peaks, &pcm[0], pcm.shape[0]) == CR_OK
    cdef const cr_peak *data = api.peaks_data(peaks)
    found = [(data[i].low, data[i].high) for i in range(api.peaks_count(peaks))]
    api.peaks_destroy(peaks)
    return found

def speex(const int16_t[::1] pcm):
    cdef cr_speex_options options
    cdef cr_speex_stream *stream = NULL
    cdef cr_speex_batch *batch = NULL
    cdef size_t size = 0
    options.rate_hz, options.quality = 8000, 8
    options.vbr = options.vad = options.dtx = options.segments = 0
    assert api.speex_stream_create(&options, 1, NULL, 0, &stream) == CR_OK
    assert api.speex_batch_create(&batch) == CR_OK
    assert api.speex_stream_push(stream, &pcm[0], pcm.shape[0]) == CR_OK
    assert api.speex_stream_end(stream) == CR_OK
    assert api.speex_encode(batch, &stream, 1) == CR_OK
    cdef const uint8_t *octets = api.speex_stream_octets(stream, &size)
    found = octets[:size]
    api.speex_batch_destroy(batch)
    api.speex_stream_destroy(stream)
    return found

def group():
    cdef cr_renderer_group *group = NULL
    cdef uint32_t call = 0
    cdef size_t frames = 1
    cdef int last = 1
    cdef int16_t pcm[2]
    cdef size_t waiting = 1
    assert api.renderer_group_create(100, &group) == CR_OK
    assert api.renderer_group_read(group, pcm, 2, &call, &frames, &last) == CR_OK
    assert api.renderer_group_waiting(group, &waiting) == CR_OK
    api.renderer_group_destroy(group)
    return frames, last, waiting

def packed(const uint8_t[:, ::1] pixels):
    cdef uint32_t width = <uint32_t>pixels.shape[1], height = <uint32_t>pixels.shape[0]
    cdef size_t room = api.png_room(width, height), size = 0
    out = bytearray(room)
    cdef uint8_t[::1] octets = out
    assert api.png_pack(&pixels[0, 0], width, width, height, &octets[0], room, &size) == CR_OK
    return bytes(out[:size])

def marked(uint8_t[:, ::1] pixels, double start, double stop):
    # A stretch of loss over a band as large as the picture.
    cdef cr_band band
    cdef cr_marks marks
    cdef uint8_t loss = 1
    band.pixels, band.stride = &pixels[0, 0], <size_t>pixels.shape[1]
    band.left = band.top = 0
    band.width, band.height, band.levels = <uint32_t>pixels.shape[1], <uint32_t>pixels.shape[0], 2
    band.peak_base, band.rms_base, band.scale = 1, 3, 1.0
    marks.start, marks.stop, marks.loss, marks.count = &start, &stop, &loss, 1
    marks.loss_colour, marks.tint, marks.silence = 9, 8, 7
    assert api.draw_marks(&band, &marks) == CR_OK

def drawn(const int16_t[::1] pcm, int8_t[::1] out):
    assert api.peaks8(&pcm[0], pcm.shape[0], 1, 100, &out[0]) == CR_OK

def talk(const int16_t[:, ::1] pcm):
    # Where each of two channels talks, listened to side by side, and then the second one by itself.
    cdef cr_speech *speech[3]
    cdef cr_talk talks[8]
    cdef size_t count = 0, i, j
    for i in range(3):
        assert api.speech_create(8000, &speech[i]) == CR_OK
    assert api.speech_write_pair(speech[0], speech[1], &pcm[0, 0], pcm.shape[0], 2) == CR_OK
    assert api.speech_write_channel(speech[2], &pcm[0, 1], pcm.shape[0], 2) == CR_OK
    found = []
    for i in range(3):
        assert api.speech_finish(speech[i]) == CR_OK
        assert api.speech_take(speech[i], talks, 8, &count) == CR_OK
        found.append([(talks[j].start, talks[j].end) for j in range(count)])
        api.speech_destroy(speech[i])
    return found

def instructions():
    cdef cr_isa active = api.isa_active()
    return api.isa_name(active).decode(), api.isa_available(active), api.isa_forced(), api.wav_pad(3)
"""


def _built(folder: Path, name: str, source: str, *options: str) -> Path:
    """A Cython module of a stranger's."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    (folder / f"{name}.pyx").write_text(source, "utf-8")
    package = Path(callreplay.__file__).parent
    subprocess.run(
        [sys.executable, "-m", "cython", "-3", "-X", "freethreading_compatible=True", "-I", str(package.parent),
         f"{name}.pyx"],
        cwd=folder, check=True,
    )  # fmt: skip
    target = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-I", str(package / "include"), *options,
         "-I", sysconfig.get_path("include"), f"{name}.c", "-o", str(target)],
        cwd=folder, check=True,
    )  # fmt: skip
    return target


def _loaded(name: str, target: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    found = re.search(r"```cython\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return _loaded("stranger", _built(tmp_path_factory.mktemp("stranger"), "stranger", found[1]))


def test_the_table_offers_mixer_group_speex_and_raster(tmp_path: Path) -> None:
    grown = _loaded("grown", _built(tmp_path, "grown", GROWN))
    major, minor, size, known = grown.table()
    assert (major, size) == (1, known)
    assert minor >= 2
    pcm = np.random.default_rng(2).integers(-9000, 9000, 4000, np.int16)
    out = np.zeros(len(pcm), np.int16)
    assert grown.mixed(pcm, out) == (len(pcm), len(pcm), len(pcm))
    assert np.array_equal(out, pcm)
    assert grown.extremes(pcm) == [(int(p.min()), int(p.max())) for p in pcm.reshape(-1, 100)]
    assert grown.speex(pcm)[:4] == b"OggS"
    assert grown.group() == (0, 0, 0)
    octets = np.zeros(len(pcm) // 50, np.int8)
    grown.drawn(pcm, octets)
    assert octets.reshape(-1, 2).tolist() == [
        [int(low / 256), int(high / 256)] for low, high in grown.extremes(pcm)
    ]
    image = np.random.default_rng(3).integers(0, 4, (30, 50), np.uint8)
    assert grown.packed(image) == _core.png_pack(image)
    ground = np.zeros((10, 20), np.uint8)
    grown.marked(ground, 0.25, 0.5)
    assert sorted(set(ground[:, 5:10].ravel())) == [8, 9]
    assert not ground[:, :5].any()
    assert not ground[:, 10:].any()
    with callreplay.open(SAMPLE) as capture:
        voice = capture.calls[0].mix(rate=8000, channels="mono")
    spoken = np.zeros((len(voice), 2), np.int16)
    spoken[:, 1] = voice
    one, two, alone = grown.talk(spoken)
    assert (one, two) == ([], alone)
    assert two
    assert grown.instructions() == (_core.isa_active(), 1, int(_core.isa_forced()), 1)


def test_the_table_offers_every_function_of_the_headers() -> None:
    """In C and in Cython, in one order: a member that stands elsewhere in one of them calls another function."""
    package = Path(callreplay.__file__).parent
    headers = [
        path.read_text("utf-8")
        for path in sorted((package / "include" / "callreplay").glob("*.h"))
        if path.name != "capi.h"
    ]
    text = re.sub(r"/\*.*?\*/", "", "".join(headers), flags=re.DOTALL)
    public = set(re.findall(r"\bcr_(\w+)\(", text))
    table = (package / "include" / "callreplay" / "capi.h").read_text("utf-8")
    members = re.findall(r"\(\*(\w+)\)\(", table)
    assert len(public) > 50
    # G.711 has kernels and no function of its own.
    assert set(members) == public | {"decode_ulaw", "decode_alaw"}
    assert re.findall(r"\(\*(\w+)\)\(", (package / "capi.pxd").read_text("utf-8")) == members


def test_a_table_that_has_too_little_is_refused(tmp_path: Path) -> None:
    source = "from callreplay.capi cimport *\ncdef const cr_capi *api = cr_capi_import()\n"
    target = _built(tmp_path, "demanding", source, "-DCR_CAPI_NEEDED_MINOR=99")
    with pytest.raises(ImportError, match=r"has C API 1\.\d+, this extension needs 1\.99"):
        _loaded("demanding", target)


def test_a_stranger_decodes_what_we_decode(stranger: ModuleType) -> None:
    octets = np.random.default_rng(1).integers(0, 256, 4000, np.uint8).tobytes()
    leg = laws.make_leg([(0, 0, octets, 0)], [Span(STATIC[0], 0, 1, 0, 0, 0, 0, len(octets))])
    out = np.zeros(len(octets), np.int16)
    assert stranger.decode(octets, out) == len(octets)
    assert np.array_equal(out, decode_leg(leg))
    again = np.zeros(len(octets), np.int16)
    stranger.ulaw(octets, again)
    assert np.array_equal(again, out)


def test_a_stranger_runs_without_the_gil(stranger: ModuleType) -> None:
    octets = bytes(range(256)) * 20_000
    out = np.zeros(len(octets), np.int16)
    laws.gil_is_released(lambda: stranger.ulaw(octets, out))


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL here")
def test_work_that_holds_the_gil_is_told_from_work_that_does_not() -> None:
    with pytest.raises(AssertionError):
        laws.gil_is_released(lambda: sum(range(100_000)), patience=0.3)
