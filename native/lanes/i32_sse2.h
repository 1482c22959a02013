// I32x4 on SSE2, what every x86-64 has: minimum, blend and 32-bit products are built from what there is.
#pragma once

#include <emmintrin.h>

#include "lanes/i32.h"

namespace callreplay::CR_ISA {

struct I32x4 {
  static constexpr int kLanes = 4;
  struct Mask {
    __m128i v;
    friend CR_INLINE Mask operator&(Mask a, Mask b) { return {_mm_and_si128(a.v, b.v)}; }
    friend CR_INLINE Mask operator|(Mask a, Mask b) { return {_mm_or_si128(a.v, b.v)}; }
    friend CR_INLINE Mask operator~(Mask a) { return {_mm_xor_si128(a.v, _mm_set1_epi32(-1))}; }
  };
  struct Half {
    __m128i v;
  };
  __m128i v;

  friend CR_INLINE I32x4 operator+(I32x4 a, I32x4 b) { return {_mm_add_epi32(a.v, b.v)}; }
  friend CR_INLINE I32x4 operator-(I32x4 a, I32x4 b) { return {_mm_sub_epi32(a.v, b.v)}; }
  friend CR_INLINE I32x4 operator&(I32x4 a, I32x4 b) { return {_mm_and_si128(a.v, b.v)}; }
  friend CR_INLINE I32x4 operator|(I32x4 a, I32x4 b) { return {_mm_or_si128(a.v, b.v)}; }
  friend CR_INLINE I32x4 operator^(I32x4 a, I32x4 b) { return {_mm_xor_si128(a.v, b.v)}; }
};

template <class V>
V splat(int32_t value);
template <class V>
V load(const int32_t *from);
template <class V>
V load16(const int16_t *from);
template <class V>
V load_pairs(const int16_t *rows);
template <class V>
V iota();
template <class V>
typename V::Mask mask_of(uint32_t bits);

CR_INLINE __m128i load_four(const int16_t *from) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i *>(from));
}
template <>
CR_INLINE I32x4 splat<I32x4>(int32_t value) {
  return {_mm_set1_epi32(value)};
}
template <>
CR_INLINE I32x4 load<I32x4>(const int32_t *from) {
  return {_mm_loadu_si128(reinterpret_cast<const __m128i *>(from))};
}
template <>
CR_INLINE I32x4 load16<I32x4>(const int16_t *from) {
  const __m128i words = load_four(from);
  return {_mm_srai_epi32(_mm_unpacklo_epi16(words, words), 16)};
}
template <>
CR_INLINE I32x4 load_pairs<I32x4>(const int16_t *rows) {
  return {_mm_unpacklo_epi16(load_four(rows), load_four(rows + 4))};
}
template <>
CR_INLINE I32x4 iota<I32x4>() {
  return {_mm_setr_epi32(0, 1, 2, 3)};
}
template <>
CR_INLINE I32x4::Mask mask_of<I32x4>(uint32_t bits) {
  const __m128i bit = _mm_setr_epi32(1, 2, 4, 8);
  return {_mm_cmpeq_epi32(_mm_and_si128(_mm_set1_epi32(static_cast<int>(bits)), bit), bit)};
}

template <int k>
CR_INLINE I32x4 shl(I32x4 a) {
  return {_mm_slli_epi32(a.v, k)};
}
template <int k>
CR_INLINE I32x4 shr(I32x4 a) {
  return {_mm_srli_epi32(a.v, k)};
}
template <int k>
CR_INLINE I32x4 sar(I32x4 a) {
  return {_mm_srai_epi32(a.v, k)};
}
CR_INLINE I32x4::Mask gt(I32x4 a, I32x4 b) {
  return {_mm_cmpgt_epi32(a.v, b.v)};
}
CR_INLINE I32x4::Mask eq(I32x4 a, I32x4 b) {
  return {_mm_cmpeq_epi32(a.v, b.v)};
}
CR_INLINE I32x4 select(I32x4::Mask m, I32x4 a, I32x4 b) {
  return {_mm_or_si128(_mm_and_si128(m.v, a.v), _mm_andnot_si128(m.v, b.v))};
}
CR_INLINE uint32_t bits(I32x4::Mask m) {
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_castsi128_ps(m.v)));
}
CR_INLINE bool any(I32x4::Mask m) {
  return bits(m) != 0;
}
CR_INLINE bool all(I32x4::Mask m) {
  return bits(m) == 0xF;
}

// Shift amounts that differ by lane: five steps of 16, 8, 4, 2, 1 under the bits of n.
template <int k>
CR_INLINE I32x4::Mask bit_set(I32x4 n) {
  return {_mm_srai_epi32(_mm_slli_epi32(n.v, 31 - k), 31)};
}
CR_INLINE I32x4 shlv(I32x4 a, I32x4 n) {
  a = select(bit_set<4>(n), shl<16>(a), a);
  a = select(bit_set<3>(n), shl<8>(a), a);
  a = select(bit_set<2>(n), shl<4>(a), a);
  a = select(bit_set<1>(n), shl<2>(a), a);
  return select(bit_set<0>(n), shl<1>(a), a);
}
CR_INLINE I32x4 sarv(I32x4 a, I32x4 n) {
  a = select(bit_set<4>(n), sar<16>(a), a);
  a = select(bit_set<3>(n), sar<8>(a), a);
  a = select(bit_set<2>(n), sar<4>(a), a);
  a = select(bit_set<1>(n), sar<2>(a), a);
  return select(bit_set<0>(n), sar<1>(a), a);
}

CR_INLINE I32x4 mul(I32x4 a, I32x4 b) {
  const __m128i even = _mm_mul_epu32(a.v, b.v);
  const __m128i odd = _mm_mul_epu32(_mm_srli_si128(a.v, 4), _mm_srli_si128(b.v, 4));
  return {_mm_unpacklo_epi32(_mm_shuffle_epi32(even, _MM_SHUFFLE(0, 0, 2, 0)),
                             _mm_shuffle_epi32(odd, _MM_SHUFFLE(0, 0, 2, 0)))};
}
CR_INLINE I32x4 madd(I32x4 a, I32x4 b) {
  return {_mm_madd_epi16(a.v, b.v)};
}
CR_INLINE I32x4 min(I32x4 a, I32x4 b) {
  return select(gt(a, b), b, a);
}
CR_INLINE I32x4 max(I32x4 a, I32x4 b) {
  return select(gt(a, b), a, b);
}
CR_INLINE I32x4 umin(I32x4 a, I32x4 b) {
  const I32x4 sign = splat<I32x4>(INT32_MIN);
  return select(gt(a ^ sign, b ^ sign), b, a);
}

CR_INLINE I32x4::Half sat(I32x4 a) {
  return {_mm_packs_epi32(a.v, a.v)};
}
CR_INLINE I32x4 pair(I32x4::Half lo, I32x4::Half hi) {
  return {_mm_unpacklo_epi16(lo.v, hi.v)};
}
CR_INLINE I32x4 cross(I32x4 a, I32x4 b) {
  const __m128i low = _mm_set1_epi32(0xFFFF);
  return {_mm_or_si128(_mm_andnot_si128(low, a.v), _mm_and_si128(low, b.v))};
}
CR_INLINE I32x4 swap(I32x4 a) {
  return {_mm_or_si128(_mm_slli_epi32(a.v, 16), _mm_srli_epi32(a.v, 16))};
}

CR_INLINE void store(int32_t *to, I32x4 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i *>(to), a.v);
}
CR_INLINE void store_four(int16_t *to, __m128i a) {
  _mm_storel_epi64(reinterpret_cast<__m128i *>(to), a);
}
CR_INLINE void store16(int16_t *to, I32x4 a) {
  const __m128i sign_extended = _mm_srai_epi32(_mm_slli_epi32(a.v, 16), 16);
  store_four(to, _mm_packs_epi32(sign_extended, sign_extended));
}
CR_INLINE void store_pairs(int16_t *rows, I32x4 a) {
  const __m128i low = _mm_srai_epi32(_mm_slli_epi32(a.v, 16), 16);
  _mm_storeu_si128(reinterpret_cast<__m128i *>(rows), _mm_packs_epi32(low, _mm_srai_epi32(a.v, 16)));
}

template <int k>
CR_INLINE I32x4 sar16(I32x4 a) {
  return {_mm_srai_epi16(a.v, k)};
}
CR_INLINE I32x4 adds16(I32x4 a, I32x4 b) {
  return {_mm_adds_epi16(a.v, b.v)};
}
CR_INLINE I32x4 subs16(I32x4 a, I32x4 b) {
  return {_mm_subs_epi16(a.v, b.v)};
}
CR_INLINE I32x4 mul15_16(I32x4 a, I32x4 b) {
  return {_mm_or_si128(_mm_slli_epi16(_mm_mulhi_epi16(a.v, b.v), 1),
                       _mm_srli_epi16(_mm_mullo_epi16(a.v, b.v), 15))};
}
CR_INLINE I32x4 mulr16(I32x4 a, I32x4 b) {
  const I32x4 round = splat<I32x4>(16384), low_half = splat<I32x4>(0xFFFF);
  const I32x4 high = madd(shr<16>(a), shr<16>(b)) + round;
  return cross(shl<1>(high), sar<15>(madd(a & low_half, b) + round));
}
CR_INLINE I32x4 widest(I32x4 so_far, I32x4 a) {
  return {_mm_max_epi16(so_far.v, _mm_max_epi16(a.v, _mm_subs_epi16(_mm_setzero_si128(), a.v)))};
}
CR_INLINE I32x4 peak(I32x4 so_far) {
  return max(shr<16>(so_far), so_far & splat<I32x4>(0xFFFF));
}

// The exponent of the float next below: clearing the bit under the leading one keeps the conversion from
// rounding up to the next power of two.
CR_INLINE I32x4 norm(I32x4 a) {
  const __m128i lead = _mm_andnot_si128(_mm_srli_epi32(a.v, 1), a.v);
  const __m128i exponent = _mm_srli_epi32(_mm_castps_si128(_mm_cvtepi32_ps(lead)), 23);
  const __m128i shifts = _mm_sub_epi32(_mm_set1_epi32(157), exponent);
  return {_mm_and_si128(shifts, _mm_cmpgt_epi32(a.v, _mm_setzero_si128()))};
}
// a * 2^15 < 2^30 and the quotient <= 32767: the float quotient is off by less than one, the remainder mends
// it.
CR_INLINE I32x4 div15(I32x4 a, I32x4 b) {
  const I32x4 numerator = shl<15>(a);
  I32x4 q{_mm_cvttps_epi32(_mm_div_ps(_mm_cvtepi32_ps(numerator.v), _mm_cvtepi32_ps(b.v)))};
  const I32x4 rest = numerator - mul(q, b);
  q = q + sar<31>(rest);
  q.v = _mm_add_epi32(q.v, _mm_andnot_si128(gt(b, rest).v, _mm_set1_epi32(1)));
  return min(q, splat<I32x4>(32767));
}

CR_INLINE I32x4 gather(const int32_t *table, I32x4 index) {
  alignas(16) int32_t at[4];
  store(at, index);
  const AnyInt32 *from = table;
  return {_mm_setr_epi32(from[at[0]], from[at[1]], from[at[2]], from[at[3]])};
}

CR_INLINE void store_octets16(const I32x4 *pairs, int16_t *const *to, size_t offset) {
  const __m128i ab_low = _mm_unpacklo_epi32(pairs[0].v, pairs[1].v);
  const __m128i ab_high = _mm_unpackhi_epi32(pairs[0].v, pairs[1].v);
  const __m128i cd_low = _mm_unpacklo_epi32(pairs[2].v, pairs[3].v);
  const __m128i cd_high = _mm_unpackhi_epi32(pairs[2].v, pairs[3].v);
  const __m128i lanes[4] = {_mm_unpacklo_epi64(ab_low, cd_low), _mm_unpackhi_epi64(ab_low, cd_low),
                            _mm_unpacklo_epi64(ab_high, cd_high), _mm_unpackhi_epi64(ab_high, cd_high)};
  for (int i = 0; i < 4; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to[i] + offset), lanes[i]);
  }
}

using I32 = I32x4;

}  // namespace callreplay::CR_ISA
