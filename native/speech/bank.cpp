// Compiled once per instruction set. Element-wise loops over eight bands, which compilers turn into vectors;
// no operation is fused or put in another order, so all instances agree.
#include "speech/bank.h"

#include "lanes/lanes.h"

namespace callreplay::CR_ISA {

namespace {

static_assert(kLongestFrame < 1 << 14, "halves of squares add up in 32 bits");

template <size_t kStride>
int64_t load(float *x, const int16_t *pcm, size_t stride, size_t count) {
  uint32_t high = 0, low = 0;
  for (size_t n = 0; n < count; ++n) {
    const int32_t sample = pcm[n * (kStride ? kStride : stride)];
    x[n] = static_cast<float>(sample);
    const auto square = static_cast<uint32_t>(sample * sample);
    high += square >> 16;
    low += square & 0xffff;
  }
  return (static_cast<int64_t>(high) << 16) + low;
}

// One or two channels, whole or every other sample of them: loops that the compiler knows.
int64_t load(float *x, const int16_t *pcm, size_t stride, size_t count) {
  return stride == 1   ? load<1>(x, pcm, stride, count)
         : stride == 2 ? load<2>(x, pcm, stride, count)
         : stride == 4 ? load<4>(x, pcm, stride, count)
                       : load<0>(x, pcm, stride, count);
}

struct Bands {
  float s1[kBands], s2[kBands], e[kBands];
};

CR_LANE void step_two(const BankLaw &c, Bands &bands, float x0, float x1) {
  for (size_t b = 0; b < kBands; ++b) {
    const float s1 = bands.s1[b], s2 = bands.s2[b];
    const float y0 = c.b0[b] * x0 + s1;
    const float y1 = (c.b0[b] * x1 + c.in[b] * x0) + (s2 - c.a1[b] * s1);
    const float u1 = c.x10[b] * x0 + c.x11[b] * x1;
    const float u2 = c.x20[b] * x0 + c.x21[b] * x1;
    bands.s1[b] = (c.s11[b] * s1 + c.s12[b] * s2) + u1;
    bands.s2[b] = (c.s21[b] * s1 + c.s22[b] * s2) + u2;
    bands.e[b] += y0 * y0 + y1 * y1;
  }
}

CR_LANE void step_one(const BankLaw &c, Bands &bands, float x) {
  for (size_t b = 0; b < kBands; ++b) {
    const float y = c.b0[b] * x + bands.s1[b];
    bands.s1[b] = bands.s2[b] - c.a1[b] * y;
    bands.s2[b] = -c.b0[b] * x - c.a2[b] * y;
    bands.e[b] += y * y;
  }
}

// Ten times the logarithm to base ten of numbers from one on: their exponent, and of what is left of them, between
// the roots of a half and of two, ln m = 2 artanh((m - 1) / (m + 1)) by four terms, which is right to the last bit but
// one. The same everywhere, as libraries' logarithms are not.
void decibels(float *x) {
  for (size_t b = 0; b < kBands; ++b) {
    const auto bits = __builtin_bit_cast(int32_t, x[b]);
    const int32_t exponent = (bits - 0x3f3504f3) >> 23;
    const float m = __builtin_bit_cast(float, bits - exponent * (1 << 23));
    const float s = (m - 1.0f) / (m + 1.0f);
    const float q = s * s;
    const float ln = s * (2.0f + q * (0.666666667f + q * (0.4f + q * 0.285714286f)));
    x[b] = 3.01029996f * static_cast<float>(exponent) + 4.34294482f * ln;
  }
}

// The streams wait for nothing of each other's: while one filter waits for its last sum, the others go on.
template <size_t kStreams>
void filter(const BankLaw &law, BankStream *stream, size_t stride, size_t count) {
  float x[kStreams][kLongestFrame + 1];
  // Copies: the compiler then knows that nothing else changes them, and keeps them in registers.
  const BankLaw c = law;
  Bands bands[kStreams];
  for (size_t k = 0; k < kStreams; ++k) {
    stream[k].squares = load(x[k], stream[k].pcm, stride, count);
    for (size_t b = 0; b < kBands; ++b) {
      bands[k].s1[b] = stream[k].state->s1[b];
      bands[k].s2[b] = stream[k].state->s2[b];
      bands[k].e[b] = 0;
    }
  }
  size_t n = 0;
  for (; n + 1 < count; n += 2) {
    for (size_t k = 0; k < kStreams; ++k) {
      step_two(c, bands[k], x[k][n], x[k][n + 1]);
    }
  }
  for (; n < count; ++n) {
    for (size_t k = 0; k < kStreams; ++k) {
      step_one(c, bands[k], x[k][n]);
    }
  }
  for (size_t k = 0; k < kStreams; ++k) {
    const Bands &last = bands[k];
    // Silence would leave numbers so small that the processor takes long over each.
    for (size_t b = 0; b < kBands; ++b) {
      stream[k].state->s1[b] = last.s1[b] < 1e-9f && last.s1[b] > -1e-9f ? 0.0f : last.s1[b];
      stream[k].state->s2[b] = last.s2[b] < 1e-9f && last.s2[b] > -1e-9f ? 0.0f : last.s2[b];
    }
    for (size_t b = 0; b < kBands; ++b) {
      stream[k].level_db[b] = last.e[b] / static_cast<float>(count) + 1.0f;
    }
    decibels(stream[k].level_db);
  }
}

constexpr BankKernel kernel(cr_isa isa) {
  return {isa, filter<1>, filter<2>};
}

}  // namespace

CR_DEFINE_KERNELS(BankKernel, bank, kernel, kernel)

}  // namespace callreplay::CR_ISA
