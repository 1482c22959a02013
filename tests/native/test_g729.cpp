// G.729 against the ITU's conformance files, on every instruction set, and single steps against known values.
#include <doctest/doctest.h>

#include <array>
#include <memory>

#include "g729_vectors.h"

// The steps are templates: this test makes its own copies of them, in a namespace of its own.
#define CR_ISA g729_test
#include "decode/g729/decoder.h"

using callreplay::G729Frame;
using callreplay::G729Kernel;
using g729_vectors::StoredFrame;
namespace lanes = callreplay::g729_test;
namespace g729 = callreplay::g729_test::g729;

namespace {

constexpr cr_isa kIsas[] = {CR_ISA_SCALAR, CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512};

struct Vector {
  const char *serial, *pcm;
  size_t frames;
};
constexpr Vector kVectors[] = {
    {"ALGTHM.BIT", "ALGTHM.PST", 35},      {"ERASURE.BIT", "ERASURE.PST", 300},
    {"FIXED.BIT", "FIXED.PST", 120},       {"LSP.BIT", "LSP.PST", 2232},
    {"PARITY.BIT", "PARITY.PST", 300},     {"SPEECH.BIT", "SPEECH.PST", 3750},
    {"tstseq1a.bit", "tstseq1a.out", 998}, {"tstseq2a.bit", "tstseq2a.out", 273},
    {"tstseq3a.bit", "tstseq3a.out", 856},
};

struct AlignedFree {
  void operator()(void *p) const { std::free(p); }
};

// Samples that differ from `expected` when every lane decodes the same frames.
long differing(const G729Kernel &kernel, const std::vector<StoredFrame> &frames,
               const std::vector<uint16_t> &expected) {
  std::unique_ptr<void, AlignedFree> state(std::aligned_alloc(64, (kernel.state_bytes + 63) / 64 * 64));
  std::vector<G729Frame> views(static_cast<size_t>(kernel.lanes));
  std::vector<std::array<int16_t, 80>> pcm(views.size());
  std::vector<int16_t *> to;
  for (int lane = 0; lane < kernel.lanes; ++lane) {
    kernel.reset(state.get(), lane);
    to.push_back(pcm[static_cast<size_t>(lane)].data());
  }
  long count = 0;
  for (size_t f = 0; f < frames.size(); ++f) {
    std::fill(views.begin(), views.end(), frames[f].view());
    kernel.decode(state.get(), views.data(), to.data());
    for (const auto &samples : pcm) {
      for (size_t n = 0; n < 80; ++n) {
        count += static_cast<uint16_t>(samples[n]) != expected[80 * f + n];
      }
    }
  }
  return count;
}

// False, with a reason, when there are no vectors; on CI that is a failure.
bool vectors_are_there() {
  std::vector<uint8_t> octets;
  if (g729_vectors::read_file(g729_vectors::folder() + "/SPEECH.BIT", &octets)) {
    return true;
  }
  const char *ci = std::getenv("CI");
  if (ci != nullptr && std::strcmp(ci, "true") == 0) {
    FAIL("no G.729 vectors in " << g729_vectors::folder() << "; set CALLREPLAY_VECTORS");
  }
  MESSAGE("skipped: no G.729 vectors in " << g729_vectors::folder() << "; set CALLREPLAY_VECTORS");
  return false;
}

lanes::I32x1 one(int32_t v) {
  return {v};
}

}  // namespace

TEST_CASE("every conformance file decodes exactly on every instruction set") {
  if (!vectors_are_there()) {
    return;
  }
  for (const Vector &vector : kVectors) {
    std::vector<uint8_t> serial, pcm;
    REQUIRE(g729_vectors::read_file(g729_vectors::folder() + "/" + vector.serial, &serial));
    REQUIRE(g729_vectors::read_file(g729_vectors::folder() + "/" + vector.pcm, &pcm));
    const auto frames = g729_vectors::parse_serial(g729_vectors::words_of(serial));
    const auto expected = g729_vectors::words_of(pcm);
    REQUIRE(frames.size() == vector.frames);
    REQUIRE(expected.size() == 80 * vector.frames);
    for (cr_isa isa : kIsas) {
      if (const G729Kernel *kernel = callreplay::g729_kernel(isa); kernel != nullptr) {
        CAPTURE(std::string(vector.serial));
        CAPTURE(std::string(cr_isa_name(isa)));
        CHECK(kernel->isa == isa);
        CHECK(differing(*kernel, frames, expected) == 0);
      }
    }
  }
}

TEST_CASE("a kernel exists exactly where the instruction set does, and scalar has one lane") {
  for (cr_isa isa : kIsas) {
    CHECK((callreplay::g729_kernel(isa) != nullptr) == (cr_isa_available(isa) != 0));
  }
  CHECK(callreplay::g729_kernel(CR_ISA_SCALAR)->lanes == 1);
}

TEST_CASE("logarithm, power and roots") {
  auto log2_of = [](int32_t v) {
    const auto y = g729::log2(one(v));
    return std::array<int32_t, 2>{y.exponent.v, y.fraction_q15.v};
  };
  CHECK(log2_of(1) == std::array<int32_t, 2>{0, 0});
  CHECK(log2_of(0) == std::array<int32_t, 2>{0, 0});
  CHECK(log2_of(12345678) == std::array<int32_t, 2>{23, 18266});
  CHECK(log2_of(41438) == std::array<int32_t, 2>{15, 11093});
  CHECK(g729::inverse_sqrt(one(1)).v == 1073709056);
  CHECK(g729::inverse_sqrt(one(2)).v == 759234560);
  CHECK(g729::inverse_sqrt(one(12345678)).v == 305599);
  CHECK(g729::inverse_sqrt(one(0x7FFFFFFF)).v == 23170);
  CHECK(g729::inverse_sqrt(one(0)).v == 0x3FFFFFFF);
  CHECK(g729::pow2_q14(one(0)).v == 16384);
  CHECK(g729::pow2_q14(one(12345)).v == 21273);
  CHECK(g729::pow2_q14(one(32767)).v == 32766);
  CHECK(g729::pulse_root(one(1000000000)).v == 22360);
  CHECK(g729::pulse_root(one(12345)).v == 78);
}

TEST_CASE("random numbers") {
  CHECK(g729::next_random(one(11111)).v == 10260);
  CHECK(g729::next_random(one(10260)).v == -3043);
  CHECK(g729::next_random(one(21845)).v == 3242);
  CHECK(g729::next_random(one(3242)).v == 23867);
  // 483 draws a subframe, side by side or one after the other.
  for (int16_t seed : {int16_t{11111}, int16_t{-1}, int16_t{0}, int16_t{32767}, int16_t{-32768}}) {
    int16_t samples[40];
    const auto draw = g729::draw_noise(seed, samples, 1);
    lanes::I32x1 s = one(seed);
    CHECK(draw.first == (s = g729::next_random(s)).v);
    CHECK(draw.second == (s = g729::next_random(s)).v);
    CHECK(draw.third == (s = g729::next_random(s)).v);
    for (int16_t sample : samples) {
      int32_t sum = 0;
      for (int i = 0; i < 12; ++i) {
        sum += (s = g729::next_random(s)).v;
      }
      CHECK(sample == static_cast<int16_t>(sum >> 7));
    }
    CHECK(draw.last == s.v);
  }
}

TEST_CASE("line spectral frequencies to filter coefficients") {
  auto coefficients = [](const std::array<int32_t, 10> &lsp) {
    lanes::I32x1 q[10], plain[11], checked[11];
    for (size_t j = 0; j < 10; ++j) {
      q[j] = one(lsp[j]);
    }
    g729::lsp_to_a<false>(q, plain);
    g729::lsp_to_a<true>(q, checked);
    std::array<int32_t, 11> a{};
    for (size_t j = 0; j < 11; ++j) {
      CHECK(plain[j].v == checked[j].v);
      a[j] = plain[j].v;
    }
    return a;
  };
  std::array<int32_t, 10> from_lsf{}, initial{};
  lanes::I32x1 w[10], lsp[10];
  for (size_t j = 0; j < 10; ++j) {
    w[j] = one(g729::tables::kLsfInit[j]);
    initial[j] = g729::tables::kLspInit[j];
  }
  g729::lsf_to_lsp(w, lsp);
  for (size_t j = 0; j < 10; ++j) {
    from_lsf[j] = lsp[j].v;
  }
  CHECK(from_lsf ==
        std::array<int32_t, 10>{31435, 27561, 21458, 13613, 4664, -4659, -13609, -21450, -27556, -31435});
  CHECK(coefficients(from_lsf) == std::array<int32_t, 11>{4096, -3, 8, -1, 6, 1, 3, 1, 1, 0, 1});
  CHECK(coefficients(initial) ==
        std::array<int32_t, 11>{4096, -3750, 6003, -4924, 5959, -4316, 4045, -2402, 1808, -729, 346});
}

template <class V>
void check_first_noise() {
  constexpr int kLanes = V::kLanes;
  auto state = std::make_unique<g729::State<kLanes>>();
  auto work = std::make_unique<g729::Work<V>>();
  for (int lane = 0; lane < kLanes; ++lane) {
    g729::reset_lane(*state, lane);
    state->word[g729::kCurGain][lane] = 400;
  }
  std::memset(static_cast<void *>(work.get()), 0, sizeof *work);
  work->noisy = lanes::mask_of<V>((1u << kLanes) - 1);
  work->ahead = work->good = work->lost = work->sid = lanes::mask_of<V>(0);
  work->any_noisy = true;
  g729::excite(*state, *work, 0);
  g729::excite(*state, *work, 1);
  // The sign of the first pulse is the ITU's: with the other one every Annex B vector fails.
  constexpr int16_t kFirst[12] = {121, -29, 18, 8, -121, -34, -2, 26, 11, 32, 0, -122};
  constexpr int16_t kSecond[12] = {11, 26, -140, -22, 14, 13, 35, -28, -14, 16, 76, -40};
  for (int lane = 0; lane < kLanes; ++lane) {
    for (int n = 0; n < 12; ++n) {
      int16_t first[kLanes], second[kLanes];
      lanes::store16(first, *work->exc(n));
      lanes::store16(second, *work->exc(40 + n));
      CHECK(first[lane] == kFirst[n]);
      CHECK(second[lane] == kSecond[n]);
    }
    CHECK(state->word[g729::kSeed][lane] == 5273);
  }
}

TEST_CASE("the first comfort noise of a stream") {
  check_first_noise<lanes::I32x1>();
  check_first_noise<lanes::I32>();
}
