// I32x16 on AVX-512 F, BW, DQ, VL, CD.
#pragma once

// GCC 12 sees its own _mm512_undefined_epi32() as an uninitialised variable (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include "lanes/i32.h"

namespace callreplay::CR_ISA {

struct I32x16 {
  static constexpr int kLanes = 16;
  struct Mask {
    __mmask16 v;
    friend CR_INLINE Mask operator&(Mask a, Mask b) { return {static_cast<__mmask16>(a.v & b.v)}; }
    friend CR_INLINE Mask operator|(Mask a, Mask b) { return {static_cast<__mmask16>(a.v | b.v)}; }
    friend CR_INLINE Mask operator~(Mask a) { return {static_cast<__mmask16>(~a.v)}; }
  };
  struct Half {
    __m512i v;
  };
  __m512i v;

  friend CR_INLINE I32x16 operator+(I32x16 a, I32x16 b) { return {_mm512_add_epi32(a.v, b.v)}; }
  friend CR_INLINE I32x16 operator-(I32x16 a, I32x16 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
  friend CR_INLINE I32x16 operator&(I32x16 a, I32x16 b) { return {_mm512_and_si512(a.v, b.v)}; }
  friend CR_INLINE I32x16 operator|(I32x16 a, I32x16 b) { return {_mm512_or_si512(a.v, b.v)}; }
  friend CR_INLINE I32x16 operator^(I32x16 a, I32x16 b) { return {_mm512_xor_si512(a.v, b.v)}; }
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
CR_INLINE I32x16 splat<I32x16>(int32_t value) {
  return {_mm512_set1_epi32(value)};
}
template <>
CR_INLINE I32x16 load<I32x16>(const int32_t *from) {
  return {_mm512_loadu_si512(from)};
}
template <>
CR_INLINE I32x16 load16<I32x16>(const int16_t *from) {
  return {_mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)))};
}
// Word i of the interleaved pairs comes from word (i % 2) * 16 + i / 2 of the two rows, and back.
CR_INLINE __m512i interleave_order() {
  return _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                          20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
}
CR_INLINE __m512i split_order() {
  return _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 30, 28, 26, 24, 22, 20,
                          18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
}
template <>
CR_INLINE I32x16 load_pairs<I32x16>(const int16_t *rows) {
  return {_mm512_permutexvar_epi16(interleave_order(), _mm512_loadu_si512(rows))};
}
template <>
CR_INLINE I32x16 iota<I32x16>() {
  return {_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)};
}
template <>
CR_INLINE I32x16::Mask mask_of<I32x16>(uint32_t bits) {
  return {static_cast<__mmask16>(bits)};
}

CR_INLINE void store(int32_t *to, I32x16 a) {
  _mm512_storeu_si512(to, a.v);
}
CR_INLINE void store16(int16_t *to, I32x16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), _mm512_cvtepi32_epi16(a.v));
}
CR_INLINE void store_pairs(int16_t *rows, I32x16 a) {
  _mm512_storeu_si512(rows, _mm512_permutexvar_epi16(split_order(), a.v));
}

template <int k>
CR_INLINE I32x16 shl(I32x16 a) {
  return {_mm512_slli_epi32(a.v, k)};
}
template <int k>
CR_INLINE I32x16 shr(I32x16 a) {
  return {_mm512_srli_epi32(a.v, k)};
}
template <int k>
CR_INLINE I32x16 sar(I32x16 a) {
  return {_mm512_srai_epi32(a.v, k)};
}
CR_INLINE I32x16 shlv(I32x16 a, I32x16 n) {
  return {_mm512_sllv_epi32(a.v, n.v)};
}
CR_INLINE I32x16 sarv(I32x16 a, I32x16 n) {
  return {_mm512_srav_epi32(a.v, n.v)};
}

CR_INLINE I32x16 mul(I32x16 a, I32x16 b) {
  return {_mm512_mullo_epi32(a.v, b.v)};
}
CR_INLINE I32x16 madd(I32x16 a, I32x16 b) {
  return {_mm512_madd_epi16(a.v, b.v)};
}

CR_INLINE I32x16 min(I32x16 a, I32x16 b) {
  return {_mm512_min_epi32(a.v, b.v)};
}
CR_INLINE I32x16 max(I32x16 a, I32x16 b) {
  return {_mm512_max_epi32(a.v, b.v)};
}
CR_INLINE I32x16 umin(I32x16 a, I32x16 b) {
  return {_mm512_min_epu32(a.v, b.v)};
}
CR_INLINE I32x16::Mask gt(I32x16 a, I32x16 b) {
  return {_mm512_cmpgt_epi32_mask(a.v, b.v)};
}
CR_INLINE I32x16::Mask eq(I32x16 a, I32x16 b) {
  return {_mm512_cmpeq_epi32_mask(a.v, b.v)};
}
CR_INLINE I32x16 select(I32x16::Mask m, I32x16 a, I32x16 b) {
  return {_mm512_mask_blend_epi32(m.v, b.v, a.v)};
}
CR_INLINE uint32_t bits(I32x16::Mask m) {
  return m.v;
}
CR_INLINE bool any(I32x16::Mask m) {
  return m.v != 0;
}
CR_INLINE bool all(I32x16::Mask m) {
  return m.v == 0xFFFF;
}

// Both halves of each 128 bits hold the clamped values, so that one unpack makes pairs in lane order.
CR_INLINE I32x16::Half sat(I32x16 a) {
  return {_mm512_packs_epi32(a.v, a.v)};
}
CR_INLINE I32x16 pair(I32x16::Half lo, I32x16::Half hi) {
  return {_mm512_unpacklo_epi16(lo.v, hi.v)};
}
CR_INLINE I32x16 cross(I32x16 a, I32x16 b) {
  return {_mm512_mask_blend_epi16(0xAAAAAAAA, b.v, a.v)};
}
CR_INLINE I32x16 swap(I32x16 a) {
  return {_mm512_rol_epi32(a.v, 16)};
}

template <int k>
CR_INLINE I32x16 sar16(I32x16 a) {
  return {_mm512_srai_epi16(a.v, k)};
}
CR_INLINE I32x16 adds16(I32x16 a, I32x16 b) {
  return {_mm512_adds_epi16(a.v, b.v)};
}
CR_INLINE I32x16 subs16(I32x16 a, I32x16 b) {
  return {_mm512_subs_epi16(a.v, b.v)};
}
CR_INLINE I32x16 mul15_16(I32x16 a, I32x16 b) {
  return {_mm512_or_si512(_mm512_slli_epi16(_mm512_mulhi_epi16(a.v, b.v), 1),
                          _mm512_srli_epi16(_mm512_mullo_epi16(a.v, b.v), 15))};
}
CR_INLINE I32x16 mulr16(I32x16 a, I32x16 b) {
  return {_mm512_mulhrs_epi16(a.v, b.v)};
}
CR_INLINE I32x16 widest(I32x16 so_far, I32x16 a) {
  return {_mm512_max_epu16(so_far.v, _mm512_abs_epi16(a.v))};
}
CR_INLINE I32x16 peak(I32x16 so_far) {
  return {_mm512_max_epi32(_mm512_srli_epi32(so_far.v, 16),
                           _mm512_and_si512(so_far.v, _mm512_set1_epi32(0xFFFF)))};
}

CR_INLINE I32x16 norm(I32x16 a) {
  const __m512i positive = _mm512_max_epi32(a.v, _mm512_setzero_si512());
  return {_mm512_maskz_sub_epi32(_mm512_test_epi32_mask(positive, positive), _mm512_lzcnt_epi32(positive),
                                 _mm512_set1_epi32(1))};
}
// a * 2^15 < 2^30 and the quotient <= 32767: the float quotient is off by less than one, the remainder mends
// it.
CR_INLINE I32x16 div15(I32x16 a, I32x16 b) {
  const __m512i one = _mm512_set1_epi32(1);
  const __m512i numerator = _mm512_slli_epi32(a.v, 15);
  __m512i q = _mm512_cvttps_epi32(_mm512_div_ps(_mm512_cvtepi32_ps(numerator), _mm512_cvtepi32_ps(b.v)));
  const __m512i rest = _mm512_sub_epi32(numerator, _mm512_mullo_epi32(q, b.v));
  q = _mm512_add_epi32(q, _mm512_srai_epi32(rest, 31));
  q = _mm512_mask_add_epi32(q, _mm512_cmpge_epi32_mask(rest, b.v), q, one);
  return {_mm512_min_epi32(q, _mm512_set1_epi32(32767))};
}

CR_INLINE I32x16 gather(const int32_t *table, I32x16 index) {
  return {_mm512_i32gather_epi32(index.v, table, 4)};
}

CR_INLINE void store_octets16(const I32x16 *pairs, int16_t *const *to, size_t offset) {
  const __m512i ab_low = _mm512_unpacklo_epi32(pairs[0].v, pairs[1].v);
  const __m512i ab_high = _mm512_unpackhi_epi32(pairs[0].v, pairs[1].v);
  const __m512i cd_low = _mm512_unpacklo_epi32(pairs[2].v, pairs[3].v);
  const __m512i cd_high = _mm512_unpackhi_epi32(pairs[2].v, pairs[3].v);
  const __m512i lanes[4] = {_mm512_unpacklo_epi64(ab_low, cd_low), _mm512_unpackhi_epi64(ab_low, cd_low),
                            _mm512_unpacklo_epi64(ab_high, cd_high), _mm512_unpackhi_epi64(ab_high, cd_high)};
  for (int i = 0; i < 4; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to[i] + offset), _mm512_castsi512_si128(lanes[i]));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to[i + 4] + offset), _mm512_extracti32x4_epi32(lanes[i], 1));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to[i + 8] + offset), _mm512_extracti32x4_epi32(lanes[i], 2));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to[i + 12] + offset),
                     _mm512_extracti32x4_epi32(lanes[i], 3));
  }
}

using I32 = I32x16;

}  // namespace callreplay::CR_ISA
