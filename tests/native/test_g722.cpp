#include <memory>

#include "checkasm.h"
#include "decode/kernels.h"

// The law itself, N = 1 in plain C++, without the shortcut for one stream that the scalar kernel takes.
#define CR_ISA reference
#include "decode/g722/g722.h"
#undef CR_ISA

using callreplay::G722Kernel;
using checkasm::Guarded;
using checkasm::Pattern;
using checkasm::Random;

namespace {

namespace law = callreplay::reference::g722;

class Law {
 public:
  Law() { std::memset(&state_, 0, sizeof state_); }
  void decode(int mode, const uint8_t *octets, int16_t *pcm, int count) {
    law::decode<1>(&state_, mode, &octets, &pcm, count);
  }
  void reset() { law::reset<1>(&state_, 0); }

 private:
  law::State<1> state_;
};

// Octets that hold the low band's scale factor at its top, so that differences leave 14 bits.
void fill_loud(uint8_t *octets, size_t count, Random &random) {
  for (size_t i = 0; i < count; ++i) {
    const unsigned low = random.below(8) == 0 ? 0x20 : 0x04;
    octets[i] = static_cast<uint8_t>(low | random.below(4) << 6);
  }
}

struct Streams {
  std::vector<std::unique_ptr<Guarded<uint8_t>>> octets;
  std::vector<std::unique_ptr<Guarded<int16_t>>> pcm;
  std::vector<const uint8_t *> from;
  std::vector<int16_t *> to;

  // Payloads of `count` octets; about one lane in `idle_every` has none.
  Streams(int lanes, size_t count, size_t idle_every, Pattern pattern, bool loud, Random &random) {
    for (int lane = 0; lane < lanes; ++lane) {
      octets.push_back(std::make_unique<Guarded<uint8_t>>(count, random.below(64)));
      pcm.push_back(std::make_unique<Guarded<int16_t>>(2 * count, random.below(32)));
      if (loud) {
        fill_loud(octets.back()->data(), count, random);
      } else {
        checkasm::fill(octets.back()->data(), count, pattern, random);
      }
      const bool idle = idle_every != 0 && random.below(idle_every) == 0;
      from.push_back(idle ? nullptr : octets.back()->data());
      to.push_back(idle ? nullptr : pcm.back()->data());
    }
  }
};

void compare_run(const G722Kernel *kernel, int mode, Pattern pattern, bool loud, size_t idle_every,
                 Random &random) {
  static constexpr size_t kLengths[] = {160, 1, 0, 80, 31, 32, 33, 64, 3, 161, 240, 16, 7, 480};
  checkasm::State state(kernel->state_bytes);
  std::memset(state.data(), 0x5C, kernel->state_bytes);
  for (int lane = 0; lane < kernel->lanes; ++lane) kernel->reset(state.data(), lane);
  std::vector<Law> laws(static_cast<size_t>(kernel->lanes));
  for (const size_t count : kLengths) {
    Streams streams(kernel->lanes, count, idle_every, pattern, loud, random);
    kernel->decode(state.data(), mode, streams.from.data(), streams.to.data(), static_cast<int>(count));
    for (size_t lane = 0; lane < laws.size(); ++lane) {
      if (streams.from[lane] == nullptr) {
        REQUIRE(streams.pcm[lane]->untouched());
        continue;
      }
      std::vector<int16_t> expected(2 * count + 1);  // never null
      laws[lane].decode(mode, streams.from[lane], expected.data(), static_cast<int>(count));
      REQUIRE(streams.pcm[lane]->intact());
      REQUIRE_MESSAGE(std::memcmp(streams.to[lane], expected.data(), 4 * count) == 0,
                      cr_isa_name(kernel->isa), " mode ", mode, " pattern ", static_cast<int>(pattern),
                      " lane ", lane, " octets ", count);
    }
    // A stream ends, another takes its lane.
    const size_t gone = random.below(laws.size());
    kernel->reset(state.data(), static_cast<int>(gone));
    laws[gone].reset();
  }
}

}  // namespace

TEST_CASE("the ITU vector decodes exactly in every lane of every width") {
  std::vector<unsigned char> coded, expected;
  REQUIRE_VECTOR("g722/codspw.cod", coded);
  REQUIRE_VECTOR("g722/outsp1.bin", expected);
  std::vector<uint8_t> octets(coded.size() / 2);
  for (size_t i = 0; i < octets.size(); ++i) octets[i] = coded[2 * i];
  REQUIRE(expected.size() == 4 * octets.size());
  const std::vector<int16_t> samples = checkasm::samples_of(expected);
  for (const cr_isa isa : checkasm::available_isas()) {
    const G722Kernel *kernel = callreplay::g722_kernel(isa);
    REQUIRE(kernel != nullptr);
    CHECK(kernel->isa == isa);
    checkasm::State state(kernel->state_bytes);
    const auto lanes = static_cast<size_t>(kernel->lanes);
    for (size_t lane = 0; lane < lanes; ++lane) kernel->reset(state.data(), static_cast<int>(lane));
    std::vector<std::vector<int16_t>> pcm(lanes, std::vector<int16_t>(2 * octets.size()));
    std::vector<const uint8_t *> from(lanes, octets.data());
    std::vector<int16_t *> to;
    for (auto &one : pcm) to.push_back(one.data());
    kernel->decode(state.data(), 0, from.data(), to.data(), static_cast<int>(octets.size()));
    for (size_t lane = 0; lane < lanes; ++lane) {
      CHECK_MESSAGE(pcm[lane] == samples, cr_isa_name(isa), " ", lane);
    }
  }
}

TEST_CASE("every width equals the law for any payload, mode, length and set of idle lanes") {
  Random random(checkasm::seed());
  for (const cr_isa isa : checkasm::available_isas()) {
    const G722Kernel *kernel = callreplay::g722_kernel(isa);
    for (int mode = 0; mode < 3; ++mode) {
      for (const auto pattern : checkasm::kPatterns) {
        for (const size_t idle_every : {size_t{0}, size_t{3}}) {
          compare_run(kernel, mode, pattern, false, idle_every, random);
        }
      }
      compare_run(kernel, mode, Pattern::kRandom, true, 0, random);
      compare_run(kernel, mode, Pattern::kRandom, true, 3, random);
    }
  }
}

TEST_CASE("a stream decodes alike in one piece and in pieces") {
  Random random(checkasm::seed() + 1);
  const G722Kernel *kernel = callreplay::g722_kernel(cr_isa_active());
  const auto lanes = static_cast<size_t>(kernel->lanes);
  std::vector<uint8_t> octets(1000);
  checkasm::fill(octets.data(), octets.size(), Pattern::kRandom, random);
  std::vector<int16_t> whole(2000), pieces(2000);
  checkasm::State state(kernel->state_bytes);
  const auto decode = [&](std::vector<int16_t> &pcm, size_t at, size_t count) {
    std::vector<const uint8_t *> from(lanes, nullptr);
    std::vector<int16_t *> to(lanes, nullptr);
    from[lanes - 1] = octets.data() + at;
    to[lanes - 1] = pcm.data() + 2 * at;
    kernel->decode(state.data(), 0, from.data(), to.data(), static_cast<int>(count));
  };
  kernel->reset(state.data(), static_cast<int>(lanes - 1));
  decode(whole, 0, octets.size());
  kernel->reset(state.data(), static_cast<int>(lanes - 1));
  for (size_t at = 0; at < octets.size();) {
    const size_t count = std::min(octets.size() - at, 1 + random.below(70));
    decode(pieces, at, count);
    at += count;
  }
  CHECK(whole == pieces);
}

CHECKASM_BENCH("g722: 160 octets of each lane, 64 kbit/s") {
  Random random(checkasm::seed());
  for (const cr_isa isa : checkasm::available_isas()) {
    const G722Kernel *kernel = callreplay::g722_kernel(isa);
    checkasm::State state(kernel->state_bytes);
    for (int lane = 0; lane < kernel->lanes; ++lane) kernel->reset(state.data(), lane);
    Streams streams(kernel->lanes, 160, 0, Pattern::kRandom, false, random);
    checkasm::report(cr_isa_name(isa), 320.0 * kernel->lanes,
                     [&] { kernel->decode(state.data(), 0, streams.from.data(), streams.to.data(), 160); });
  }
}
