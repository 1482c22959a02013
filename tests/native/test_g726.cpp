#include <memory>

#include "checkasm.h"
#include "decode/g726/codes.h"
#include "decode/kernels.h"
#include "g726_literal.h"

using callreplay::G726Kernel;
using checkasm::Guarded;
using checkasm::Pattern;
using checkasm::Random;

namespace {

// Codes that keep the decoder at an end of what it can be: full scale for long, so that words wrap.
void fill_loud(uint8_t *codes, size_t count, int bits, Random &random) {
  const auto top = static_cast<uint8_t>((1 << (bits - 1)) - 1);
  uint8_t code = top;
  for (size_t i = 0; i < count; ++i) {
    if (random.below(40) == 0) code = random.below(2) == 0 ? top : static_cast<uint8_t>(top + 1);
    codes[i] = random.below(200) == 0 ? static_cast<uint8_t>(random.below(32)) : code;
  }
}

// Codes that keep their sign for seconds, so that zeros grow until they wrap, and then change it now and then.
void fill_steady(uint8_t *codes, size_t count, int bits, Random &random) {
  const auto half = static_cast<uint8_t>(1 << (bits - 1));
  const size_t flips = random.below(2) == 0 ? 0 : 1 + random.below(400);
  uint8_t negative = random.below(2) == 0 ? 0 : half;
  for (size_t i = 0; i < count; ++i) {
    if (flips != 0 && random.below(flips) == 0) negative ^= half;
    codes[i] = static_cast<uint8_t>(negative | random.below(half));
  }
}

struct Streams {
  std::vector<std::unique_ptr<Guarded<uint8_t>>> codes;
  std::vector<std::unique_ptr<Guarded<int16_t>>> pcm;
  std::vector<const uint8_t *> from;
  std::vector<int16_t *> to;

  // `count` codes a lane, of which the bits above `bits` are noise; about one lane in `idle_every` has none.
  Streams(int lanes, size_t count, int bits, size_t idle_every, Pattern pattern, bool loud, Random &random) {
    for (int lane = 0; lane < lanes; ++lane) {
      codes.push_back(std::make_unique<Guarded<uint8_t>>(count, random.below(64)));
      pcm.push_back(std::make_unique<Guarded<int16_t>>(count, random.below(32)));
      if (loud) {
        fill_loud(codes.back()->data(), count, bits, random);
      } else {
        checkasm::fill(codes.back()->data(), count, pattern, random);
      }
      const bool idle = idle_every != 0 && random.below(idle_every) == 0;
      from.push_back(idle ? nullptr : codes.back()->data());
      to.push_back(idle ? nullptr : pcm.back()->data());
    }
  }
};

void compare_run(const G726Kernel *kernel, int bits, Pattern pattern, bool loud, size_t idle_every,
                 Random &random) {
  static constexpr size_t kLengths[] = {160, 1, 0, 80, 7, 8, 9, 53, 3, 161, 240, 16, 480};
  checkasm::State state(kernel->state_bytes);
  std::memset(state.data(), 0x5C, kernel->state_bytes);
  for (int lane = 0; lane < kernel->lanes; ++lane) kernel->reset(state.data(), lane);
  std::vector<literal726::Decoder> laws(static_cast<size_t>(kernel->lanes), literal726::Decoder(bits));
  for (const size_t count : kLengths) {
    Streams streams(kernel->lanes, count, bits, idle_every, pattern, loud, random);
    kernel->decode(state.data(), bits, streams.from.data(), streams.to.data(), static_cast<int>(count));
    for (size_t lane = 0; lane < laws.size(); ++lane) {
      if (streams.from[lane] == nullptr) {
        REQUIRE(streams.pcm[lane]->untouched());
        continue;
      }
      std::vector<int16_t> expected(count + 1);  // never null
      for (size_t i = 0; i < count; ++i) {
        expected[i] = laws[lane].linear(streams.from[lane][i] & ((1 << bits) - 1));
      }
      REQUIRE(streams.pcm[lane]->intact());
      REQUIRE_MESSAGE(std::memcmp(streams.to[lane], expected.data(), 2 * count) == 0,
                      cr_isa_name(kernel->isa), " bits ", bits, " pattern ", static_cast<int>(pattern),
                      " lane ", lane, " codes ", count);
    }
  }
}

}  // namespace

TEST_CASE("every width equals the recommendation for any code, rate, length and set of idle lanes") {
  Random random(checkasm::seed());
  for (const cr_isa isa : checkasm::available_isas()) {
    const G726Kernel *kernel = callreplay::g726_kernel(isa);
    REQUIRE(kernel != nullptr);
    CHECK(kernel->isa == isa);
    for (int bits = 2; bits <= 5; ++bits) {
      for (const auto pattern : checkasm::kPatterns) {
        for (const size_t idle_every : {size_t{0}, size_t{3}}) {
          compare_run(kernel, bits, pattern, false, idle_every, random);
        }
      }
      compare_run(kernel, bits, Pattern::kRandom, true, 0, random);
      compare_run(kernel, bits, Pattern::kRandom, true, 3, random);
    }
  }
}

TEST_CASE("a stream goes on in another lane of another width, and in pieces") {
  Random random(checkasm::seed() + 1);
  std::vector<uint8_t> codes(3000);
  for (int bits = 2; bits <= 5; ++bits) {
    checkasm::fill(codes.data(), codes.size(), Pattern::kBursts, random);
    literal726::Decoder law(bits);
    std::vector<uint64_t> stream(callreplay::g726_kernel(CR_ISA_SCALAR)->stream_bytes / 8 + 1);
    bool begun = false;
    for (size_t at = 0; at < codes.size();) {
      const auto isas = checkasm::available_isas();
      const G726Kernel *kernel = callreplay::g726_kernel(isas[random.below(isas.size())]);
      REQUIRE(kernel->stream_bytes <= 8 * stream.size());
      const auto lane = random.below(static_cast<size_t>(kernel->lanes));
      checkasm::State state(kernel->state_bytes);
      for (int each = 0; each < kernel->lanes; ++each) kernel->reset(state.data(), each);
      if (begun) kernel->load(state.data(), static_cast<int>(lane), stream.data());
      begun = true;
      const size_t count = std::min(codes.size() - at, 1 + random.below(300));
      std::vector<const uint8_t *> from(static_cast<size_t>(kernel->lanes), nullptr);
      std::vector<int16_t *> to(static_cast<size_t>(kernel->lanes), nullptr);
      std::vector<int16_t> pcm(count), expected;
      from[lane] = codes.data() + at;
      to[lane] = pcm.data();
      kernel->decode(state.data(), bits, from.data(), to.data(), static_cast<int>(count));
      for (size_t i = 0; i < count; ++i) expected.push_back(law.linear(codes[at + i] & ((1 << bits) - 1)));
      REQUIRE(pcm == expected);
      kernel->save(state.data(), static_cast<int>(lane), stream.data());
      at += count;
    }
  }
}

TEST_CASE("codes come out of payloads in either order of bits, from any place on") {
  Random random(checkasm::seed() + 2);
  for (int bits = 2; bits <= 5; ++bits) {
    for (const bool aal2 : {false, true}) {
      for (size_t octets = 0; octets < 24; ++octets) {
        Guarded<uint8_t> payload(octets, random.below(64));
        checkasm::fill(payload.data(), octets, Pattern::kRandom, random);
        const size_t total = 8 * octets / static_cast<size_t>(bits);
        std::vector<uint8_t> expected(total);
        for (size_t bit = 0; bit < total * static_cast<size_t>(bits); ++bit) {
          const size_t within = bit % static_cast<size_t>(bits);
          const unsigned one = payload[bit / 8] >> (aal2 ? 7 - bit % 8 : bit % 8) & 1;
          const size_t place = aal2 ? static_cast<size_t>(bits) - 1 - within : within;
          expected[bit / static_cast<size_t>(bits)] |= static_cast<uint8_t>(one << place);
        }
        for (size_t first = 0; first <= total; first += 1 + random.below(3)) {
          for (const size_t count : {total - first, (total - first) / 2}) {
            Guarded<uint8_t> codes(count, random.below(64));
            callreplay::unpack_g726(payload.data(), first, count, bits, aal2, codes.data());
            REQUIRE(codes.intact());
            REQUIRE(std::equal(codes.data(), codes.data() + count,
                               expected.begin() + static_cast<ptrdiff_t>(first)));
          }
        }
      }
    }
  }
}

TEST_CASE("zeros wrap as the recommendation's words do") {
  Random random(checkasm::seed() + 3);
  constexpr size_t kCount = 6000;
  for (const cr_isa isa : checkasm::available_isas()) {
    const G726Kernel *kernel = callreplay::g726_kernel(isa);
    for (int bits = 2; bits <= 5; ++bits) {
      const auto lanes = static_cast<size_t>(kernel->lanes);
      checkasm::State state(kernel->state_bytes);
      std::vector<std::vector<uint8_t>> codes(lanes, std::vector<uint8_t>(kCount));
      std::vector<std::vector<int16_t>> pcm(lanes, std::vector<int16_t>(kCount));
      std::vector<const uint8_t *> from;
      std::vector<int16_t *> to;
      for (size_t lane = 0; lane < lanes; ++lane) {
        kernel->reset(state.data(), static_cast<int>(lane));
        fill_steady(codes[lane].data(), kCount, bits, random);
        from.push_back(codes[lane].data());
        to.push_back(pcm[lane].data());
      }
      kernel->decode(state.data(), bits, from.data(), to.data(), kCount);
      for (size_t lane = 0; lane < lanes; ++lane) {
        literal726::Decoder law(bits);
        std::vector<int16_t> expected;
        for (const uint8_t code : codes[lane]) expected.push_back(law.linear(code));
        REQUIRE_MESSAGE(pcm[lane] == expected, cr_isa_name(isa), " bits ", bits, " lane ", lane);
      }
    }
  }
}

CHECKASM_BENCH("g726: 160 codes of each lane, 32 kbit/s") {
  Random random(checkasm::seed());
  for (const cr_isa isa : checkasm::available_isas()) {
    const G726Kernel *kernel = callreplay::g726_kernel(isa);
    checkasm::State state(kernel->state_bytes);
    for (int lane = 0; lane < kernel->lanes; ++lane) kernel->reset(state.data(), lane);
    Streams streams(kernel->lanes, 160, 4, 0, Pattern::kRandom, false, random);
    checkasm::report(cr_isa_name(isa), 160.0 * kernel->lanes,
                     [&] { kernel->decode(state.data(), 4, streams.from.data(), streams.to.data(), 160); });
  }
}
