// Floats to 16-bit samples.
#pragma once

#include "lanes/f32.h"

namespace callreplay::CR_ISA {

// pcm[n] = y[n] to nearest (ties to even), saturated; |y| < 2^22. Written with min and max of lanes:
// compilers leave a loop with the branches of saturation as it is.
template <int N>
CR_LANE void round_samples(int16_t *__restrict pcm, const float *__restrict y, size_t count) {
  using V = Lanes<float, N>;
  // Adding 1.5 * 2^23 leaves the integer nearest to y, ties to even, in the low bits of the sum.
  constexpr float kMagic = 12582912.0f;
  constexpr size_t kBlock = 32;
  const V high = splat<V>(32767.0f), low = splat<V>(-32768.0f), magic = splat<V>(kMagic);
  int32_t whole[kBlock];
  size_t n = 0;
  for (; n + kBlock <= count; n += kBlock) {
    for (size_t i = 0; i < kBlock; i += N) {
      store(whole + i, bits_of(max(min(load<V>(y + n + i), high), low) + magic));
    }
    for (size_t i = 0; i < kBlock; ++i) {
      pcm[n + i] = static_cast<int16_t>(whole[i]);
    }
  }
  for (; n < count; ++n) {
    const float below = y[n] < 32767.0f ? y[n] : 32767.0f;
    const float limited = below > -32768.0f ? below : -32768.0f;
    pcm[n] = static_cast<int16_t>(__builtin_bit_cast(int32_t, limited + kMagic));
  }
}

}  // namespace callreplay::CR_ISA
