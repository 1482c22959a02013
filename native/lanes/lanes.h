// Lanes<T, N>: N independent streams, one value of type T each. Every kernel is written once on it; N = 1 is
// the scalar law and every wider one equals it bit for bit (tests/native/test_lanes.cpp). docs/lanes.md has
// the names of the operations and tells how a kernel is written.
//
// This file and all that include it are compiled once per instruction set, by callreplay_isa_sources() with
// other options each time. What the compiler then says of its target decides everything here: CR_ISA, the
// namespace, and the registers. All lane code lives in `callreplay::CR_ISA`: same-named inline functions
// built with different options would otherwise be merged by the linker, and the AVX-512 copy might run on a
// CPU that lacks it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "callreplay/isa.h"

// The registers. CR_NO_REGISTERS leaves the law alone, as on a CPU that none of these is for.
#if defined(CR_NO_REGISTERS)
#elif defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__) && \
    defined(__AVX512CD__)
#define CR_AVX512 1
#elif defined(__AVX2__)
#define CR_AVX2 1
#elif defined(__SSE2__)
#define CR_SSE2 1
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(__ARM_BIG_ENDIAN)
#define CR_NEON 1
#endif

#if defined(CR_AVX512) || defined(CR_AVX2)
#define CR_BASE_UNIT 0
#else
// Built with no more options than the rest of the library: the scalar kernels live here too.
#define CR_BASE_UNIT 1
#endif

// A test that includes lane code names a namespace of its own.
#if !defined(CR_ISA) && defined(CR_AVX512)
#define CR_ISA avx512
#elif !defined(CR_ISA) && defined(CR_AVX2)
#define CR_ISA avx2
#elif !defined(CR_ISA) && defined(CR_NEON)
#define CR_ISA neon
#elif !defined(CR_ISA)
#define CR_ISA baseline
#endif

// Lane operations vanish into their callers: a call would spill every register of the codec.
#define CR_LANE inline __attribute__((always_inline))

// The tables of operations: one line an operation, of a and b (and k).
#define CR_UNARY(V, name, value) \
  CR_LANE V name(V a) {          \
    return {value};              \
  }
#define CR_BINARY(V, name, value) \
  CR_LANE V name(V a, V b) {      \
    return {value};               \
  }
#define CR_SHIFT(V, name, value) \
  template <int k>               \
  CR_LANE V name(V a) {          \
    return {value};              \
  }
#define CR_COMPARE(V, name, value) \
  CR_LANE V::Mask name(V a, V b) { \
    return {value};                \
  }

// CR_DEFINE_KERNELS(G722Kernel, g722, kernel<kWidth16>, kernel<1>): the kernel of this set and, in the base
// unit, the scalar law, from functions of (cr_isa). lanes/kernels.h chooses among them.
#define CR_DEFINE_LANES(Kernel, codec, of_lanes) \
  extern const Kernel codec##_lanes;             \
  constexpr Kernel codec##_lanes = of_lanes(kIsa);
#define CR_DEFINE_SCALAR(Kernel, codec, of_scalar) \
  extern const Kernel codec##_scalar;              \
  constexpr Kernel codec##_scalar = of_scalar(CR_ISA_SCALAR);
#if CR_BASE_UNIT
#define CR_DEFINE_KERNELS(Kernel, codec, of_lanes, of_scalar) \
  CR_DEFINE_LANES(Kernel, codec, of_lanes)                    \
  CR_DEFINE_SCALAR(Kernel, codec, of_scalar)
#else
#define CR_DEFINE_KERNELS(Kernel, codec, of_lanes, of_scalar) CR_DEFINE_LANES(Kernel, codec, of_lanes)
#endif

namespace callreplay::CR_ISA {

#if defined(CR_AVX512)
inline constexpr cr_isa kIsa = CR_ISA_AVX512;
#elif defined(CR_AVX2)
inline constexpr cr_isa kIsa = CR_ISA_AVX2;
#elif defined(CR_NEON)
inline constexpr cr_isa kIsa = CR_ISA_NEON;
#else
inline constexpr cr_isa kIsa = CR_ISA_BASELINE;
#endif

// Whether a number in memory may be the operand of an operation for all lanes, at no cost. Loaded for several operations it
// takes, on Zen 4, a turn of the units that add and multiply.
#if defined(CR_AVX512)
inline constexpr bool kOperandsOfOne = true;
#else
inline constexpr bool kOperandsOfOne = false;
#endif

// Has kLanes, Element (T), Mask (what comparisons give), splat(), load() and store(). Lanes of 32 bits, float
// or not, share one Mask; that of int16 lanes is the lanes themselves, 0 and -1.
template <class T, int N>
struct Lanes;

template <class V>
using MaskOf = typename V::Mask;

// The same value in every lane.
template <class V>
CR_LANE V splat(typename V::Element value) {
  return V::splat(value);
}

// V::kLanes values at `from` and back, at any alignment.
template <class V>
CR_LANE V load(const typename V::Element *from) {
  return V::load(from);
}
template <class V>
CR_LANE void store(typename V::Element *to, V a) {
  a.store(to);
}

// -a where the mask is -1, a where it is 0.
template <class V>
CR_LANE V negate_if(V a, V mask) {
  return (a ^ mask) - mask;
}

template <class V>
CR_LANE V clamp(V a, V low, V high) {
  return min(max(a, low), high);
}
template <class V>
CR_LANE V clamp(V a, typename V::Element low, typename V::Element high) {
  return clamp(a, splat<V>(low), splat<V>(high));
}

}  // namespace callreplay::CR_ISA
