// The inner loop of the voice-activity detector: eight band-pass filters over one frame.
#pragma once

#include <cstddef>
#include <cstdint>

#include "callreplay/isa.h"

namespace callreplay {

constexpr size_t kBands = 8;

// Second-order band-pass filters b0 (1 - z^-2) / (1 + a1 z^-1 + a2 z^-2), transposed, two samples at a step:
// with the states s1, s2 before them,
//   y0 = b0 x0 + s1,  y1 = (b0 x1 + in x0) + (s2 - a1 s1),
//   s1' = s11 s1 + s12 s2 + x10 x0 + x11 x1,  s2' = s21 s1 + s22 s2 + x20 x0 + x21 x1.
// One step at a time would have every sample wait for the one before it.
struct BankLaw {
  explicit BankLaw(int32_t rate_hz);
  float b0[kBands], a1[kBands], a2[kBands], in[kBands];
  float s11[kBands], s12[kBands], s21[kBands], s22[kBands];
  float x10[kBands], x11[kBands], x20[kBands], x21[kBands];
};

struct BankState {
  float s1[kBands] = {}, s2[kBands] = {};
};

constexpr size_t kLongestFrame = 480;  // 10 ms at 48 kHz

// A frame of one stream of samples, and what it gives.
struct BankStream {
  BankState *state;
  const int16_t *pcm;
  float level_db[kBands];  // of the mean square and one, in each band
  int64_t squares;         // the sum of the samples' own
};

struct BankKernel {
  cr_isa isa;
  // `count` samples (at most kLongestFrame), `stride` apart, of one stream; of two side by side, to the same bits.
  void (*one)(const BankLaw &law, BankStream *stream, size_t stride, size_t count);
  void (*two)(const BankLaw &law, BankStream *streams, size_t stride, size_t count);
};

// Null when this CPU cannot run it; CR_ISA_SCALAR is always there.
const BankKernel *bank_kernel(cr_isa isa);

}  // namespace callreplay
