// Lanes of 32 bits: an int32, or a pair of int16 (low half, high half) for the multiply-add of two 16-bit
// products. The law of one lane in plain C++, then the register of this instruction set, kWidth32 lanes wide.
// Additions and shifts wrap. docs/lanes.md lists the operations.
#pragma once

#include "lanes/registers.h"

namespace callreplay::CR_ISA {

// Rows of V are read back a lane at a time, so what a gather reads may have been written as any type.
using AnyInt32 __attribute__((may_alias)) = int32_t;

// What comparisons of N lanes of 32 bits give, float lanes too.
template <int N>
struct Mask32;

// Clamped to 16 bits, for pair().
template <int N>
struct Half32;

template <class V>
CR_LANE V load16(const int16_t *from) {
  return V::load16(from);
}
template <class V>
CR_LANE V load_pairs(const int16_t *rows) {
  return V::load_pairs(rows);
}
template <class V>
CR_LANE V iota() {
  return V::iota();
}
template <class V>
CR_LANE MaskOf<V> mask_of(uint32_t bits) {
  return MaskOf<V>::of(bits);
}

template <>
struct Mask32<1> {
  bool v;
  static CR_LANE Mask32 of(uint32_t bits) { return {(bits & 1) != 0}; }
};

template <>
struct Half32<1> {
  int32_t v;
};

template <>
struct Lanes<int32_t, 1> {
  using Element = int32_t;
  using Mask = Mask32<1>;
  static constexpr int kLanes = 1;
  int32_t v;

  CR_LANE uint32_t bits() const { return static_cast<uint32_t>(v); }
  CR_LANE int16_t low() const { return static_cast<int16_t>(static_cast<uint16_t>(bits())); }
  CR_LANE int16_t high() const { return static_cast<int16_t>(v >> 16); }
  static CR_LANE Lanes wrap(uint32_t bits) { return {static_cast<int32_t>(bits)}; }
  static CR_LANE Lanes halves(int32_t lo, int32_t hi) {
    return wrap((static_cast<uint32_t>(lo) & 0xFFFF) | static_cast<uint32_t>(hi) << 16);
  }
  static CR_LANE Lanes splat(int32_t value) { return {value}; }
  static CR_LANE Lanes load(const int32_t *from) { return {*from}; }
  static CR_LANE Lanes load16(const int16_t *from) { return {*from}; }
  static CR_LANE Lanes load_pairs(const int16_t *rows) { return halves(rows[0], rows[1]); }
  static CR_LANE Lanes iota() { return {0}; }
  CR_LANE void store(int32_t *to) const { *to = v; }
};

// clang-format off
using I32x1 = Lanes<int32_t, 1>;
using M32x1 = Mask32<1>;

CR_BINARY(M32x1, operator&, a.v && b.v)
CR_BINARY(M32x1, operator|, a.v || b.v)
CR_UNARY(M32x1, operator!, !a.v)
CR_BINARY(I32x1, operator+, static_cast<int32_t>(a.bits() + b.bits()))
CR_BINARY(I32x1, operator-, static_cast<int32_t>(a.bits() - b.bits()))
CR_BINARY(I32x1, operator*, static_cast<int32_t>(a.bits() * b.bits()))
CR_BINARY(I32x1, operator&, a.v & b.v)
CR_BINARY(I32x1, operator|, a.v | b.v)
CR_BINARY(I32x1, operator^, a.v ^ b.v)
CR_COMPARE(I32x1, operator>, a.v > b.v)
CR_COMPARE(I32x1, operator==, a.v == b.v)
CR_BINARY(I32x1, min, a.v < b.v ? a.v : b.v)
CR_BINARY(I32x1, max, a.v > b.v ? a.v : b.v)
CR_BINARY(I32x1, umin, a.bits() < b.bits() ? a.v : b.v)
CR_BINARY(I32x1, umax, a.bits() > b.bits() ? a.v : b.v)
CR_SHIFT(I32x1, shl, static_cast<int32_t>(a.bits() << k))
CR_SHIFT(I32x1, shr, static_cast<int32_t>(a.bits() >> k))
CR_SHIFT(I32x1, sar, a.v >> k)
CR_BINARY(I32x1, shl_each, static_cast<int32_t>(a.bits() << (b.v & 31)))
CR_BINARY(I32x1, sar_each, a.v >> (b.v & 31))
CR_UNARY(I32x1, norm, a.v > 0 ? __builtin_clz(a.bits()) - 1 : 0)
CR_BINARY(I32x1, div15, a.v == b.v ? 32767 : (a.v << 15) / b.v)
CR_BINARY(I32x1, madd, static_cast<int32_t>(static_cast<uint32_t>(a.low() * b.low()) +
                                            static_cast<uint32_t>(a.high() * b.high())))
CR_UNARY(I32x1, swap, static_cast<int32_t>(a.bits() << 16 | a.bits() >> 16))
CR_BINARY(I32x1, cross, static_cast<int32_t>((a.bits() & 0xFFFF0000) | (b.bits() & 0xFFFF)))
// clang-format on

CR_LANE I32x1 select(M32x1 m, I32x1 a, I32x1 b) {
  return m.v ? a : b;
}
CR_LANE bool any(M32x1 m) {
  return m.v;
}
CR_LANE bool all(M32x1 m) {
  return m.v;
}
CR_LANE uint32_t bits(M32x1 m) {
  return m.v;
}
CR_LANE I32x1 filled(M32x1 m) {
  return {m.v ? -1 : 0};
}
CR_LANE I32x1 running_sum(I32x1 a) {
  return a;
}
CR_LANE I32x1 last_lane(I32x1 a) {
  return a;
}
CR_LANE void store16(int16_t *to, I32x1 a) {
  *to = a.low();
}
CR_LANE void store_pairs(int16_t *rows, I32x1 a) {
  rows[0] = a.low();
  rows[1] = a.high();
}
CR_LANE void store_halves(int16_t *to, I32x1 a) {
  to[0] = a.low();
  to[1] = a.high();
}
CR_LANE Half32<1> sat(I32x1 a) {
  return {a.v > 32767 ? 32767 : a.v < -32768 ? -32768 : a.v};
}
CR_LANE I32x1 pair(Half32<1> lo, Half32<1> hi) {
  return I32x1::halves(lo.v, hi.v);
}
template <int k>
CR_LANE I32x1 sar16(I32x1 a) {
  return I32x1::halves(a.low() >> k, a.v >> (16 + k));
}
CR_LANE I32x1 add16(I32x1 a, I32x1 b) {
  return I32x1::halves(a.low() + b.low(), a.high() + b.high());
}
CR_LANE I32x1 sub16(I32x1 a, I32x1 b) {
  return I32x1::halves(a.low() - b.low(), a.high() - b.high());
}
CR_LANE I32x1 mullo16(I32x1 a, I32x1 b) {
  return I32x1::halves(a.low() * b.low(), a.high() * b.high());
}
CR_LANE I32x1 adds16(I32x1 a, I32x1 b) {
  return pair(sat(I32x1{a.low() + b.low()}), sat(I32x1{a.high() + b.high()}));
}
CR_LANE I32x1 subs16(I32x1 a, I32x1 b) {
  return pair(sat(I32x1{a.low() - b.low()}), sat(I32x1{a.high() - b.high()}));
}
CR_LANE I32x1 mul15_16(I32x1 a, I32x1 b) {
  return I32x1::halves((a.low() * b.low()) >> 15, (a.high() * b.high()) >> 15);
}
CR_LANE I32x1 mulr16(I32x1 a, I32x1 b) {
  return I32x1::halves((a.low() * b.low() + 16384) >> 15, (a.high() * b.high() + 16384) >> 15);
}
CR_LANE I32x1 widest(I32x1 so_far, I32x1 a) {
  const int32_t lo = a.low(), hi = a.high();
  return max(so_far, max(I32x1{lo < 0 ? -lo : lo}, I32x1{hi < 0 ? -hi : hi}));
}
CR_LANE I32x1 peak(I32x1 so_far) {
  return so_far;
}
CR_LANE I32x1 gather(const int32_t *table, I32x1 index) {
  return {table[index.v]};
}
CR_LANE void store_eights(int16_t *const *to, size_t offset, const I32x1 *pairs) {
  for (int i = 0; i < 4; ++i) {
    to[0][offset + 2 * i] = pairs[i].low();
    to[0][offset + 2 * i + 1] = pairs[i].high();
  }
}

// The registers.
#if defined(CR_AVX512) || defined(CR_AVX2) || defined(CR_SSE2)

inline constexpr int kWidth32 = sizeof(Register) / sizeof(int32_t);

template <>
struct Mask32<kWidth32> {
#if defined(CR_AVX512)
  __mmask16 v;
  static CR_LANE Mask32 of(uint32_t bits) {
    return {static_cast<__mmask16>(bits)};
  }
#elif defined(CR_AVX2)
  __m256i v;
  static CR_LANE Mask32 of(uint32_t bits) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return {_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), bit), bit)};
  }
#else
  __m128i v;
  static CR_LANE Mask32 of(uint32_t bits) {
    const __m128i bit = _mm_setr_epi32(1, 2, 4, 8);
    return {_mm_cmpeq_epi32(_mm_and_si128(_mm_set1_epi32(static_cast<int>(bits)), bit), bit)};
  }
#endif
};

// Both halves of each 128 bits hold the clamped values, so that one unpack makes pairs in lane order.
template <>
struct Half32<kWidth32> {
  Register v;
};

#if defined(CR_AVX512)
// Word i of the interleaved pairs comes from word (i % 2) * 16 + i / 2 of the two rows, and back.
CR_LANE __m512i interleave_order() {
  return _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                          20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
}
CR_LANE __m512i split_order() {
  return _mm512_set_epi16(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 30, 28, 26, 24, 22, 20,
                          18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
}
#elif defined(CR_AVX2)
CR_LANE __m256i split_halves(__m256i a) {
  const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1, 4, 5, 8,
                                         9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(a, order), _MM_SHUFFLE(3, 1, 2, 0));
}
#else
CR_LANE __m128i load_64(const void *from) {
  return _mm_loadl_epi64(static_cast<const __m128i *>(from));
}
CR_LANE __m128i low_extended(__m128i a) {
  return _mm_srai_epi32(_mm_slli_epi32(a, 16), 16);
}
#endif

template <>
struct Lanes<int32_t, kWidth32> {
  using Element = int32_t;
  using Mask = Mask32<kWidth32>;
  static constexpr int kLanes = kWidth32;
  Register v;

  static CR_LANE Lanes splat(int32_t value) { return {CR_MM(set1_epi32)(value)}; }
  static CR_LANE Lanes load(const int32_t *from) { return {load_register(from)}; }
  CR_LANE void store(int32_t *to) const { store_register(to, v); }
#if defined(CR_AVX512)
  static CR_LANE Lanes load16(const int16_t *from) {
    return {_mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from)))};
  }
  static CR_LANE Lanes load_pairs(const int16_t *rows) {
    return {_mm512_permutexvar_epi16(interleave_order(), load_register(rows))};
  }
  static CR_LANE Lanes iota() {
    return {_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)};
  }
#elif defined(CR_AVX2)
  static CR_LANE Lanes load16(const int16_t *from) {
    return {_mm256_cvtepi16_epi32(load_128(from))};
  }
  static CR_LANE Lanes load_pairs(const int16_t *rows) {
    // Rows of 8: the quarters are a0-3 a4-7 b0-3 b4-7; bring a and b of the same lanes
    // together, then interleave.
    const __m256i quarters = _mm256_permute4x64_epi64(load_register(rows), _MM_SHUFFLE(3, 1, 2, 0));
    return {_mm256_unpacklo_epi16(quarters, _mm256_srli_si256(quarters, 8))};
  }
  static CR_LANE Lanes iota() {
    return {_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)};
  }
#else
  static CR_LANE Lanes load16(const int16_t *from) {
    const __m128i words = load_64(from);
    return {_mm_srai_epi32(_mm_unpacklo_epi16(words, words), 16)};
  }
  static CR_LANE Lanes load_pairs(const int16_t *rows) {
    return {_mm_unpacklo_epi16(load_64(rows), load_64(rows + 4))};
  }
  static CR_LANE Lanes iota() {
    return {_mm_setr_epi32(0, 1, 2, 3)};
  }
#endif
};

// clang-format off
using I32 = Lanes<int32_t, kWidth32>;
using M32 = Mask32<kWidth32>;

CR_BINARY(I32, operator+, CR_MM(add_epi32)(a.v, b.v))
CR_BINARY(I32, operator-, CR_MM(sub_epi32)(a.v, b.v))
CR_BINARY(I32, operator&, CR_MM_BITS(and)(a.v, b.v))
CR_BINARY(I32, operator|, CR_MM_BITS(or)(a.v, b.v))
CR_BINARY(I32, operator^, CR_MM_BITS(xor)(a.v, b.v))
CR_SHIFT(I32, shl, CR_MM(slli_epi32)(a.v, k))
CR_SHIFT(I32, shr, CR_MM(srli_epi32)(a.v, k))
CR_SHIFT(I32, sar, CR_MM(srai_epi32)(a.v, k))
CR_BINARY(I32, madd, CR_MM(madd_epi16)(a.v, b.v))
CR_SHIFT(I32, sar16, CR_MM(srai_epi16)(a.v, k))
CR_BINARY(I32, add16, CR_MM(add_epi16)(a.v, b.v))
CR_BINARY(I32, sub16, CR_MM(sub_epi16)(a.v, b.v))
CR_BINARY(I32, mullo16, CR_MM(mullo_epi16)(a.v, b.v))
CR_BINARY(I32, adds16, CR_MM(adds_epi16)(a.v, b.v))
CR_BINARY(I32, subs16, CR_MM(subs_epi16)(a.v, b.v))
CR_BINARY(I32, mul15_16, CR_MM_BITS(or)(CR_MM(slli_epi16)(CR_MM(mulhi_epi16)(a.v, b.v), 1),
                                        CR_MM(srli_epi16)(CR_MM(mullo_epi16)(a.v, b.v), 15)))
// clang-format on

CR_LANE Half32<kWidth32> sat(I32 a) {
  return {CR_MM(packs_epi32)(a.v, a.v)};
}
CR_LANE I32 pair(Half32<kWidth32> lo, Half32<kWidth32> hi) {
  return {CR_MM(unpacklo_epi16)(lo.v, hi.v)};
}
CR_LANE void store_halves(int16_t *to, I32 a) {
  store_register(to, a.v);
}

CR_LANE void store_eights(int16_t *const *to, size_t offset, const I32 *pairs) {
  const Register ab_low = CR_MM(unpacklo_epi32)(pairs[0].v, pairs[1].v);
  const Register ab_high = CR_MM(unpackhi_epi32)(pairs[0].v, pairs[1].v);
  const Register cd_low = CR_MM(unpacklo_epi32)(pairs[2].v, pairs[3].v);
  const Register cd_high = CR_MM(unpackhi_epi32)(pairs[2].v, pairs[3].v);
  const Register lanes[4] = {CR_MM(unpacklo_epi64)(ab_low, cd_low), CR_MM(unpackhi_epi64)(ab_low, cd_low),
                             CR_MM(unpacklo_epi64)(ab_high, cd_high),
                             CR_MM(unpackhi_epi64)(ab_high, cd_high)};
  for (int i = 0; i < 4; ++i) {
#if defined(CR_AVX512)
    store_128(to[i] + offset, _mm512_castsi512_si128(lanes[i]));
    store_128(to[i + 4] + offset, _mm512_extracti32x4_epi32(lanes[i], 1));
    store_128(to[i + 8] + offset, _mm512_extracti32x4_epi32(lanes[i], 2));
    store_128(to[i + 12] + offset, _mm512_extracti32x4_epi32(lanes[i], 3));
#elif defined(CR_AVX2)
    store_128(to[i] + offset, _mm256_castsi256_si128(lanes[i]));
    store_128(to[i + 4] + offset, _mm256_extracti128_si256(lanes[i], 1));
#else
    store_128(to[i] + offset, lanes[i]);
#endif
  }
}

#endif
#if defined(CR_AVX512)

// clang-format off
CR_BINARY(M32, operator&, static_cast<__mmask16>(a.v & b.v))
CR_BINARY(M32, operator|, static_cast<__mmask16>(a.v | b.v))
CR_UNARY(M32, operator!, static_cast<__mmask16>(~a.v))
CR_BINARY(I32, operator*, _mm512_mullo_epi32(a.v, b.v))
CR_COMPARE(I32, operator>, _mm512_cmpgt_epi32_mask(a.v, b.v))
CR_COMPARE(I32, operator==, _mm512_cmpeq_epi32_mask(a.v, b.v))
CR_BINARY(I32, min, _mm512_min_epi32(a.v, b.v))
CR_BINARY(I32, max, _mm512_max_epi32(a.v, b.v))
CR_BINARY(I32, umin, _mm512_min_epu32(a.v, b.v))
CR_BINARY(I32, umax, _mm512_max_epu32(a.v, b.v))
CR_BINARY(I32, shl_each, _mm512_sllv_epi32(a.v, b.v))
CR_BINARY(I32, sar_each, _mm512_srav_epi32(a.v, b.v))
CR_BINARY(I32, cross, _mm512_mask_blend_epi16(0xAAAAAAAA, b.v, a.v))
CR_UNARY(I32, swap, _mm512_rol_epi32(a.v, 16))
CR_BINARY(I32, mulr16, _mm512_mulhrs_epi16(a.v, b.v))
CR_BINARY(I32, widest, _mm512_max_epu16(a.v, _mm512_abs_epi16(b.v)))
CR_UNARY(I32, peak, _mm512_max_epi32(_mm512_srli_epi32(a.v, 16), _mm512_and_si512(a.v, _mm512_set1_epi32(0xFFFF))))
// clang-format on

CR_LANE I32 select(M32 m, I32 a, I32 b) {
  return {_mm512_mask_blend_epi32(m.v, b.v, a.v)};
}
CR_LANE I32 filled(M32 m) {
  return {_mm512_movm_epi32(m.v)};
}
// Lane i: the sum of the lanes 0 to i.
CR_LANE I32 running_sum(I32 a) {
  const __m512i zero = _mm512_setzero_si512();
  a.v = _mm512_add_epi32(a.v, _mm512_alignr_epi32(a.v, zero, 15));
  a.v = _mm512_add_epi32(a.v, _mm512_alignr_epi32(a.v, zero, 14));
  a.v = _mm512_add_epi32(a.v, _mm512_alignr_epi32(a.v, zero, 12));
  return {_mm512_add_epi32(a.v, _mm512_alignr_epi32(a.v, zero, 8))};
}
CR_LANE I32 last_lane(I32 a) {
  return {_mm512_permutexvar_epi32(_mm512_set1_epi32(15), a.v)};
}
CR_LANE uint32_t bits(M32 m) {
  return m.v;
}
CR_LANE bool any(M32 m) {
  return m.v != 0;
}
CR_LANE bool all(M32 m) {
  return m.v == 0xFFFF;
}
CR_LANE void store16(int16_t *to, I32 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), _mm512_cvtepi32_epi16(a.v));
}
CR_LANE void store_pairs(int16_t *rows, I32 a) {
  store_register(rows, _mm512_permutexvar_epi16(split_order(), a.v));
}

CR_LANE I32 norm(I32 a) {
  const __m512i positive = _mm512_max_epi32(a.v, _mm512_setzero_si512());
  return {_mm512_maskz_sub_epi32(_mm512_test_epi32_mask(positive, positive), _mm512_lzcnt_epi32(positive),
                                 _mm512_set1_epi32(1))};
}
// a * 2^15 < 2^30 and the quotient <= 32767: the float quotient is off by less than one, the
// remainder mends it.
CR_LANE I32 div15(I32 a, I32 b) {
  const __m512i one = _mm512_set1_epi32(1);
  const __m512i numerator = _mm512_slli_epi32(a.v, 15);
  __m512i q = _mm512_cvttps_epi32(_mm512_div_ps(_mm512_cvtepi32_ps(numerator), _mm512_cvtepi32_ps(b.v)));
  const __m512i rest = _mm512_sub_epi32(numerator, _mm512_mullo_epi32(q, b.v));
  q = _mm512_add_epi32(q, _mm512_srai_epi32(rest, 31));
  q = _mm512_mask_add_epi32(q, _mm512_cmpge_epi32_mask(rest, b.v), q, one);
  return {_mm512_min_epi32(q, _mm512_set1_epi32(32767))};
}
CR_LANE I32 gather(const int32_t *table, I32 index) {
  return {_mm512_i32gather_epi32(index.v, table, 4)};
}

#elif defined(CR_AVX2)

// clang-format off
CR_BINARY(M32, operator&, _mm256_and_si256(a.v, b.v))
CR_BINARY(M32, operator|, _mm256_or_si256(a.v, b.v))
CR_UNARY(M32, operator!, _mm256_xor_si256(a.v, _mm256_set1_epi32(-1)))
CR_BINARY(I32, operator*, _mm256_mullo_epi32(a.v, b.v))
CR_COMPARE(I32, operator>, _mm256_cmpgt_epi32(a.v, b.v))
CR_COMPARE(I32, operator==, _mm256_cmpeq_epi32(a.v, b.v))
CR_BINARY(I32, min, _mm256_min_epi32(a.v, b.v))
CR_BINARY(I32, max, _mm256_max_epi32(a.v, b.v))
CR_BINARY(I32, umin, _mm256_min_epu32(a.v, b.v))
CR_BINARY(I32, umax, _mm256_max_epu32(a.v, b.v))
CR_BINARY(I32, shl_each, _mm256_sllv_epi32(a.v, b.v))
CR_BINARY(I32, sar_each, _mm256_srav_epi32(a.v, b.v))
CR_BINARY(I32, cross, _mm256_blend_epi16(b.v, a.v, 0xAA))
CR_BINARY(I32, mulr16, _mm256_mulhrs_epi16(a.v, b.v))
CR_BINARY(I32, widest, _mm256_max_epu16(a.v, _mm256_abs_epi16(b.v)))
CR_UNARY(I32, peak, _mm256_max_epi32(_mm256_srli_epi32(a.v, 16), _mm256_and_si256(a.v, _mm256_set1_epi32(0xFFFF))))
// clang-format on

// As assembly, because GCC 12 turns the intrinsic into a comparison of the mask with zero and a blend.
CR_LANE I32 select(M32 m, I32 a, I32 b) {
  __m256i v;
  __asm__("vpblendvb %3, %2, %1, %0" : "=x"(v) : "x"(b.v), "x"(a.v), "x"(m.v));
  return {v};
}
CR_LANE I32 filled(M32 m) {
  return {m.v};
}
CR_LANE I32 running_sum(I32 a) {
  a.v = _mm256_add_epi32(a.v, _mm256_slli_si256(a.v, 4));
  a.v = _mm256_add_epi32(a.v, _mm256_slli_si256(a.v, 8));
  const __m256i low = _mm256_permutevar8x32_epi32(a.v, _mm256_set1_epi32(3));
  return {_mm256_add_epi32(a.v, _mm256_blend_epi32(_mm256_setzero_si256(), low, 0xF0))};
}
CR_LANE I32 last_lane(I32 a) {
  return {_mm256_permutevar8x32_epi32(a.v, _mm256_set1_epi32(7))};
}
CR_LANE uint32_t bits(M32 m) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(m.v)));
}
CR_LANE bool any(M32 m) {
  return bits(m) != 0;
}
CR_LANE bool all(M32 m) {
  return bits(m) == 0xFF;
}
CR_LANE void store16(int16_t *to, I32 a) {
  store_128(to, _mm256_castsi256_si128(split_halves(a.v)));
}
CR_LANE void store_pairs(int16_t *rows, I32 a) {
  store_register(rows, split_halves(a.v));
}
CR_LANE I32 swap(I32 a) {
  const __m256i order = _mm256_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6,
                                         7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
  return {_mm256_shuffle_epi8(a.v, order)};
}

// The exponent of the float next below: clearing the bit under the leading one keeps the conversion from
// rounding up to the next power of two.
CR_LANE I32 norm(I32 a) {
  const __m256i lead = _mm256_andnot_si256(_mm256_srli_epi32(a.v, 1), a.v);
  const __m256i exponent = _mm256_srli_epi32(_mm256_castps_si256(_mm256_cvtepi32_ps(lead)), 23);
  const __m256i shifts = _mm256_sub_epi32(_mm256_set1_epi32(157), exponent);
  return {_mm256_and_si256(shifts, _mm256_cmpgt_epi32(a.v, _mm256_setzero_si256()))};
}
// See AVX-512.
CR_LANE I32 div15(I32 a, I32 b) {
  const __m256i one = _mm256_set1_epi32(1);
  const __m256i numerator = _mm256_slli_epi32(a.v, 15);
  __m256i q = _mm256_cvttps_epi32(_mm256_div_ps(_mm256_cvtepi32_ps(numerator), _mm256_cvtepi32_ps(b.v)));
  const __m256i rest = _mm256_sub_epi32(numerator, _mm256_mullo_epi32(q, b.v));
  q = _mm256_add_epi32(q, _mm256_srai_epi32(rest, 31));
  q = _mm256_add_epi32(q, _mm256_andnot_si256(_mm256_cmpgt_epi32(b.v, rest), one));
  return {_mm256_min_epi32(q, _mm256_set1_epi32(32767))};
}
CR_LANE I32 gather(const int32_t *table, I32 index) {
  return {_mm256_i32gather_epi32(table, index.v, 4)};
}

#elif defined(CR_SSE2)

// What every x86-64 has: minimum, blend and 32-bit products are built from what there is.
// clang-format off
CR_BINARY(M32, operator&, _mm_and_si128(a.v, b.v))
CR_BINARY(M32, operator|, _mm_or_si128(a.v, b.v))
CR_UNARY(M32, operator!, _mm_xor_si128(a.v, _mm_set1_epi32(-1)))
CR_COMPARE(I32, operator>, _mm_cmpgt_epi32(a.v, b.v))
CR_COMPARE(I32, operator==, _mm_cmpeq_epi32(a.v, b.v))
CR_UNARY(I32, swap, _mm_or_si128(_mm_slli_epi32(a.v, 16), _mm_srli_epi32(a.v, 16)))
CR_BINARY(I32, widest, _mm_max_epi16(a.v, _mm_max_epi16(b.v, _mm_subs_epi16(_mm_setzero_si128(), b.v))))
// clang-format on

CR_LANE I32 select(M32 m, I32 a, I32 b) {
  return {_mm_or_si128(_mm_and_si128(m.v, a.v), _mm_andnot_si128(m.v, b.v))};
}
CR_LANE I32 filled(M32 m) {
  return {m.v};
}
template <int k>
CR_LANE I32 rise(I32 a) {
  return {_mm_slli_si128(a.v, 4 * k)};
}
template <int k>
CR_LANE int32_t lane(I32 a) {
  return _mm_cvtsi128_si32(k == 0 ? a.v : _mm_shuffle_epi32(a.v, k));
}
CR_LANE I32 four(int32_t a, int32_t b, int32_t c, int32_t d) {
  return {_mm_setr_epi32(a, b, c, d)};
}
CR_LANE I32 running_sum(I32 a) {
  a.v = _mm_add_epi32(a.v, _mm_slli_si128(a.v, 4));
  return {_mm_add_epi32(a.v, _mm_slli_si128(a.v, 8))};
}
CR_LANE I32 last_lane(I32 a) {
  return {_mm_shuffle_epi32(a.v, 0xFF)};
}
CR_LANE uint32_t bits(M32 m) {
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_castsi128_ps(m.v)));
}
CR_LANE bool any(M32 m) {
  return bits(m) != 0;
}
CR_LANE bool all(M32 m) {
  return bits(m) == 0xF;
}
CR_LANE I32 operator*(I32 a, I32 b) {
  const __m128i even = _mm_mul_epu32(a.v, b.v);
  const __m128i odd = _mm_mul_epu32(_mm_srli_si128(a.v, 4), _mm_srli_si128(b.v, 4));
  return {_mm_unpacklo_epi32(_mm_shuffle_epi32(even, _MM_SHUFFLE(0, 0, 2, 0)),
                             _mm_shuffle_epi32(odd, _MM_SHUFFLE(0, 0, 2, 0)))};
}
CR_LANE I32 min(I32 a, I32 b) {
  return select(a > b, b, a);
}
CR_LANE I32 max(I32 a, I32 b) {
  return select(a > b, a, b);
}
CR_LANE I32 umin(I32 a, I32 b) {
  const I32 sign = splat<I32>(INT32_MIN);
  return select((a ^ sign) > (b ^ sign), b, a);
}
CR_LANE I32 umax(I32 a, I32 b) {
  const I32 sign = splat<I32>(INT32_MIN);
  return select((a ^ sign) > (b ^ sign), a, b);
}
// Shift amounts that differ by lane: five steps of 16, 8, 4, 2, 1 under the bits of n.
template <int k>
CR_LANE M32 bit_set(I32 n) {
  return {_mm_srai_epi32(_mm_slli_epi32(n.v, 31 - k), 31)};
}
CR_LANE I32 shl_each(I32 a, I32 n) {
  a = select(bit_set<4>(n), shl<16>(a), a);
  a = select(bit_set<3>(n), shl<8>(a), a);
  a = select(bit_set<2>(n), shl<4>(a), a);
  a = select(bit_set<1>(n), shl<2>(a), a);
  return select(bit_set<0>(n), shl<1>(a), a);
}
CR_LANE I32 sar_each(I32 a, I32 n) {
  a = select(bit_set<4>(n), sar<16>(a), a);
  a = select(bit_set<3>(n), sar<8>(a), a);
  a = select(bit_set<2>(n), sar<4>(a), a);
  a = select(bit_set<1>(n), sar<2>(a), a);
  return select(bit_set<0>(n), sar<1>(a), a);
}
CR_LANE I32 cross(I32 a, I32 b) {
  const __m128i low = _mm_set1_epi32(0xFFFF);
  return {_mm_or_si128(_mm_andnot_si128(low, a.v), _mm_and_si128(low, b.v))};
}
CR_LANE void store16(int16_t *to, I32 a) {
  const __m128i low = low_extended(a.v);
  _mm_storel_epi64(reinterpret_cast<__m128i *>(to), _mm_packs_epi32(low, low));
}
CR_LANE void store_pairs(int16_t *rows, I32 a) {
  store_register(rows, _mm_packs_epi32(low_extended(a.v), _mm_srai_epi32(a.v, 16)));
}
CR_LANE I32 mulr16(I32 a, I32 b) {
  const I32 round = splat<I32>(16384), low_half = splat<I32>(0xFFFF);
  const I32 high = madd(shr<16>(a), shr<16>(b)) + round;
  return cross(shl<1>(high), sar<15>(madd(a & low_half, b) + round));
}
CR_LANE I32 peak(I32 so_far) {
  return max(shr<16>(so_far), so_far & splat<I32>(0xFFFF));
}
// See AVX2.
CR_LANE I32 norm(I32 a) {
  const __m128i lead = _mm_andnot_si128(_mm_srli_epi32(a.v, 1), a.v);
  const __m128i exponent = _mm_srli_epi32(_mm_castps_si128(_mm_cvtepi32_ps(lead)), 23);
  const __m128i shifts = _mm_sub_epi32(_mm_set1_epi32(157), exponent);
  return {_mm_and_si128(shifts, _mm_cmpgt_epi32(a.v, _mm_setzero_si128()))};
}
// See AVX-512.
CR_LANE I32 div15(I32 a, I32 b) {
  const I32 numerator = shl<15>(a);
  I32 q{_mm_cvttps_epi32(_mm_div_ps(_mm_cvtepi32_ps(numerator.v), _mm_cvtepi32_ps(b.v)))};
  const I32 rest = numerator - q * b;
  q = q + sar<31>(rest);
  q.v = _mm_add_epi32(q.v, _mm_andnot_si128((b > rest).v, _mm_set1_epi32(1)));
  return min(q, splat<I32>(32767));
}
CR_LANE I32 gather(const int32_t *table, I32 index) {
  alignas(16) int32_t at[4];
  store(at, index);
  const AnyInt32 *from = table;
  return {_mm_setr_epi32(from[at[0]], from[at[1]], from[at[2]], from[at[3]])};
}

#elif defined(CR_NEON)

inline constexpr int kWidth32 = 4;

template <>
struct Mask32<kWidth32> {
  uint32x4_t v;
  static CR_LANE Mask32 of(uint32_t bits) {
    const uint32_t bit[4] = {1, 2, 4, 8};
    return {vtstq_u32(vdupq_n_u32(bits), vld1q_u32(bit))};
  }
};

template <>
struct Half32<kWidth32> {
  int16x4_t v;
};

template <>
struct Lanes<int32_t, kWidth32> {
  using Element = int32_t;
  using Mask = Mask32<kWidth32>;
  static constexpr int kLanes = kWidth32;
  int32x4_t v;

  static CR_LANE Lanes splat(int32_t value) { return {vdupq_n_s32(value)}; }
  static CR_LANE Lanes load(const int32_t *from) { return {vld1q_s32(from)}; }
  static CR_LANE Lanes load16(const int16_t *from) { return {vmovl_s16(vld1_s16(from))}; }
  static CR_LANE Lanes load_pairs(const int16_t *rows) {
    const int16x8_t both = vld1q_s16(rows);
    return {vreinterpretq_s32_s16(vzip1q_s16(both, vextq_s16(both, both, 4)))};
  }
  static CR_LANE Lanes iota() {
    const int32_t numbers[4] = {0, 1, 2, 3};
    return {vld1q_s32(numbers)};
  }
  CR_LANE void store(int32_t *to) const { vst1q_s32(to, v); }
};

using I32 = Lanes<int32_t, kWidth32>;
using M32 = Mask32<kWidth32>;

CR_LANE int16x8_t words(I32 a) {
  return vreinterpretq_s16_s32(a.v);
}
CR_LANE int32x4_t lanes(int16x8_t a) {
  return vreinterpretq_s32_s16(a);
}

// clang-format off
CR_BINARY(M32, operator&, vandq_u32(a.v, b.v))
CR_BINARY(M32, operator|, vorrq_u32(a.v, b.v))
CR_UNARY(M32, operator!, vmvnq_u32(a.v))
CR_BINARY(I32, operator+, vaddq_s32(a.v, b.v))
CR_BINARY(I32, operator-, vsubq_s32(a.v, b.v))
CR_BINARY(I32, operator*, vmulq_s32(a.v, b.v))
CR_BINARY(I32, operator&, vandq_s32(a.v, b.v))
CR_BINARY(I32, operator|, vorrq_s32(a.v, b.v))
CR_BINARY(I32, operator^, veorq_s32(a.v, b.v))
CR_COMPARE(I32, operator>, vcgtq_s32(a.v, b.v))
CR_COMPARE(I32, operator==, vceqq_s32(a.v, b.v))
CR_BINARY(I32, min, vminq_s32(a.v, b.v))
CR_BINARY(I32, max, vmaxq_s32(a.v, b.v))
CR_BINARY(I32, umin, vreinterpretq_s32_u32(vminq_u32(vreinterpretq_u32_s32(a.v), vreinterpretq_u32_s32(b.v))))
CR_BINARY(I32, umax, vreinterpretq_s32_u32(vmaxq_u32(vreinterpretq_u32_s32(a.v), vreinterpretq_u32_s32(b.v))))
CR_SHIFT(I32, shl, vshlq_n_s32(a.v, k))
CR_SHIFT(I32, shr, vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a.v), k)))
CR_SHIFT(I32, sar, vshrq_n_s32(a.v, k))
CR_BINARY(I32, shl_each, vshlq_s32(a.v, b.v))
CR_BINARY(I32, sar_each, vshlq_s32(a.v, vnegq_s32(b.v)))
CR_BINARY(I32, madd, vpaddq_s32(vmull_s16(vget_low_s16(words(a)), vget_low_s16(words(b))),
                                vmull_high_s16(words(a), words(b))))
CR_BINARY(I32, cross, vbslq_s32(vdupq_n_u32(0xFFFF), b.v, a.v))
CR_UNARY(I32, swap, lanes(vrev32q_s16(words(a))))
CR_SHIFT(I32, sar16, lanes(vshrq_n_s16(words(a), k)))
CR_BINARY(I32, add16, lanes(vaddq_s16(words(a), words(b))))
CR_BINARY(I32, sub16, lanes(vsubq_s16(words(a), words(b))))
CR_BINARY(I32, mullo16, lanes(vmulq_s16(words(a), words(b))))
CR_BINARY(I32, adds16, lanes(vqaddq_s16(words(a), words(b))))
CR_BINARY(I32, subs16, lanes(vqsubq_s16(words(a), words(b))))
CR_BINARY(I32, mul15_16, lanes(vqdmulhq_s16(words(a), words(b))))
CR_BINARY(I32, mulr16, lanes(vqrdmulhq_s16(words(a), words(b))))
CR_BINARY(I32, widest, lanes(vmaxq_s16(words(a), vqabsq_s16(words(b)))))
// clang-format on

CR_LANE I32 select(M32 m, I32 a, I32 b) {
  return {vbslq_s32(m.v, a.v, b.v)};
}
CR_LANE I32 filled(M32 m) {
  return {vreinterpretq_s32_u32(m.v)};
}
template <int k>
CR_LANE I32 rise(I32 a) {
  return {vextq_s32(vdupq_n_s32(0), a.v, 4 - k)};
}
template <int k>
CR_LANE int32_t lane(I32 a) {
  return vgetq_lane_s32(a.v, k);
}
CR_LANE I32 four(int32_t a, int32_t b, int32_t c, int32_t d) {
  const int32_t lanes[4] = {a, b, c, d};
  return {vld1q_s32(lanes)};
}
CR_LANE I32 running_sum(I32 a) {
  const int32x4_t zero = vdupq_n_s32(0);
  a.v = vaddq_s32(a.v, vextq_s32(zero, a.v, 3));
  return {vaddq_s32(a.v, vextq_s32(zero, a.v, 2))};
}
CR_LANE I32 last_lane(I32 a) {
  return {vdupq_laneq_s32(a.v, 3)};
}
CR_LANE uint32_t bits(M32 m) {
  const uint32_t bit[4] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(m.v, vld1q_u32(bit)));
}
CR_LANE bool any(M32 m) {
  return vmaxvq_u32(m.v) != 0;
}
CR_LANE bool all(M32 m) {
  return vminvq_u32(m.v) != 0;
}
CR_LANE void store16(int16_t *to, I32 a) {
  vst1_s16(to, vmovn_s32(a.v));
}
CR_LANE void store_halves(int16_t *to, I32 a) {
  vst1q_s16(to, vreinterpretq_s16_s32(a.v));
}
CR_LANE void store_pairs(int16_t *rows, I32 a) {
  vst1q_s16(rows, vcombine_s16(vmovn_s32(a.v), vshrn_n_s32(a.v, 16)));
}
CR_LANE Half32<kWidth32> sat(I32 a) {
  return {vqmovn_s32(a.v)};
}
CR_LANE I32 pair(Half32<kWidth32> lo, Half32<kWidth32> hi) {
  return {lanes(vcombine_s16(vzip1_s16(lo.v, hi.v), vzip2_s16(lo.v, hi.v)))};
}
CR_LANE I32 peak(I32 so_far) {
  return max(shr<16>(so_far), so_far & splat<I32>(0xFFFF));
}
CR_LANE I32 norm(I32 a) {
  const int32x4_t shifts = vsubq_s32(vclzq_s32(a.v), vdupq_n_s32(1));
  return {vandq_s32(shifts, vreinterpretq_s32_u32(vcgtq_s32(a.v, vdupq_n_s32(0))))};
}
// See AVX-512.
CR_LANE I32 div15(I32 a, I32 b) {
  const I32 numerator = shl<15>(a);
  I32 q{vcvtq_s32_f32(vdivq_f32(vcvtq_f32_s32(numerator.v), vcvtq_f32_s32(b.v)))};
  const I32 rest = numerator - q * b;
  q = q + sar<31>(rest);
  q = select(b > rest, q, q + splat<I32>(1));
  return min(q, splat<I32>(32767));
}
CR_LANE I32 gather(const int32_t *table, I32 index) {
  const AnyInt32 *from = table;
  int32x4_t v = vdupq_n_s32(from[vgetq_lane_s32(index.v, 0)]);
  v = vsetq_lane_s32(from[vgetq_lane_s32(index.v, 1)], v, 1);
  v = vsetq_lane_s32(from[vgetq_lane_s32(index.v, 2)], v, 2);
  return {vsetq_lane_s32(from[vgetq_lane_s32(index.v, 3)], v, 3)};
}
CR_LANE void store_eights(int16_t *const *to, size_t offset, const I32 *pairs) {
  const int32x4x2_t ab = vzipq_s32(pairs[0].v, pairs[1].v);
  const int32x4x2_t cd = vzipq_s32(pairs[2].v, pairs[3].v);
  for (int half = 0; half < 2; ++half) {
    const int32x4_t first = vcombine_s32(vget_low_s32(ab.val[half]), vget_low_s32(cd.val[half]));
    const int32x4_t second = vcombine_s32(vget_high_s32(ab.val[half]), vget_high_s32(cd.val[half]));
    vst1q_s16(to[2 * half] + offset, vreinterpretq_s16_s32(first));
    vst1q_s16(to[2 * half + 1] + offset, vreinterpretq_s16_s32(second));
  }
}

#else

inline constexpr int kWidth32 = 1;
using I32 = I32x1;
using M32 = M32x1;

#endif

// Composed of the above, so the same for every register.
template <int N>
CR_LANE Mask32<N> operator<(Lanes<int32_t, N> a, Lanes<int32_t, N> b) {
  return b > a;
}

template <int N>
CR_LANE Lanes<int32_t, N> abs(Lanes<int32_t, N> a) {
  return max(a, splat<Lanes<int32_t, N>>(0) - a);
}
#if defined(CR_AVX512) || defined(CR_AVX2)
CR_LANE I32 abs(I32 a) {
  return {CR_MM(abs_epi32)(a.v)};
}
#elif defined(CR_SSE2)
// Which has no maximum.
CR_LANE I32 abs(I32 a) {
  return negate_if(a, sar<31>(a));
}
#endif

template <class V>
CR_LANE V low(V pairs) {
  return sar<16>(shl<16>(pairs));
}

template <class V>
CR_LANE V high(V pairs) {
  return sar<16>(pairs);
}

template <class V>
CR_LANE V pair_low(V a, V b) {
  return cross(shl<16>(b), a);
}

template <class V>
CR_LANE V between(V a, V b) {
  return swap(cross(a, b));
}

template <class V>
CR_LANE V both(V value) {
  return cross(shl<16>(value), value);
}

template <class V>
CR_LANE V clamp16(V a) {
  return clamp(a, -32768, 32767);
}

template <class V>
CR_LANE V mul16(V a, V b) {
  return madd(a & splat<V>(0xFFFF), b);
}

// sat32(a + b) and sat32(a - b).
template <int N>
CR_LANE Lanes<int32_t, N> sadd(Lanes<int32_t, N> a, Lanes<int32_t, N> b) {
  using V = Lanes<int32_t, N>;
  const V sum = a + b;
  const V rail = sar<31>(a) ^ splat<V>(0x7FFFFFFF);
  return select(((a ^ sum) & (b ^ sum)) < splat<V>(0), rail, sum);
}

template <int N>
CR_LANE Lanes<int32_t, N> ssub(Lanes<int32_t, N> a, Lanes<int32_t, N> b) {
  using V = Lanes<int32_t, N>;
  const V difference = a - b;
  const V rail = sar<31>(a) ^ splat<V>(0x7FFFFFFF);
  return select(((a ^ b) & (a ^ difference)) < splat<V>(0), rail, difference);
}

template <class V>
CR_LANE V lmul(V a, V b) {
  const V product = mul16(a, b);
  return select(product == splat<V>(0x40000000), splat<V>(0x7FFFFFFF), shl<1>(product));
}

template <class V>
CR_LANE V lmac(V sum, V a, V b) {
  return sadd(sum, lmul(a, b));
}

template <class V>
CR_LANE V lmsu(V sum, V a, V b) {
  return ssub(sum, lmul(a, b));
}

// A table small enough for the registers of some sets.
template <int n, class V>
CR_LANE V look_up(const int32_t (&table)[n], V index) {
  return gather(table, index);
}

#if defined(CR_AVX512)
template <int n>
CR_LANE I32 look_up(const int32_t (&table)[n], I32 index) {
  static_assert(n == 8 || n == 16 || n == 32 || n == 48 || n == 64);
  if constexpr (n == 8) {
    const __m256i eight = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(table));
    return {_mm512_permutexvar_epi32(index.v, _mm512_castsi256_si512(eight))};
  } else if constexpr (n == 16) {
    return {_mm512_permutexvar_epi32(index.v, load_register(table))};
  } else {
    const __m512i below = _mm512_permutex2var_epi32(load_register(table), index.v, load_register(table + 16));
    if constexpr (n == 32) {
      return {below};
    } else {
      const __m512i above = n == 48 ? _mm512_permutexvar_epi32(index.v, load_register(table + 32))
                                    : _mm512_permutex2var_epi32(load_register(table + 32), index.v,
                                                                load_register(table + n - 16));
      return {_mm512_mask_blend_epi32(_mm512_test_epi32_mask(index.v, _mm512_set1_epi32(32)), below, above)};
    }
  }
}
#elif defined(CR_AVX2)
// Of 32 and more a gather takes less.
template <int n>
CR_LANE I32 look_up(const int32_t (&table)[n], I32 index) {
  if constexpr (n == 8) {
    return {_mm256_permutevar8x32_epi32(load_register(table), index.v)};
  } else if constexpr (n == 16) {
    const __m256i below = _mm256_permutevar8x32_epi32(load_register(table), index.v);
    const __m256i above = _mm256_permutevar8x32_epi32(load_register(table + 8), index.v);
    const __m256i eights = _mm256_slli_epi32(index.v, 28);
    return {as_bits(_mm256_blendv_ps(as_floats(below), as_floats(above), as_floats(eights)))};
  } else {
    return gather(table, index);
  }
}
#endif

// A row of a table for each lane, which begins at table[first]; at(i) is its i-th number.
template <class V>
class RowsOf {
 public:
  CR_LANE RowsOf(const typename V::Element *table, Lanes<int32_t, V::kLanes> first)
      : table_(table), first_(first) {}
  CR_LANE V at(int i) const { return gather(table_ + i, first_); }

 private:
  const typename V::Element *table_;
  Lanes<int32_t, V::kLanes> first_;
};

#if defined(CR_AVX512) || defined(CR_AVX2)
// Loads of single lanes take half the time of a gather, on processors of either set.
template <>
class RowsOf<I32> {
 public:
  CR_LANE RowsOf(const int32_t *table, I32 first) {
    alignas(64) int32_t at[kWidth32];
    store(at, first);
    for (int lane = 0; lane < kWidth32; ++lane) {
      row_[lane] = table + at[lane];
    }
  }
#if defined(CR_AVX512)
  CR_LANE I32 at(int i) const {
    const __m256i low = eight(row_, i), high = eight(row_ + 8, i);
    return {_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1)};
  }
#else
  CR_LANE I32 at(int i) const {
    return {eight(row_, i)};
  }
#endif

 private:
  static CR_LANE __m256i eight(const int32_t *const *row, int i) {
    return _mm256_setr_epi32(row[0][i], row[1][i], row[2][i], row[3][i], row[4][i], row[5][i], row[6][i],
                             row[7][i]);
  }
  const int32_t *row_[kWidth32];
};
#endif

}  // namespace callreplay::CR_ISA
