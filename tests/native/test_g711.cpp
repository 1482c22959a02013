#include "checkasm.h"
#include "decode/kernels.h"
#include "encode/g711/kernels.h"

using callreplay::G711Encoder;
using callreplay::G711Kernel;
using checkasm::Guarded;
using checkasm::Random;

namespace {

int16_t word(const std::vector<unsigned char> &octets, size_t i) {
  return static_cast<int16_t>(octets[2 * i] | octets[2 * i + 1] << 8);
}

// The lengths around a register and a packet.
constexpr size_t kLengths[] = {0,  1,  2,  7,  8,  9,   15,  16,  17,  31,
                               32, 33, 63, 64, 65, 159, 160, 161, 240, 1000};

}  // namespace

TEST_CASE("every int16 encodes, and its octet decodes, as in the ITU-T Software Tool Library") {
  std::vector<unsigned char> source, ulaw, ulaw_pcm, alaw, alaw_pcm;
  REQUIRE_VECTOR("g711/sweep.src", source);
  REQUIRE_VECTOR("g711/sweep-r.u", ulaw);
  REQUIRE_VECTOR("g711/sweep-r.reu", ulaw_pcm);
  REQUIRE_VECTOR("g711/sweep-r.a", alaw);
  REQUIRE_VECTOR("g711/sweep-r.rea", alaw_pcm);
  constexpr size_t kCount = 65536;
  REQUIRE(source.size() == 2 * kCount);
  std::vector<int16_t> pcm(kCount), decoded(kCount);
  std::vector<uint8_t> octets(kCount);
  for (size_t i = 0; i < kCount; ++i) pcm[i] = word(source, i);

  for (const cr_isa isa : checkasm::available_isas()) {
    const G711Kernel *kernel = callreplay::g711_kernel(isa);
    const G711Encoder *encoder = callreplay::g711_encoder_kernel(isa);
    REQUIRE(kernel != nullptr);
    CHECK(kernel->isa == isa);
    size_t wrong[4] = {};
    encoder->ulaw(pcm.data(), octets.data(), kCount);
    kernel->decode_ulaw(octets.data(), decoded.data(), kCount);
    for (size_t i = 0; i < kCount; ++i) {
      wrong[0] += octets[i] != word(ulaw, i);
      wrong[1] += decoded[i] != word(ulaw_pcm, i);
    }
    encoder->alaw(pcm.data(), octets.data(), kCount);
    kernel->decode_alaw(octets.data(), decoded.data(), kCount);
    for (size_t i = 0; i < kCount; ++i) {
      wrong[2] += octets[i] != word(alaw, i);
      wrong[3] += decoded[i] != word(alaw_pcm, i);
    }
    for (const size_t count : wrong) CHECK_MESSAGE(count == 0, cr_isa_name(isa));
  }
}

TEST_CASE("every width gives the scalar result for any length and alignment and stays in its buffer") {
  const G711Kernel *law = callreplay::g711_kernel(CR_ISA_SCALAR);
  const G711Encoder *encoder_law = callreplay::g711_encoder_kernel(CR_ISA_SCALAR);
  Random random(checkasm::seed());
  for (const cr_isa isa : checkasm::available_isas()) {
    const G711Kernel *kernel = callreplay::g711_kernel(isa);
    const G711Encoder *encoder = callreplay::g711_encoder_kernel(isa);
    for (const auto decode : {&G711Kernel::decode_ulaw, &G711Kernel::decode_alaw}) {
      for (const size_t count : kLengths) {
        for (const auto pattern : checkasm::kPatterns) {
          Guarded<uint8_t> octets(count, random.below(64));
          Guarded<int16_t> expected(count), got(count, random.below(32));
          checkasm::fill(octets.data(), count, pattern, random);
          (law->*decode)(octets.data(), expected.data(), count);
          (kernel->*decode)(octets.data(), got.data(), count);
          REQUIRE(got.intact());
          REQUIRE_MESSAGE(std::memcmp(got.data(), expected.data(), count * 2) == 0, cr_isa_name(isa), " ",
                          count);
        }
      }
    }
    for (const auto encode : {&G711Encoder::ulaw, &G711Encoder::alaw}) {
      for (const size_t count : kLengths) {
        for (const auto pattern : checkasm::kPatterns) {
          Guarded<int16_t> pcm(count, random.below(32));
          Guarded<uint8_t> expected(count), got(count, random.below(64));
          checkasm::fill(pcm.data(), count, pattern, random);
          (encoder_law->*encode)(pcm.data(), expected.data(), count);
          (encoder->*encode)(pcm.data(), got.data(), count);
          REQUIRE(got.intact());
          REQUIRE_MESSAGE(std::memcmp(got.data(), expected.data(), count) == 0, cr_isa_name(isa), " ", count);
        }
      }
    }
  }
}

CHECKASM_BENCH("g711: 160 samples") {
  Random random(checkasm::seed());
  std::vector<uint8_t> octets(160);
  std::vector<int16_t> pcm(160);
  checkasm::fill(octets.data(), octets.size(), checkasm::Pattern::kRandom, random);
  checkasm::fill(pcm.data(), pcm.size(), checkasm::Pattern::kRandom, random);
  for (const cr_isa isa : checkasm::available_isas()) {
    const G711Kernel *kernel = callreplay::g711_kernel(isa);
    const G711Encoder *encoder = callreplay::g711_encoder_kernel(isa);
    std::printf(" %s\n", cr_isa_name(isa));
    checkasm::report("decode u", 160, [&] { kernel->decode_ulaw(octets.data(), pcm.data(), 160); });
    checkasm::report("decode A", 160, [&] { kernel->decode_alaw(octets.data(), pcm.data(), 160); });
    checkasm::report("encode u", 160, [&] { encoder->ulaw(pcm.data(), octets.data(), 160); });
    checkasm::report("encode A", 160, [&] { encoder->alaw(pcm.data(), octets.data(), 160); });
  }
}
