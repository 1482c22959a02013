// Lanes<float, N> for the resampler: N = 1 and N = 16. Only loads, sums and products, never fused, so the
// samples are the same for every width and instruction set.
#pragma once

#include <cstring>

#include "lanes/lanes.h"

namespace callreplay::CR_ISA {

template <>
struct Lanes<float, 1> {
  float v;
  static CR_LANE Lanes load(const float *from) { return {*from}; }
  static CR_LANE Lanes all(float value) { return {value}; }
  CR_LANE void store(float *to) const { *to = v; }
};

// One 512-bit register, or two or four smaller ones: the compiler splits it.
template <>
struct Lanes<float, 16> {
  typedef float Vector __attribute__((vector_size(64)));
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
CR_LANE Lanes<float, N> operator+(const Lanes<float, N> &a, const Lanes<float, N> &b) {
  return {a.v + b.v};
}
template <int N>
CR_LANE Lanes<float, N> operator-(const Lanes<float, N> &a, const Lanes<float, N> &b) {
  return {a.v - b.v};
}
template <int N>
CR_LANE Lanes<float, N> operator*(const Lanes<float, N> &a, const Lanes<float, N> &b) {
  return {a.v * b.v};
}

}  // namespace callreplay::CR_ISA
