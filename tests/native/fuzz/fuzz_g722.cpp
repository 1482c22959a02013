// G.722: every lane of every width equals the scalar kernel, for any payload, packet length, mode, set of
// idle lanes and resets. Input: packets of [mode, octets, lane pattern] and the octets themselves.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "decode/kernels.h"

namespace {

using callreplay::G722Kernel;

struct Aligned {
  explicit Aligned(size_t size) : memory(std::aligned_alloc(64, (size + 63) / 64 * 64)) {}
  Aligned(const Aligned &) = delete;
  Aligned &operator=(const Aligned &) = delete;
  ~Aligned() { std::free(memory); }
  void *memory;
};

void run(const G722Kernel *kernel, const G722Kernel *law, const uint8_t *data, size_t size) {
  const auto lanes = static_cast<size_t>(kernel->lanes);
  Aligned state(kernel->state_bytes);
  std::vector<std::unique_ptr<Aligned>> laws;
  for (size_t lane = 0; lane < lanes; ++lane) {
    kernel->reset(state.memory, static_cast<int>(lane));
    laws.push_back(std::make_unique<Aligned>(law->state_bytes));
    law->reset(laws.back()->memory, 0);
  }
  while (size >= 3) {
    const int mode = data[0] % 3;
    const unsigned pattern = data[2];
    const size_t octets = std::min<size_t>(data[1], size - 3);
    data += 3;
    // Lanes differ by where in the input they start; the pattern says which idle and which begin anew.
    std::vector<std::vector<uint8_t>> payload(lanes, std::vector<uint8_t>(octets));
    std::vector<std::vector<int16_t>> got(lanes, std::vector<int16_t>(2 * octets)), expected = got;
    std::vector<const uint8_t *> from(lanes);
    std::vector<int16_t *> to(lanes);
    for (size_t lane = 0; lane < lanes; ++lane) {
      for (size_t i = 0; i < octets; ++i) payload[lane][i] = data[(i + lane) % octets];
      const bool idle = octets == 0 || (pattern >> (lane % 8) & 1) != 0;
      from[lane] = idle ? nullptr : payload[lane].data();
      to[lane] = idle ? nullptr : got[lane].data();
      if (pattern % 32 == lane) {
        kernel->reset(state.memory, static_cast<int>(lane));
        law->reset(laws[lane]->memory, 0);
      }
      int16_t *out = expected[lane].data();
      if (!idle) law->decode(laws[lane]->memory, mode, &from[lane], &out, static_cast<int>(octets));
    }
    kernel->decode(state.memory, mode, from.data(), to.data(), static_cast<int>(octets));
    if (got != expected) std::abort();
    data += octets;
    size -= 3 + octets;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const G722Kernel *law = callreplay::g722_kernel(CR_ISA_SCALAR);
  for (const cr_isa isa : {CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512}) {
    const G722Kernel *kernel = callreplay::g722_kernel(isa);
    if (kernel != nullptr) run(kernel, law, data, size);
  }
  return 0;
}
