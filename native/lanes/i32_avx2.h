// I32x8 on AVX2.
#pragma once

#include <immintrin.h>

#include "lanes/i32.h"

namespace callreplay::CR_ISA {

struct I32x8 {
  static constexpr int kLanes = 8;
  struct Mask {
    __m256i v;
    friend CR_INLINE Mask operator&(Mask a, Mask b) { return {_mm256_and_si256(a.v, b.v)}; }
    friend CR_INLINE Mask operator|(Mask a, Mask b) { return {_mm256_or_si256(a.v, b.v)}; }
    friend CR_INLINE Mask operator~(Mask a) { return {_mm256_xor_si256(a.v, _mm256_set1_epi32(-1))}; }
  };
  struct Half {
    __m256i v;
  };
  __m256i v;

  friend CR_INLINE I32x8 operator+(I32x8 a, I32x8 b) { return {_mm256_add_epi32(a.v, b.v)}; }
  friend CR_INLINE I32x8 operator-(I32x8 a, I32x8 b) { return {_mm256_sub_epi32(a.v, b.v)}; }
  friend CR_INLINE I32x8 operator&(I32x8 a, I32x8 b) { return {_mm256_and_si256(a.v, b.v)}; }
  friend CR_INLINE I32x8 operator|(I32x8 a, I32x8 b) { return {_mm256_or_si256(a.v, b.v)}; }
  friend CR_INLINE I32x8 operator^(I32x8 a, I32x8 b) { return {_mm256_xor_si256(a.v, b.v)}; }
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

template <>
CR_INLINE I32x8 splat<I32x8>(int32_t value) {
  return {_mm256_set1_epi32(value)};
}
template <>
CR_INLINE I32x8 load<I32x8>(const int32_t *from) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from))};
}
template <>
CR_INLINE I32x8 load16<I32x8>(const int16_t *from) {
  return {_mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from)))};
}
template <>
CR_INLINE I32x8 load_pairs<I32x8>(const int16_t *rows) {
  // Rows of 8: the quarters are a0-3 a4-7 b0-3 b4-7; bring a and b of the same lanes together, then
  // interleave.
  const __m256i quarters = _mm256_permute4x64_epi64(
      _mm256_loadu_si256(reinterpret_cast<const __m256i *>(rows)), _MM_SHUFFLE(3, 1, 2, 0));
  return {_mm256_unpacklo_epi16(quarters, _mm256_srli_si256(quarters, 8))};
}
template <>
CR_INLINE I32x8 iota<I32x8>() {
  return {_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)};
}
template <>
CR_INLINE I32x8::Mask mask_of<I32x8>(uint32_t bits) {
  const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return {_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), bit), bit)};
}

CR_INLINE void store(int32_t *to, I32x8 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), a.v);
}
CR_INLINE __m256i split_halves(__m256i a) {
  const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1, 4, 5, 8,
                                         9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(a, order), _MM_SHUFFLE(3, 1, 2, 0));
}
CR_INLINE void store16(int16_t *to, I32x8 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i *>(to), _mm256_castsi256_si128(split_halves(a.v)));
}
CR_INLINE void store_pairs(int16_t *rows, I32x8 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(rows), split_halves(a.v));
}

template <int k>
CR_INLINE I32x8 shl(I32x8 a) {
  return {_mm256_slli_epi32(a.v, k)};
}
template <int k>
CR_INLINE I32x8 shr(I32x8 a) {
  return {_mm256_srli_epi32(a.v, k)};
}
template <int k>
CR_INLINE I32x8 sar(I32x8 a) {
  return {_mm256_srai_epi32(a.v, k)};
}
CR_INLINE I32x8 shlv(I32x8 a, I32x8 n) {
  return {_mm256_sllv_epi32(a.v, n.v)};
}
CR_INLINE I32x8 sarv(I32x8 a, I32x8 n) {
  return {_mm256_srav_epi32(a.v, n.v)};
}

CR_INLINE I32x8 mul(I32x8 a, I32x8 b) {
  return {_mm256_mullo_epi32(a.v, b.v)};
}
CR_INLINE I32x8 madd(I32x8 a, I32x8 b) {
  return {_mm256_madd_epi16(a.v, b.v)};
}

CR_INLINE I32x8 min(I32x8 a, I32x8 b) {
  return {_mm256_min_epi32(a.v, b.v)};
}
CR_INLINE I32x8 max(I32x8 a, I32x8 b) {
  return {_mm256_max_epi32(a.v, b.v)};
}
CR_INLINE I32x8 umin(I32x8 a, I32x8 b) {
  return {_mm256_min_epu32(a.v, b.v)};
}
CR_INLINE I32x8::Mask gt(I32x8 a, I32x8 b) {
  return {_mm256_cmpgt_epi32(a.v, b.v)};
}
CR_INLINE I32x8::Mask eq(I32x8 a, I32x8 b) {
  return {_mm256_cmpeq_epi32(a.v, b.v)};
}
// As assembly, because GCC 12 turns the intrinsic into a comparison of the mask with zero and a blend.
CR_INLINE I32x8 select(I32x8::Mask m, I32x8 a, I32x8 b) {
  __m256i v;
  __asm__("vpblendvb %3, %2, %1, %0" : "=x"(v) : "x"(b.v), "x"(a.v), "x"(m.v));
  return {v};
}
CR_INLINE uint32_t bits(I32x8::Mask m) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(m.v)));
}
CR_INLINE bool any(I32x8::Mask m) {
  return bits(m) != 0;
}
CR_INLINE bool all(I32x8::Mask m) {
  return bits(m) == 0xFF;
}

// Both halves of each 128 bits hold the clamped values, so that one unpack makes pairs in lane order.
CR_INLINE I32x8::Half sat(I32x8 a) {
  return {_mm256_packs_epi32(a.v, a.v)};
}
CR_INLINE I32x8 pair(I32x8::Half lo, I32x8::Half hi) {
  return {_mm256_unpacklo_epi16(lo.v, hi.v)};
}
CR_INLINE I32x8 cross(I32x8 a, I32x8 b) {
  return {_mm256_blend_epi16(b.v, a.v, 0xAA)};
}
CR_INLINE I32x8 swap(I32x8 a) {
  const __m256i order = _mm256_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6,
                                         7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  return {_mm256_shuffle_epi8(a.v, order)};
}

template <int k>
CR_INLINE I32x8 sar16(I32x8 a) {
  return {_mm256_srai_epi16(a.v, k)};
}
CR_INLINE I32x8 adds16(I32x8 a, I32x8 b) {
  return {_mm256_adds_epi16(a.v, b.v)};
}
CR_INLINE I32x8 subs16(I32x8 a, I32x8 b) {
  return {_mm256_subs_epi16(a.v, b.v)};
}
CR_INLINE I32x8 mul15_16(I32x8 a, I32x8 b) {
  return {_mm256_or_si256(_mm256_slli_epi16(_mm256_mulhi_epi16(a.v, b.v), 1),
                          _mm256_srli_epi16(_mm256_mullo_epi16(a.v, b.v), 15))};
}
CR_INLINE I32x8 mulr16(I32x8 a, I32x8 b) {
  return {_mm256_mulhrs_epi16(a.v, b.v)};
}
CR_INLINE I32x8 widest(I32x8 so_far, I32x8 a) {
  return {_mm256_max_epu16(so_far.v, _mm256_abs_epi16(a.v))};
}
CR_INLINE I32x8 peak(I32x8 so_far) {
  return {_mm256_max_epi32(_mm256_srli_epi32(so_far.v, 16),
                           _mm256_and_si256(so_far.v, _mm256_set1_epi32(0xFFFF)))};
}

// The exponent of the float next below: clearing the bit under the leading one keeps the conversion from
// rounding up to the next power of two.
CR_INLINE I32x8 norm(I32x8 a) {
  const __m256i lead = _mm256_andnot_si256(_mm256_srli_epi32(a.v, 1), a.v);
  const __m256i exponent = _mm256_srli_epi32(_mm256_castps_si256(_mm256_cvtepi32_ps(lead)), 23);
  const __m256i shifts = _mm256_sub_epi32(_mm256_set1_epi32(157), exponent);
  return {_mm256_and_si256(shifts, _mm256_cmpgt_epi32(a.v, _mm256_setzero_si256()))};
}
// a * 2^15 < 2^30 and the quotient <= 32767: the float quotient is off by less than one, the remainder mends
// it.
CR_INLINE I32x8 div15(I32x8 a, I32x8 b) {
  const __m256i one = _mm256_set1_epi32(1);
  const __m256i numerator = _mm256_slli_epi32(a.v, 15);
  __m256i q = _mm256_cvttps_epi32(_mm256_div_ps(_mm256_cvtepi32_ps(numerator), _mm256_cvtepi32_ps(b.v)));
  const __m256i rest = _mm256_sub_epi32(numerator, _mm256_mullo_epi32(q, b.v));
  q = _mm256_add_epi32(q, _mm256_srai_epi32(rest, 31));
  q = _mm256_add_epi32(q, _mm256_andnot_si256(_mm256_cmpgt_epi32(b.v, rest), one));
  return {_mm256_min_epi32(q, _mm256_set1_epi32(32767))};
}

CR_INLINE I32x8 gather(const int32_t *table, I32x8 index) {
  return {_mm256_i32gather_epi32(table, index.v, 4)};
}

CR_INLINE void store_octets16(const I32x8 *pairs, int16_t *const *to, size_t offset) {
  const __m256i ab_low = _mm256_unpacklo_epi32(pairs[0].v, pairs[1].v);
  const __m256i ab_high = _mm256_unpackhi_epi32(pairs[0].v, pairs[1].v);
  const __m256i cd_low = _mm256_unpacklo_epi32(pairs[2].v, pairs[3].v);
  const __m256i cd_high = _mm256_unpackhi_epi32(pairs[2].v, pairs[3].v);
  const __m256i lanes[4] = {_mm256_unpacklo_epi64(ab_low, cd_low), _mm256_unpackhi_epi64(ab_low, cd_low),
                            _mm256_unpacklo_epi64(ab_high, cd_high), _mm256_unpackhi_epi64(ab_high, cd_high)};
  for (int i = 0; i < 4; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to[i] + offset), _mm256_castsi256_si128(lanes[i]));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to[i + 4] + offset), _mm256_extracti128_si256(lanes[i], 1));
  }
}

using I32 = I32x8;

}  // namespace callreplay::CR_ISA
