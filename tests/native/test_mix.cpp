#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>
#include <vector>

#include "callreplay/mix.h"
#include "checkasm.h"
#include "mix/kernels.h"
#include "mix/timeline.h"

namespace {

// `pcm` through a mixer of its own, in pieces of `piece` samples and reads of `most` frames.
std::vector<int16_t> mix_one(const std::vector<int16_t> &pcm, int32_t from_hz, int32_t to_hz,
                             int64_t drift_ppb, size_t piece = 960, size_t most = 4096, int64_t anchor_ns = 0,
                             int32_t block_ms = 120) {
  const auto frames = static_cast<int64_t>(pcm.size()) * to_hz / from_hz;
  const cr_timeline timeline{to_hz, 1, 0, frames, block_ms, 0};
  cr_mixer *mixer = nullptr;
  uint32_t track = 0;
  cr_mixer_create(&timeline, nullptr, 0, &mixer);
  cr_mixer_add_track(mixer, 0, 0, from_hz, anchor_ns, drift_ppb, &track);
  std::vector<int16_t> out(static_cast<size_t>(frames));
  size_t pushed = 0, read = 0;
  bool finished = false;
  while (read < out.size()) {
    size_t taken = 0, got = 0;
    if (pushed < pcm.size()) {
      cr_mixer_push(mixer, track, static_cast<int64_t>(pushed), pcm.data() + pushed,
                    std::min(piece, pcm.size() - pushed), &taken);
      pushed += taken;
    } else if (!finished) {
      cr_mixer_finish(mixer, track);
      finished = true;
    }
    cr_mixer_read(mixer, out.data() + read, std::min(most, out.size() - read), &got);
    read += got;
  }
  cr_mixer_destroy(mixer);
  return out;
}

std::vector<int16_t> noise(size_t count) {
  checkasm::Random random{3};
  std::vector<int16_t> pcm(count);
  for (int16_t &sample : pcm) {
    sample = static_cast<int16_t>(static_cast<int16_t>(random.next() & 0x3fff) - 0x2000);
  }
  return pcm;
}

}  // namespace

// CALLREPLAY_SIMD chooses the instruction set. Items are frames of the output.
CHECKASM_BENCH("mix of 60 s") {
  const struct {
    const char *name;
    int32_t from_hz, to_hz;
    int64_t drift_ppb;
  } rows[] = {{"8 kHz", 8000, 8000, 0},
              {"8, 40 ppm", 8000, 8000, 40'000},
              {"8,-200 ppm", 8000, 8000, -200'000},
              {"8,2000 ppm", 8000, 8000, 2'000'000},
              {"8 to 16", 8000, 16000, 0},
              {"8 to 16 40", 8000, 16000, 40'000},
              {"16 to 8", 16000, 8000, 0},
              {"16 to 8 40", 16000, 8000, 40'000},
              {"44.1 to 8", 44100, 8000, 0}};
  for (const auto &row : rows) {
    const std::vector<int16_t> pcm = noise(static_cast<size_t>(row.from_hz) * 60);
    checkasm::report(row.name, row.to_hz * 60.0,
                     [&] { mix_one(pcm, row.from_hz, row.to_hz, row.drift_ppb); });
  }
  // A window of two seconds, whoever reads how much of it at once.
  const std::vector<int16_t> pcm = noise(size_t{8000} * 60);
  for (const size_t most : {8192, 160}) {
    const std::string name = "reads of " + std::to_string(most);
    checkasm::report(name.c_str(), 8000 * 60.0, [&] { mix_one(pcm, 8000, 8000, 0, 8192, most, 0, 1000); });
  }
}

TEST_CASE("tracks are placed, added and saturated") {
  const cr_timeline timeline{8000, 1, 0, 400, 200, 0};
  cr_mixer *mixer = nullptr;
  REQUIRE(cr_mixer_create(&timeline, nullptr, 0, &mixer) == CR_OK);
  uint32_t one = 0, two = 0;
  // The second begins 10 ms later: frame 80.
  REQUIRE(cr_mixer_add_track(mixer, 0, 0, 8000, 0, 0, &one) == CR_OK);
  REQUIRE(cr_mixer_add_track(mixer, 1, 0, 8000, 10'000'000, 0, &two) == CR_OK);
  const std::vector<int16_t> loud(160, 20000);
  size_t accepted = 0;
  REQUIRE(cr_mixer_push(mixer, one, 0, loud.data(), loud.size(), &accepted) == CR_OK);
  CHECK(accepted == loud.size());
  REQUIRE(cr_mixer_push(mixer, two, 0, loud.data(), loud.size(), &accepted) == CR_OK);
  CHECK(accepted == loud.size());
  REQUIRE(cr_mixer_finish(mixer, one) == CR_OK);
  REQUIRE(cr_mixer_finish(mixer, two) == CR_OK);
  std::vector<int16_t> pcm(400, -1);
  for (size_t done = 0, frames = 1; frames != 0; done += frames) {
    REQUIRE(cr_mixer_read(mixer, pcm.data() + done, pcm.size() - done, &frames) == CR_OK);
  }
  CHECK(cr_mixer_position(mixer) == 400);
  for (size_t n = 0; n < pcm.size(); ++n) {
    CAPTURE(n);
    CHECK(pcm[n] == (n < 80 ? 20000 : n < 160 ? 32767 : n < 240 ? 20000 : 0));
  }
  cr_mixer_destroy(mixer);
}

namespace {

// Two legs of a clock of their own, in stereo, with tones over both, read by `most` frames at a time.
std::vector<int16_t> mix_two(const std::vector<int16_t> &pcm, size_t most) {
  const cr_timeline timeline{8000, 2, 0, static_cast<int64_t>(pcm.size()) + 100, 20, 0};
  const cr_event events[] = {{0, 5, 30'000'000, 1'900'000'000, -10}, {1, 11, 240'000'000, 55'000'000, -6}};
  cr_mixer *mixer = nullptr;
  REQUIRE(cr_mixer_create(&timeline, events, 2, &mixer) == CR_OK);
  uint32_t tracks[2];
  size_t pushed[2] = {};
  for (uint32_t leg = 0; leg < 2; ++leg) {
    REQUIRE(cr_mixer_add_track(mixer, leg, static_cast<int32_t>(leg), leg == 0 ? 8000 : 16000, 0,
                               leg == 0 ? 300'000 : 0, &tracks[leg]) == CR_OK);
  }
  std::vector<int16_t> out(2 * static_cast<size_t>(timeline.frames));
  for (size_t read = 0; read < static_cast<size_t>(timeline.frames);) {
    for (size_t leg = 0; leg < 2; ++leg) {
      size_t taken = 0;
      if (pushed[leg] == pcm.size()) {
        cr_mixer_finish(mixer, tracks[leg]);
      } else {
        REQUIRE(cr_mixer_push(mixer, tracks[leg], static_cast<int64_t>(pushed[leg]), pcm.data() + pushed[leg],
                              pcm.size() - pushed[leg], &taken) == CR_OK);
      }
      pushed[leg] += taken;
    }
    size_t got = 0;
    REQUIRE(cr_mixer_read(mixer, out.data() + 2 * read,
                          std::min(most, static_cast<size_t>(timeline.frames) - read), &got) == CR_OK);
    read += got;
  }
  cr_mixer_destroy(mixer);
  return out;
}

}  // namespace

TEST_CASE("wherever the window's ring is cut: reads of any size give the same frames and tones") {
  const std::vector<int16_t> pcm = noise(8000 * 2);
  const std::vector<int16_t> whole = mix_two(pcm, 16384);
  for (const size_t most : {1u, 7u, 160u, 959u, 1919u, 1920u, 1921u}) {
    CAPTURE(most);
    const bool same = mix_two(pcm, most) == whole;
    CHECK(same);
  }
}

TEST_CASE("wrong timelines") {
  cr_mixer *mixer = nullptr;
  cr_timeline timeline{7999, 1, 0, 400, 200, 0};
  CHECK(cr_mixer_create(&timeline, nullptr, 0, &mixer) == CR_ARGUMENT);
  timeline = {8000, 3, 0, 400, 200, 0};
  CHECK(cr_mixer_create(&timeline, nullptr, 0, &mixer) == CR_ARGUMENT);
  timeline = {8000, 1, 0, -1, 200, 0};
  CHECK(cr_mixer_create(&timeline, nullptr, 0, &mixer) == CR_ARGUMENT);
  cr_mixer_destroy(nullptr);
}

namespace {

std::vector<int16_t> tone(double frequency, double rate, size_t count, double amplitude = 10000.0) {
  std::vector<int16_t> pcm(count);
  for (size_t n = 0; n < count; ++n) {
    pcm[n] = static_cast<int16_t>(std::lround(
        amplitude * std::sin(2.0 * std::numbers::pi * frequency * static_cast<double>(n) / rate)));
  }
  return pcm;
}

}  // namespace

TEST_CASE("a clock that is a little wrong: every sample within half a sample of its place") {
  // The smallest error makes a slip every three seconds.
  const std::vector<int16_t> pcm = tone(300.0, 8000.0, 8000 * (checkasm::emulated() ? 10 : 40));
  for (const int64_t ppb : {40'000, -40'000, 300'000, -1'000'000, 1'000'000}) {
    CAPTURE(ppb);
    const std::vector<int16_t> out = mix_one(pcm, 8000, 8000, ppb);
    // Half a sample of a 300 Hz tone, and what rounding and the filter leave.
    const double most = 10000.0 * 2.0 * std::numbers::pi * 300.0 / 8000.0 * 0.5 + 4.0;
    double worst = 0.0;
    for (size_t n = 40; n < out.size() - 500; ++n) {
      const double at = static_cast<double>(n) * (1.0 + 1e-9 * static_cast<double>(ppb));
      const double ideal = 10000.0 * std::sin(2.0 * std::numbers::pi * 300.0 * at / 8000.0);
      worst = std::max(worst, std::abs(out[n] - ideal));
    }
    CHECK(worst < most);
  }
}

TEST_CASE("a wrong clock: pieces and reads change nothing") {
  // The slowest of them slips seven samples; under an emulator, one.
  const std::vector<int16_t> pcm = noise(checkasm::emulated() ? 8000 : 8000 * 5);
  for (const int64_t ppb : {170'000, -990'000, 2'000'000}) {
    for (const int32_t to_hz : {8000, 16000}) {
      CAPTURE(ppb);
      CAPTURE(to_hz);
      const std::vector<int16_t> whole = mix_one(pcm, 8000, to_hz, ppb, 960, 4096, -70'000);
      for (const size_t piece : {1u, 37u, 160u, 5000u}) {
        const bool same = mix_one(pcm, 8000, to_hz, ppb, piece, 160 + piece, -70'000) == whole;
        CHECK(same);
      }
    }
  }
}

TEST_CASE("a wrong clock: a run that begins or ends anywhere gives the frames that the whole gives") {
  const std::vector<int16_t> pcm = noise(24000);
  constexpr int64_t kReach = 33;  // of the filter: nearer to a cut, silence is heard
  for (const int64_t ppb : {500'000, -500'000}) {
    const auto frames = static_cast<int64_t>(pcm.size()) - 100;
    const std::vector<int16_t> whole = mix_one(pcm, 8000, 8000, ppb);
    for (int64_t cut = 300; cut < 6000; cut += 41) {
      const cr_timeline timeline{8000, 1, 0, frames, 10000, 0};
      cr_mixer *mixer = nullptr;
      uint32_t track = 0;
      size_t taken = 0, got = 0;
      std::vector<int16_t> out(static_cast<size_t>(frames));
      REQUIRE(cr_mixer_create(&timeline, nullptr, 0, &mixer) == CR_OK);
      REQUIRE(cr_mixer_add_track(mixer, 0, 0, 8000, 0, ppb, &track) == CR_OK);
      // Samples cut to cut + 200 are missing.
      const int64_t resumed = cut + 200;
      REQUIRE(cr_mixer_push(mixer, track, 0, pcm.data(), static_cast<size_t>(cut), &taken) == CR_OK);
      REQUIRE(taken == static_cast<size_t>(cut));
      REQUIRE(cr_mixer_push(mixer, track, resumed, pcm.data() + resumed,
                            pcm.size() - static_cast<size_t>(resumed), &taken) == CR_OK);
      REQUIRE(taken == pcm.size() - static_cast<size_t>(resumed));
      REQUIRE(cr_mixer_finish(mixer, track) == CR_OK);
      REQUIRE(cr_mixer_read(mixer, out.data(), out.size(), &got) == CR_OK);
      cr_mixer_destroy(mixer);
      REQUIRE(got == out.size());
      int64_t wrong = 0;
      for (int64_t n = 0; n < frames; ++n) {
        const double at = static_cast<double>(n) * (1.0 + 1e-9 * static_cast<double>(ppb));
        const bool silent = at > cut + 1.0 && at < resumed - 1.0;
        const bool untouched = at < cut - kReach || at > resumed + kReach;
        wrong += (silent && out[static_cast<size_t>(n)] != 0) ||
                 (untouched && out[static_cast<size_t>(n)] != whole[static_cast<size_t>(n)]);
      }
      CAPTURE(cut);
      CHECK(wrong == 0);
    }
  }
}

TEST_CASE("a glide does not click: a tone stays a tone") {
  constexpr size_t kWindow = 512;
  const size_t hop = checkasm::emulated() ? kWindow / 2 : kWindow / 4;
  std::array<double, kWindow> cosine, sine, window, windowed;
  for (size_t n = 0; n < kWindow; ++n) {
    const double angle = 2.0 * std::numbers::pi * static_cast<double>(n) / kWindow;
    cosine[n] = std::cos(angle);
    sine[n] = std::sin(angle);
    window[n] = 0.5 - 0.5 * cosine[n];
  }
  for (const double frequency : {440.0, 1000.0, 2500.0, 3400.0}) {
    const std::vector<int16_t> out =
        mix_one(tone(frequency, 8000.0, 8000 * 3), 8000, 8000, 200'000, 960, 4096, 30'000);
    double worst = 0.0, nothing = 0.0;
    for (size_t start = 100; start + kWindow < out.size() - 400; start += hop) {
      // What is left of a Hann window of 64 ms further than 250 Hz from the tone.
      double whole = 0.0, far = 0.0;
      for (size_t n = 0; n < kWindow; ++n) windowed[n] = window[n] * out[start + n];
      for (size_t bin = 0; bin <= kWindow / 2; ++bin) {
        const double hz = static_cast<double>(bin) * 8000.0 / kWindow;
        double real = 0.0, imaginary = 0.0;
        for (size_t n = 0; n < kWindow; ++n) {
          real += windowed[n] * cosine[n * bin % kWindow];
          imaginary += windowed[n] * sine[n * bin % kWindow];
        }
        const double power = real * real + imaginary * imaginary;
        whole = std::max(whole, power);
        far = std::abs(hz - frequency) >= 250.0 ? std::max(far, power) : far;
      }
      worst = std::max(worst, far / whole);
      nothing = std::max(nothing, whole);
    }
    CAPTURE(frequency);
    CHECK(nothing > 0.0);
    CHECK(10.0 * std::log10(worst) < -70.0);
  }
}

TEST_CASE("every set gives the mixer's loops the law's bits, whatever the length") {
  using callreplay::MixKernel;
  checkasm::Random random(checkasm::seed());
  const MixKernel *law = callreplay::mix_kernel(CR_ISA_SCALAR);
  constexpr size_t kRoom = 512;  // fir reads and writes whole blocks of 64
  std::vector<int16_t> pcm(kRoom);
  std::vector<int32_t> sum(kRoom), sum2(kRoom);
  std::vector<float> x(2 * kRoom), taps(kRoom);
  checkasm::fill(pcm.data(), pcm.size(), checkasm::Pattern::kEdges, random);
  for (int32_t &each : sum) each = static_cast<int32_t>(random.next()) >> random.below(31);
  for (int32_t &each : sum2) each = static_cast<int32_t>(random.next()) >> random.below(31);
  for (float &each : x) each = static_cast<float>(static_cast<int16_t>(random.next())) * 1.25f;
  for (float &each : taps) each = static_cast<float>(static_cast<int16_t>(random.next())) / 65536.0f;
  for (const cr_isa isa : checkasm::available_isas()) {
    const MixKernel *kernel = callreplay::mix_kernel(isa);
    for (const size_t count : {size_t{0}, size_t{1}, size_t{15}, size_t{33}, size_t{64}, size_t{200}}) {
      const auto same = [&](auto &&run, auto sample, const char *name) {
        using Out = decltype(sample);
        std::vector<Out> want(2 * kRoom), got(2 * kRoom);
        run(*law, want.data());
        run(*kernel, got.data());
        // What fir() leaves behind `count`, up to a multiple of 64, is nobody's.
        const size_t written = std::strcmp(name, "fir") == 0 ? count : want.size();
        CHECK_MESSAGE(std::memcmp(want.data(), got.data(), written * sizeof(Out)) == 0, cr_isa_name(isa), " ",
                      name, " of ", count);
      };
      same([&](const MixKernel &k, int32_t *to) { k.add(to, pcm.data(), count); }, int32_t{}, "add");
      same([&](const MixKernel &k, int16_t *to) { k.saturate(to, sum.data(), count); }, int16_t{},
           "saturate");
      same([&](const MixKernel &k, int16_t *to) { k.interleave(to, sum.data(), sum2.data(), count); },
           int16_t{}, "interleave");
      same([&](const MixKernel &k, float *to) { k.saturate_f32(to, sum.data(), count); }, float{},
           "saturate_f32");
      same([&](const MixKernel &k, float *to) { k.interleave_f32(to, sum.data(), sum2.data(), count); },
           float{}, "interleave_f32");
      same([&](const MixKernel &k, float *to) { k.widen(to, pcm.data(), count); }, float{}, "widen");
      same([&](const MixKernel &k, int16_t *to) { k.round(to, x.data(), count); }, int16_t{}, "round");
      same([&](const MixKernel &k, float *to) { k.every_second(to, x.data(), 1, count); }, float{},
           "every_second");
      same([&](const MixKernel &k, float *to) { k.zip(to, x.data(), x.data() + 7, count); }, float{}, "zip");
      same([&](const MixKernel &k, float *to) { k.fir(to, x.data(), taps.data(), 48, count); }, float{},
           "fir");
      same([&](const MixKernel &k,
               float *to) { *to = k.lerp_dot(x.data(), taps.data(), taps.data() + 64, 0.3f, 48); },
           float{}, "lerp_dot");
      same([&](const MixKernel &k, float *to) { k.dots(to, x.data(), taps.data(), 16, count / 8); }, float{},
           "dots");
    }
  }
}

TEST_CASE("a filter of any length gives the law's bits, also of more outputs than are copied at a time") {
  checkasm::Random random(checkasm::seed() + 1);
  const callreplay::MixKernel *law = callreplay::mix_kernel(CR_ISA_SCALAR);
  std::vector<float> x(2048), taps(300);
  for (float &each : x) each = static_cast<float>(static_cast<int16_t>(random.next()));
  for (float &each : taps) each = static_cast<float>(static_cast<int16_t>(random.next())) / 65536.0f;
  for (const cr_isa isa : checkasm::available_isas()) {
    for (const size_t taps_count : {1, 31, 32, 33, 41, 48, 65, 256, 257, 300}) {
      for (const size_t count : {1, 64, 65, 1024, 1025, 1500}) {
        std::vector<float> want(1600, 3.0f), got(1600, 3.0f);
        law->fir(want.data(), x.data() + 5, taps.data(), taps_count, count);
        callreplay::mix_kernel(isa)->fir(got.data(), x.data() + 5, taps.data(), taps_count, count);
        CHECK_MESSAGE(std::memcmp(want.data(), got.data(), count * sizeof(float)) == 0, cr_isa_name(isa), " ",
                      taps_count, " taps, ", count);
      }
    }
  }
}

TEST_CASE("positions of simple ratios go on alike where 64 bits end") {
  constexpr int64_t kEnd = int64_t{1} << 50;
  for (const auto &[from_hz, to_hz] :
       {std::pair{16000, 8000}, {8000, 16000}, {48000, 8000}, {8000, 48000}, {32000, 48000}}) {
    const int64_t divisor = std::gcd(from_hz, to_hz);
    const int64_t stride = from_hz / divisor, filters = to_hz / divisor;
    const callreplay::Placement placement(123'456'789'012'345, -987'654'321, from_hz, 0, to_hz);
    for (int64_t n = kEnd - 20; n < kEnd; ++n) {
      const auto near = placement.at(n), far = placement.at(n + 40 * filters);
      CHECK(far.sample == near.sample + 40 * stride);
      CHECK(far.fraction_q48 == near.fraction_q48);
      CHECK(placement.frame_from(n + 40 * stride) == placement.frame_from(n) + 40 * filters);
      CHECK(placement.at(placement.frame_from(n)).sample >= n);
      CHECK(placement.at(placement.frame_from(n) - 1).sample < n);
    }
  }
}

CHECKASM_BENCH("mix: 960 samples") {
  std::vector<int16_t> pcm(1920, 1000);
  std::vector<int32_t> sum(960, 40000);
  std::vector<float> x(2048, 0.5f), y(2048), taps(64, 0.01f);
  for (const cr_isa isa : checkasm::available_isas()) {
    const callreplay::MixKernel *kernel = callreplay::mix_kernel(isa);
    std::printf(" %s\n", cr_isa_name(isa));
    checkasm::report("add", 960, [&] { kernel->add(sum.data(), pcm.data(), 960); });
    checkasm::report("saturate", 960, [&] { kernel->saturate(pcm.data(), sum.data(), 960); });
    checkasm::report("interleave", 960, [&] { kernel->interleave(pcm.data(), sum.data(), sum.data(), 960); });
    checkasm::report("round", 960, [&] { kernel->round(pcm.data(), x.data(), 960); });
    checkasm::report("fir 48", 960, [&] { kernel->fir(y.data(), x.data(), taps.data(), 48, 960); });
    checkasm::report("lerp_dot", 1,
                     [&] { y[0] = kernel->lerp_dot(x.data(), taps.data(), taps.data(), 0.3f, 48); });
  }
}
