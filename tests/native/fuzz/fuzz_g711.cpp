// G.711: every width equals the scalar kernel for any octets, samples and length.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "decode/kernels.h"
#include "encode/g711/kernels.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const callreplay::G711Kernel *law = callreplay::g711_kernel(CR_ISA_SCALAR);
  const callreplay::G711Encoder *encoder_law = callreplay::g711_encoder_kernel(CR_ISA_SCALAR);
  const size_t words = size / 2;
  std::vector<int16_t> pcm(words);
  if (words != 0) std::memcpy(pcm.data(), data, 2 * words);
  for (const cr_isa isa : {CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512}) {
    const callreplay::G711Kernel *kernel = callreplay::g711_kernel(isa);
    const callreplay::G711Encoder *encoder = callreplay::g711_encoder_kernel(isa);
    if (kernel == nullptr) continue;
    for (const auto decode : {&callreplay::G711Kernel::decode_ulaw, &callreplay::G711Kernel::decode_alaw}) {
      std::vector<int16_t> expected(size), got(size);
      (law->*decode)(data, expected.data(), size);
      (kernel->*decode)(data, got.data(), size);
      if (got != expected) std::abort();
    }
    for (const auto encode : {&callreplay::G711Encoder::ulaw, &callreplay::G711Encoder::alaw}) {
      std::vector<uint8_t> expected(words), got(words);
      (encoder_law->*encode)(pcm.data(), expected.data(), words);
      (encoder->*encode)(pcm.data(), got.data(), words);
      if (got != expected) std::abort();
    }
  }
  return 0;
}
