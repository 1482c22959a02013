// Speex: every lane of every width writes the packets of the scalar kernel, for any PCM and any sequence of
// sub-modes. Input: [options], then frames of [sub-mode, octets of PCM].
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "encode/speex/kernel.h"
#include "encode/speex/modes.h"

namespace {

using callreplay::speex::FrameFields;
using callreplay::speex::kMaxFields;
using callreplay::speex::SpeexKernel;

struct AlignedFree {
  void operator()(void *p) const { std::free(p); }
};
template <class T>
std::unique_ptr<T[], AlignedFree> aligned(size_t count) {
  const size_t size = (count * sizeof(T) + 63) / 64 * 64;
  void *memory = std::aligned_alloc(64, size);
  std::memset(memory, 0, size);
  return std::unique_ptr<T[], AlignedFree>(static_cast<T *>(memory));
}

// A kernel with a group of streams.
struct Coder {
  explicit Coder(const SpeexKernel *kernel)
      : kernel(kernel),
        group(aligned<float>(kernel->state_floats * static_cast<size_t>(kernel->lanes))),
        scratch(aligned<char>(kernel->scratch_bytes)),
        values(aligned<int32_t>(static_cast<size_t>(kMaxFields) * static_cast<size_t>(kernel->lanes))) {
    fields.value = values.get();
    for (int lane = 0; lane < kernel->lanes; ++lane) kernel->reset(group.get(), lane);
  }
  void code(const int16_t *const *pcm, int mode, int high, bool wideband, bool hint) {
    kernel->analyse(group.get(), scratch.get(), pcm, wideband, true);
    kernel->code(group.get(), scratch.get(), mode, high, wideband, hint, nullptr, &fields);
  }

  const SpeexKernel *kernel;
  std::unique_ptr<float[], AlignedFree> group;
  std::unique_ptr<char[], AlignedFree> scratch;
  std::unique_ptr<int32_t[], AlignedFree> values;
  FrameFields fields;
};

void run(const SpeexKernel *kernel, const SpeexKernel *law, const uint8_t *data, size_t size) {
  const auto lanes = static_cast<size_t>(kernel->lanes);
  const bool wideband = (data[0] & 1) != 0;
  const bool hint = (data[0] & 2) != 0;
  const size_t samples = wideband ? callreplay::speex::kWidebandFrame : callreplay::speex::kNarrowbandFrame;
  ++data;
  --size;
  Coder wide(kernel);
  std::vector<std::unique_ptr<Coder>> laws;
  for (size_t lane = 0; lane < lanes; ++lane) laws.push_back(std::make_unique<Coder>(law));
  std::vector<std::vector<int16_t>> pcm(lanes, std::vector<int16_t>(samples));
  std::vector<const int16_t *> from(lanes);
  while (size >= 3) {
    const int mode = data[0] % callreplay::speex::kNarrowbandModes;
    const int high = mode == 0 || !wideband ? 0 : data[0] / 16 % callreplay::speex::kHighbandModes;
    ++data;
    --size;
    const size_t octets = std::min(size, 2 * samples);
    for (size_t lane = 0; lane < lanes; ++lane) {
      // Lanes differ by where in the frame they start.
      for (size_t n = 0; n < samples; ++n) {
        const size_t at = (2 * (n + 7 * lane)) % octets;
        pcm[lane][n] = static_cast<int16_t>(data[at] | data[(at + 1) % octets] << 8);
      }
      from[lane] = pcm[lane].data();
    }
    wide.code(from.data(), mode, high, wideband, hint);
    for (size_t lane = 0; lane < lanes; ++lane) {
      laws[lane]->code(&from[lane], mode, high, wideband, hint);
      const FrameFields &expected = laws[lane]->fields;
      if (expected.count != wide.fields.count) std::abort();
      for (int f = 0; f < expected.count; ++f) {
        const int32_t got = wide.fields.value[static_cast<size_t>(f) * lanes + lane];
        if (expected.width[f] != wide.fields.width[f] || got != expected.value[f]) std::abort();
        if (got < 0 || got >> expected.width[f] != 0) std::abort();
      }
    }
    data += octets;
    size -= octets;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 4) return 0;
  const SpeexKernel *law = callreplay::speex_kernel(CR_ISA_SCALAR);
  for (const cr_isa isa : {CR_ISA_BASELINE, CR_ISA_NEON, CR_ISA_AVX2, CR_ISA_AVX512}) {
    const SpeexKernel *kernel = callreplay::speex_kernel(isa);
    if (kernel != nullptr) run(kernel, law, data, size);
    const SpeexKernel *single = callreplay::speex_single_kernel(isa);
    if (single != nullptr) run(single, law, data, size);
  }
  return 0;
}
