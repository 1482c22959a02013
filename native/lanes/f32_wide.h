// Lanes<float, N> for the resampler: N = 1, and the width of this instruction set's register. Only loads,
// comparisons, sums, products and quotients, never fused, so the samples are the same for every width and
// instruction set.
#pragma once

#include <cstring>

#include "lanes/lanes.h"

namespace callreplay::CR_ISA {

// One register: vectors that are wider, compilers lead through the stack.
#if defined(__AVX512F__)
inline constexpr int kWidthF32 = 16;
#elif defined(__AVX2__)
inline constexpr int kWidthF32 = 8;
#else
inline constexpr int kWidthF32 = 4;
#endif

template <>
struct Lanes<float, 1> {
  float v;
  static CR_LANE Lanes load(const float *from) { return {*from}; }
  static CR_LANE Lanes all(float value) { return {value}; }
  CR_LANE void store(float *to) const { *to = v; }
};

template <>
struct Lanes<float, kWidthF32> {
  typedef float Vector __attribute__((vector_size(4 * kWidthF32)));
  Vector v;
  static CR_LANE Lanes load(const float *from) {
    Lanes lanes;
    std::memcpy(&lanes.v, from, sizeof lanes.v);
    return lanes;
  }
  static CR_LANE Lanes all(float value) { return {value - Vector{}}; }
  CR_LANE void store(float *to) const { std::memcpy(to, &v, sizeof v); }
};

template <int N>
CR_LANE Lanes<float, N> operator+(Lanes<float, N> a, Lanes<float, N> b) {
  return {a.v + b.v};
}
template <int N>
CR_LANE Lanes<float, N> operator-(Lanes<float, N> a, Lanes<float, N> b) {
  return {a.v - b.v};
}
template <int N>
CR_LANE Lanes<float, N> operator*(Lanes<float, N> a, Lanes<float, N> b) {
  return {a.v * b.v};
}

template <int N>
CR_LANE Lanes<float, N> operator/(Lanes<float, N> a, Lanes<float, N> b) {
  return {a.v / b.v};
}
template <int N>
CR_LANE Lanes<float, N> min(Lanes<float, N> a, Lanes<float, N> b) {
  return {a.v < b.v ? a.v : b.v};
}
template <int N>
CR_LANE Lanes<float, N> max(Lanes<float, N> a, Lanes<float, N> b) {
  return {a.v > b.v ? a.v : b.v};
}

}  // namespace callreplay::CR_ISA
