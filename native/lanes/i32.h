// Lanes of 32 bits, each one independent stream: the basic operations that the codecs with 32-bit
// accumulators are written in. A lane holds an int32, or a pair of int16 (low half, high half) for the
// multiply-add of two 16-bit products. I32x1 is the law; I32x4, I32x8 and I32x16 give the same bits in every
// lane. Additions and shifts wrap.
//
// What every type V has, besides + - & | ^ and the functions at the end of this file:
//   splat, load, store            one int32 a lane
//   load16, store16               one int16 a lane: sign-extended; the low halves
//   load_pairs, store_pairs       two rows of int16, the low halves and the high halves
//   shl<k>, shr<k>, sar<k>        by a constant: left, logical right, arithmetic right
//   shlv, sarv                    by 0..31 a lane
//   mul, madd                     low 32 bits of the product; low*low + high*high of the pairs
//   min, max, umin, gt, eq, select, any, all, bits
//   sat, pair                     clamp to int16; (low, high) from two clamped values
//   cross, swap                   (low of b, high of a); the halves exchanged
//   sar16<k>, adds16, subs16      on both halves, clamped
//   mul15_16, mulr16              on both halves: (a * b) >> 15, the second rounded; not for a = b = -32768
//   widest, peak                  running maximum of |half|, and its value (-32768 may count as 32767)
//   norm                          left shifts that bring a lane in [1, 2^31) into [2^30, 2^31); 0..31 for
//   others div15                         floor(a * 2^15 / b), 32767 for a == b; 0 <= a <= b <= 32767, b > 0
//   gather, iota                  table[index] a lane; the lane numbers
//   store_octets16                4 pairs a lane, that is 8 int16, to one address a lane
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef CR_INLINE
#define CR_INLINE inline __attribute__((always_inline))
#endif

namespace callreplay::CR_ISA {
// Rows of V are read back a lane at a time, so what a gather reads may have been written as any type.
using AnyInt32 __attribute__((may_alias)) = int32_t;
}  // namespace callreplay::CR_ISA

#if defined(CR_ISA_avx512)
#include "lanes/i32_avx512.h"
#elif defined(CR_ISA_avx2)
#include "lanes/i32_avx2.h"
#elif defined(CR_ISA_neon)
#include "lanes/i32_neon.h"
#elif defined(__SSE2__)
#include "lanes/i32_sse2.h"
#endif
#include "lanes/i32_scalar.h"

namespace callreplay::CR_ISA {

template <class V>
CR_INLINE V low(V pairs) {
  return sar<16>(shl<16>(pairs));
}

template <class V>
CR_INLINE V high(V pairs) {
  return sar<16>(pairs);
}

// (low halves of a, low halves of b)
template <class V>
CR_INLINE V pair_low(V a, V b) {
  return cross(shl<16>(b), a);
}

// (high of a, low of b): the pair that lies between two neighbours.
template <class V>
CR_INLINE V between(V a, V b) {
  return swap(cross(a, b));
}

template <class V>
CR_INLINE V both(V value) {
  return cross(shl<16>(value), value);
}

template <class V>
CR_INLINE V clamp(V a, int32_t low, int32_t high) {
  return max(min(a, splat<V>(high)), splat<V>(low));
}

template <class V>
CR_INLINE V clamp16(V a) {
  return clamp(a, -32768, 32767);
}

template <class V>
CR_INLINE V abs32(V a) {
  return max(a, splat<V>(0) - a);
}

template <class V>
CR_INLINE typename V::Mask lt(V a, V b) {
  return gt(b, a);
}

// The product of two int16 values.
template <class V>
CR_INLINE V mul16(V a, V b) {
  return madd(a & splat<V>(0xFFFF), b);
}

// sat32(a + b) and sat32(a - b).
template <class V>
CR_INLINE V sadd(V a, V b) {
  const V sum = a + b;
  const V rail = sar<31>(a) ^ splat<V>(0x7FFFFFFF);
  return select(lt((a ^ sum) & (b ^ sum), splat<V>(0)), rail, sum);
}

template <class V>
CR_INLINE V ssub(V a, V b) {
  const V difference = a - b;
  const V rail = sar<31>(a) ^ splat<V>(0x7FFFFFFF);
  return select(lt((a ^ b) & (a ^ difference), splat<V>(0)), rail, difference);
}

// The doubled product of two int16 values, which saturates for -32768 twice.
template <class V>
CR_INLINE V lmul(V a, V b) {
  const V product = mul16(a, b);
  return select(eq(product, splat<V>(0x40000000)), splat<V>(0x7FFFFFFF), shl<1>(product));
}

template <class V>
CR_INLINE V lmac(V sum, V a, V b) {
  return sadd(sum, lmul(a, b));
}

template <class V>
CR_INLINE V lmsu(V sum, V a, V b) {
  return ssub(sum, lmul(a, b));
}

}  // namespace callreplay::CR_ISA
