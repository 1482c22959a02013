// Compiled once per instruction set. Element-wise loops over eight bands, which compilers turn into vectors;
// no operation is fused or put in another order, so all instances agree.
#include "speech/bank.h"

#include "lanes/lanes.h"

namespace callreplay::CR_ISA {

namespace {

template <size_t kStride>
int64_t load(float *x, const int16_t *pcm, size_t stride, size_t count) {
  int64_t sum = 0;
  for (size_t n = 0; n < count; ++n) {
    const int16_t sample = pcm[n * (kStride ? kStride : stride)];
    x[n] = sample;
    sum += static_cast<int32_t>(sample) * sample;
  }
  return sum;
}

void filter(const BankLaw &law, BankState &state, const int16_t *pcm, size_t stride, size_t count,
            float *energy, int64_t *squares) {
  float x[kLongestFrame + 1];
  *squares = stride == 1   ? load<1>(x, pcm, stride, count)
             : stride == 2 ? load<2>(x, pcm, stride, count)
                           : load<0>(x, pcm, stride, count);
  // Copies: the compiler then knows that nothing else changes them, and keeps them in registers.
  const BankLaw c = law;
  float s1[kBands], s2[kBands], e[kBands];
  for (size_t b = 0; b < kBands; ++b) {
    s1[b] = state.s1[b];
    s2[b] = state.s2[b];
    e[b] = 0;
  }
  size_t n = 0;
  for (; n + 1 < count; n += 2) {
    const float x0 = x[n], x1 = x[n + 1];
    for (size_t b = 0; b < kBands; ++b) {
      const float y0 = c.b0[b] * x0 + s1[b];
      const float y1 = (c.b0[b] * x1 + c.in[b] * x0) + (s2[b] - c.a1[b] * s1[b]);
      const float u1 = c.x10[b] * x0 + c.x11[b] * x1;
      const float u2 = c.x20[b] * x0 + c.x21[b] * x1;
      const float next = (c.s11[b] * s1[b] + c.s12[b] * s2[b]) + u1;
      s2[b] = (c.s21[b] * s1[b] + c.s22[b] * s2[b]) + u2;
      s1[b] = next;
      e[b] += y0 * y0 + y1 * y1;
    }
  }
  for (; n < count; ++n) {
    for (size_t b = 0; b < kBands; ++b) {
      const float y = c.b0[b] * x[n] + s1[b];
      s1[b] = s2[b] - c.a1[b] * y;
      s2[b] = -c.b0[b] * x[n] - c.a2[b] * y;
      e[b] += y * y;
    }
  }
  // Silence would leave numbers so small that the processor takes long over each.
  for (size_t b = 0; b < kBands; ++b) {
    state.s1[b] = s1[b] < 1e-9f && s1[b] > -1e-9f ? 0.0f : s1[b];
    state.s2[b] = s2[b] < 1e-9f && s2[b] > -1e-9f ? 0.0f : s2[b];
    energy[b] = e[b];
  }
}

constexpr BankKernel kernel(cr_isa isa) {
  return {isa, filter};
}

}  // namespace

CR_DEFINE_KERNELS(BankKernel, bank, kernel, kernel)

}  // namespace callreplay::CR_ISA
