// Lanes<int16_t, 8>: one SSE2 register, which every x86-64 has. Included by i16.h.
#pragma once

#include "lanes/x86.h"

namespace callreplay::CR_ISA {

inline constexpr int kWidth16 = 8;

template <>
struct Lanes<int16_t, 8> {
  __m128i v;

  Lanes() = default;
  CR_LANE Lanes(__m128i x) : v(x) {}
  CR_LANE Lanes(int16_t x) : v(_mm_set1_epi16(x)) {}
  static CR_LANE Lanes load(const int16_t *from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i *>(from));
  }
  static CR_LANE Lanes widen(const uint8_t *from) {
    return _mm_unpacklo_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(from)), _mm_setzero_si128());
  }
  static CR_LANE Lanes load_pair(int16_t a, int16_t b) {
    return _mm_insert_epi16(_mm_cvtsi32_si128(static_cast<uint16_t>(a)), b, 1);
  }
  CR_LANE void store_pair(int16_t *a, int16_t *b) const {
    const int32_t both = _mm_cvtsi128_si32(v);
    *a = static_cast<int16_t>(both);
    *b = static_cast<int16_t>(both >> 16);
  }
  CR_LANE void store(int16_t *to) const { _mm_storeu_si128(reinterpret_cast<__m128i *>(to), v); }
  CR_LANE void store_low_octets(uint8_t *to) const {
    const __m128i low = _mm_and_si128(v, _mm_set1_epi16(255));
    _mm_storel_epi64(reinterpret_cast<__m128i *>(to), _mm_packus_epi16(low, low));
  }
};

using I16 = Lanes<int16_t, 8>;

CR_LANE I16 operator+(const I16 &a, const I16 &b) {
  return _mm_add_epi16(a.v, b.v);
}
CR_LANE I16 operator-(const I16 &a, const I16 &b) {
  return _mm_sub_epi16(a.v, b.v);
}
CR_LANE I16 operator&(const I16 &a, const I16 &b) {
  return _mm_and_si128(a.v, b.v);
}
CR_LANE I16 operator|(const I16 &a, const I16 &b) {
  return _mm_or_si128(a.v, b.v);
}
CR_LANE I16 operator^(const I16 &a, const I16 &b) {
  return _mm_xor_si128(a.v, b.v);
}
CR_LANE I16 sadd(const I16 &a, const I16 &b) {
  return _mm_adds_epi16(a.v, b.v);
}
CR_LANE I16 ssub(const I16 &a, const I16 &b) {
  return _mm_subs_epi16(a.v, b.v);
}
CR_LANE I16 mullo(const I16 &a, const I16 &b) {
  return _mm_mullo_epi16(a.v, b.v);
}
CR_LANE I16 mulhi(const I16 &a, const I16 &b) {
  return _mm_mulhi_epi16(a.v, b.v);
}
CR_LANE I16 min(const I16 &a, const I16 &b) {
  return _mm_min_epi16(a.v, b.v);
}
CR_LANE I16 max(const I16 &a, const I16 &b) {
  return _mm_max_epi16(a.v, b.v);
}
CR_LANE I16 greater(const I16 &a, const I16 &b) {
  return _mm_cmpgt_epi16(a.v, b.v);
}
template <int k>
CR_LANE I16 sar(const I16 &a) {
  return _mm_srai_epi16(a.v, k);
}
template <int k>
CR_LANE I16 shl(const I16 &a) {
  return _mm_slli_epi16(a.v, k);
}
template <int k>
CR_LANE I16 shr(const I16 &a) {
  return _mm_srli_epi16(a.v, k);
}

CR_LANE I16 mul15(const I16 &a, const I16 &b) {
  const __m128i high = _mm_mulhi_epi16(a.v, b.v);
  const __m128i low = _mm_srli_epi16(_mm_mullo_epi16(a.v, b.v), 15);
  return _mm_or_si128(_mm_add_epi16(high, high), low);
}

CR_LANE I16 shl_each(const I16 &a, const I16 &count) {
  // Bit by bit of the count: x += x & mask is a shift by one where the mask is set.
  const auto bit = [&](int n) {
    const __m128i one = _mm_set1_epi16(static_cast<int16_t>(1 << n));
    return _mm_cmpeq_epi16(_mm_and_si128(count.v, one), one);
  };
  const auto shifted = [](__m128i x, __m128i y, __m128i mask) {
    return _mm_xor_si128(x, _mm_and_si128(_mm_xor_si128(x, y), mask));
  };
  __m128i x = _mm_add_epi16(a.v, _mm_and_si128(a.v, bit(0)));
  x = shifted(x, _mm_slli_epi16(x, 2), bit(1));
  return shifted(x, _mm_slli_epi16(x, 4), bit(2));
}

CR_LANE I16 log2_q4(const I16 &a) {
  // An integer below 2^24 converted to float is exact: its exponent and leading mantissa bits are the answer.
  const __m128i zero = _mm_setzero_si128();
  const auto bits = [](__m128i x) { return _mm_srli_epi32(_mm_castps_si128(_mm_cvtepi32_ps(x)), 19); };
  const __m128i packed =
      _mm_packs_epi32(bits(_mm_unpacklo_epi16(a.v, zero)), bits(_mm_unpackhi_epi16(a.v, zero)));
  return _mm_sub_epi16(packed, _mm_set1_epi16(127 << 4));
}

CR_LANE I16 sign_factor(const I16 &a) {
  return _mm_or_si128(_mm_srai_epi16(a.v, 15), _mm_set1_epi16(1));
}
CR_LANE I16 times_sign(const I16 &w, const I16 &factor) {
  return _mm_mullo_epi16(w.v, factor.v);
}
CR_LANE I16 step_towards(const I16 &a, int16_t step) {
  const __m128i negative = _mm_srai_epi16(a.v, 15);
  const __m128i size = _mm_andnot_si128(_mm_cmpeq_epi16(a.v, _mm_setzero_si128()), _mm_set1_epi16(step));
  return _mm_sub_epi16(_mm_xor_si128(size, negative), negative);
}
CR_LANE int32_t sum(const I16 &a) {
  __m128i x = _mm_madd_epi16(a.v, _mm_set1_epi16(1));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, _MM_SHUFFLE(1, 0, 3, 2)));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, _MM_SHUFFLE(2, 3, 0, 1)));
  return _mm_cvtsi128_si32(x);
}
CR_LANE bool any(const I16 &mask) {
  return _mm_movemask_epi8(mask.v) != 0;
}

CR_LANE void store_interleaved(const I16 &a, const I16 &b, int16_t *to) {
  _mm_storeu_si128(reinterpret_cast<__m128i *>(to), _mm_unpacklo_epi16(a.v, b.v));
  _mm_storeu_si128(reinterpret_cast<__m128i *>(to + 8), _mm_unpackhi_epi16(a.v, b.v));
}

// SSE2 has no permute by a register: eight loads and inserts.
template <int K>
struct Lut<8, K> {
  const int16_t *table;
  explicit CR_LANE Lut(const int16_t (&entries)[K]) : table(entries) {}
  CR_LANE I16 operator()(const I16 &index) const {
    __m128i r = _mm_cvtsi32_si128(table[_mm_extract_epi16(index.v, 0)]);
    r = _mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 1)], 1);
    r = _mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 2)], 2);
    r = _mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 3)], 3);
    r = _mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 4)], 4);
    r = _mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 5)], 5);
    r = _mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 6)], 6);
    return _mm_insert_epi16(r, table[_mm_extract_epi16(index.v, 7)], 7);
  }
};

template <>
struct Pairs<8> {
  __m128i low, high;
};

template <>
struct Wide<8> {
  __m128i low, high;
};

CR_LANE Pairs<8> pairs(const I16 &x0, const I16 &x1) {
  return {_mm_unpacklo_epi16(x0.v, x1.v), _mm_unpackhi_epi16(x0.v, x1.v)};
}

CR_LANE void clear(Wide<8> &acc) {
  acc.low = acc.high = _mm_setzero_si128();
}

CR_LANE void mac(Wide<8> &acc, const Pairs<8> &x, int16_t c0, int16_t c1) {
  const __m128i c = _mm_set1_epi32(static_cast<int32_t>(static_cast<uint16_t>(c0)) | c1 * 65536);
  acc.low = _mm_add_epi32(acc.low, _mm_madd_epi16(x.low, c));
  acc.high = _mm_add_epi32(acc.high, _mm_madd_epi16(x.high, c));
}

template <int k>
CR_LANE I16 narrow(const Wide<8> &acc) {
  return _mm_packs_epi32(_mm_srai_epi32(acc.low, k), _mm_srai_epi32(acc.high, k));
}

}  // namespace callreplay::CR_ISA
