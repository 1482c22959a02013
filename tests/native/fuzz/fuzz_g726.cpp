// G.726: every lane of every width equals the scalar kernel, for any codes, length, rate, set of idle lanes
// and resets. Input: [bits and order, octets, lane pattern] and the octets, which are unpacked as a payload.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "decode/g726/codes.h"
#include "decode/kernels.h"

namespace {

using callreplay::G726Kernel;

struct Aligned {
  explicit Aligned(size_t size) : memory(std::aligned_alloc(64, (size + 63) / 64 * 64)) {}
  Aligned(const Aligned &) = delete;
  Aligned &operator=(const Aligned &) = delete;
  ~Aligned() { std::free(memory); }
  void *memory;
};

void run(const G726Kernel *kernel, const G726Kernel *law, const uint8_t *data, size_t size) {
  const auto lanes = static_cast<size_t>(kernel->lanes);
  Aligned state(kernel->state_bytes);
  std::vector<std::unique_ptr<Aligned>> laws;
  for (size_t lane = 0; lane < lanes; ++lane) {
    kernel->reset(state.memory, static_cast<int>(lane));
    laws.push_back(std::make_unique<Aligned>(law->state_bytes));
    law->reset(laws.back()->memory, 0);
  }
  while (size >= 3) {
    const int bits = 2 + data[0] % 4;
    const bool aal2 = (data[0] & 4) != 0;
    const unsigned pattern = data[2];
    const size_t octets = std::min<size_t>(data[1], size - 3);
    data += 3;
    // Lanes differ by where in the input they start; the pattern says which idle and which begin anew. Each
    // payload ends where its memory does.
    const size_t codes = 8 * octets / static_cast<size_t>(bits);
    std::vector<std::vector<uint8_t>> payload(lanes, std::vector<uint8_t>(codes));
    std::vector<std::vector<int16_t>> got(lanes, std::vector<int16_t>(codes)), expected = got;
    std::vector<const uint8_t *> from(lanes);
    std::vector<int16_t *> to(lanes);
    for (size_t lane = 0; lane < lanes; ++lane) {
      std::vector<uint8_t> packed(octets);
      for (size_t i = 0; i < octets; ++i) packed[i] = data[(i + lane) % octets];
      // In two parts: a payload may be taken up in its middle.
      const size_t cut = codes == 0 ? 0 : (pattern + lane) % codes;
      callreplay::unpack_g726(packed.data(), 0, cut, bits, aal2, payload[lane].data());
      callreplay::unpack_g726(packed.data(), cut, codes - cut, bits, aal2, payload[lane].data() + cut);
      const bool idle = codes == 0 || (pattern >> (lane % 8) & 1) != 0;
      from[lane] = idle ? nullptr : payload[lane].data();
      to[lane] = idle ? nullptr : got[lane].data();
      if (pattern % 32 == lane) {
        kernel->reset(state.memory, static_cast<int>(lane));
        law->reset(laws[lane]->memory, 0);
      }
      int16_t *out = expected[lane].data();
      if (!idle) law->decode(laws[lane]->memory, bits, &from[lane], &out, static_cast<int>(codes));
    }
    kernel->decode(state.memory, bits, from.data(), to.data(), static_cast<int>(codes));
    if (got != expected) std::abort();
    data += octets;
    size -= 3 + octets;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const G726Kernel *law = callreplay::g726_kernel(CR_ISA_SCALAR);
  for (const cr_isa isa : {CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512}) {
    const G726Kernel *kernel = callreplay::g726_kernel(isa);
    if (kernel != nullptr) run(kernel, law, data, size);
  }
  return 0;
}
